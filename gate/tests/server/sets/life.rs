//! From an upload to a rollback.

use sealwright_gate::client::ClientError;
use sealwright_identity::Digest;
use sealwright_proto::gate::{PolicyFetch, policy_fetch::What, policy_upload::Kind};
use sealwright_statement::Envelope;
use sealwright_statement::policy::{Mode, Set};

use super::people::{Front, People, REPORT, decided, digest_of, entry, revision, signed, waiting};
use crate::world::{alone, far};

#[test]
fn nothing_is_issued_until_a_quorum_agreed() {
    alone(
        "sets::life::nothing_is_issued_until_a_quorum_agreed",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let a = revision("a", b"module");
            let status = running.client.status(far()).await.unwrap();
            assert!(
                status
                    .reasons
                    .iter()
                    .any(|reason| reason.contains("no policy set")),
                "{status:?}"
            );
            running
                .issue(decided(&world, 0, &[&a]).request())
                .await
                .unwrap_err();

            front.push(&a, b"module").await;
            let set = front.next(vec![entry(&a, Mode::Enforce)]).await;
            let taken = front.keep(&signed(set.clone(), &[&people.anna])).await.unwrap();
            assert_eq!((taken.needed, taken.counted.len()), (2, 1));
            assert!(taken.trouble.contains("2 must agree"), "{}", taken.trouble);
            let early = front.enact_kept(taken.digest.parse().unwrap()).await;
            assert!(matches!(early, Err(ClientError::Denied { .. })), "{early:?}");
            running
                .issue(decided(&world, 1, &[&a]).request())
                .await
                .unwrap_err();

            // The second approval is added to the first.
            let taken = front.enact(&signed(set, &[&people.bert])).await.unwrap();
            assert_eq!((taken.set_number, taken.counted.len()), (1, 2));
            running.issue(decided(&world, 1, &[&a]).request()).await.unwrap();
            let state = front.state().await;
            assert_eq!((state.number, state.approvals, state.seeded), (1, 2, false));
            assert!(state.staged.is_empty(), "{:?}", state.staged);
            let status = running.client.status(far()).await.unwrap();
            assert_eq!((status.policy_set, status.ready), (1, true));
            // It cannot be used twice.
            let again = front.enact_kept(taken.digest.parse().unwrap()).await;
            assert!(matches!(again, Err(ClientError::Denied { .. })), "{again:?}");

            // What was approved can be read by everybody.
            let fetch = PolicyFetch {
                what: What::Statement.into(),
                digest: taken.digest.clone(),
                offset: 0,
            };
            let file = running.client.policy_fetch(fetch, far()).await.unwrap();
            let text = String::from_utf8(file.data.to_vec()).unwrap();
            let read = Envelope::parse(&text).unwrap().open::<Set>().unwrap();
            assert_eq!(read.signatures.len(), 2);
            let fetch = PolicyFetch {
                what: What::Blob.into(),
                digest: Digest::of(b"module").to_string(),
                offset: 3,
            };
            let module = running.client.policy_fetch(fetch, far()).await.unwrap();
            assert_eq!((module.size, &module.data[..]), (6, &b"ule"[..]));
            running.end().await;

            // All of it is judged again at a start, which needs the first roster's file no more.
            world.file.policy_sets.roster = None;
            let running = world.start().await;
            running.issue(decided(&world, 1, &[&a]).request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn an_interrupted_change_goes_on_after_a_start() {
    alone(
        "sets::life::an_interrupted_change_goes_on_after_a_start",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let a = revision("a", b"module");
            let signed_a = signed(a.clone(), &[&people.author]);

            // Ended within an upload,
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let part = sealwright_proto::gate::PolicyUpload {
                kind: Kind::Module.into(),
                digest: Digest::of(b"module").to_string(),
                size: 6,
                offset: 0,
                data: b"mod".to_vec().into(),
            };
            running.client.policy_upload(part, far()).await.unwrap();
            front.keep(&signed_a).await.unwrap();
            running.end().await;

            // after the first approval,
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            assert_eq!(front.upload(Kind::Module, b"module", 3).await.unwrap(), (6, true));
            let set = front.next(vec![entry(&a, Mode::Enforce)]).await;
            front.keep(&signed(set.clone(), &[&people.anna])).await.unwrap();
            running.end().await;

            // and before the activation, for which the report is missing.
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let state = front.state().await;
            assert_eq!(waiting(&state).len(), 3, "{:?}", state.staged);
            let agreed = signed(set, &[&people.bert]);
            let refused = front.enact(&agreed).await.unwrap_err();
            assert!(refused.to_string().contains("upload it first"), "{refused}");
            assert_eq!(front.state().await.number, 0);
            running.end().await;

            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            front.upload(Kind::Report, REPORT, 0).await.unwrap();
            front.enact_kept(agreed.statement.digest()).await.unwrap();
            running.issue(decided(&world, 1, &[&a]).request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn of_two_activations_at_once_one_wins() {
    alone(
        "sets::life::of_two_activations_at_once_one_wins",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let (a, b) = (revision("a", b"one"), revision("b", b"two"));
            front.push(&a, b"one").await;
            front.push(&b, b"two").await;
            let one = front.agreed(front.next(vec![entry(&a, Mode::Enforce)]).await);
            let two = front.agreed(front.next(vec![entry(&b, Mode::Enforce)]).await);
            let (first, second) = tokio::join!(front.enact(&one), front.enact(&two));
            assert_eq!(
                first.is_ok() as u8 + second.is_ok() as u8,
                1,
                "{first:?} {second:?}"
            );
            let lost = first.err().or_else(|| second.err()).unwrap();
            assert!(matches!(lost, ClientError::Denied { .. }), "{lost}");
            assert_eq!(front.state().await.history.len(), 1);
            running.end().await;
            // Neither is there more than one after a start.
            let running = world.start().await;
            assert_eq!(Front::new(&world, &running, &people).state().await.number, 1);
            running.end().await;
        },
    );
}

#[test]
fn a_rollback_brings_back_only_what_was_in_force_and_is_not_revoked() {
    alone(
        "sets::life::a_rollback_brings_back_only_what_was_in_force_and_is_not_revoked",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let (old, new) = (revision("a", b"old"), revision("a", b"new"));
            front.push(&old, b"old").await;
            front.push(&new, b"new").await;
            let old_entries = vec![entry(&old, Mode::Enforce)];
            let new_entries = vec![entry(&new, Mode::Enforce)];
            front.activate(old_entries.clone()).await;

            // Signed ahead, for the case that the next set turns out to be wrong.
            let next = front.agreed(front.next(new_entries.clone()).await);
            let mut back = front.next(old_entries.clone()).await;
            back.number = 3;
            back.previous = Some(next.statement.digest());
            back.restores = Some(1);
            let back = front.agreed(back);
            front.keep(&back).await.unwrap();
            front.enact_kept(back.statement.digest()).await.unwrap_err();
            front.enact(&next).await.unwrap();
            front.enact_kept(back.statement.digest()).await.unwrap();
            running
                .issue(decided(&world, 3, &[&old]).request())
                .await
                .unwrap();

            // The same approvals bring neither set back once more.
            front.enact(&next).await.unwrap_err();
            front.enact(&back).await.unwrap_err();
            // One that never was in force, or has other entries.
            let with = async |restores, entries: &[_]| {
                let mut set = front.next(entries.to_vec()).await;
                set.restores = Some(restores);
                front.enact(&front.agreed(set)).await
            };
            assert!(matches!(
                with(2, &old_entries).await,
                Err(ClientError::Denied { .. })
            ));
            let mut later = front.next(old_entries.clone()).await;
            later.number += 1;
            front.enact(&front.agreed(later)).await.unwrap_err();

            // Revoked: nothing is issued under it, and it does not come back.
            front.activate(new_entries.clone()).await;
            let revocation = front.revocation(&new).await;
            let alone = signed(revocation.clone(), &[&people.anna]);
            assert!(matches!(
                front.enact(&alone).await,
                Err(ClientError::Denied { .. })
            ));
            running
                .issue(decided(&world, 4, &[&new]).request())
                .await
                .unwrap();
            front.enact(&signed(revocation, &[&people.bert])).await.unwrap();
            running
                .issue(decided(&world, 4, &[&new]).request())
                .await
                .unwrap_err();
            assert_eq!(running.newest().await["denial"]["code"], "evidence");
            assert_eq!(front.state().await.revoked, [digest_of(&new).to_string()]);
            with(3, &old_entries).await.unwrap();
            running
                .issue(decided(&world, 5, &[&old]).request())
                .await
                .unwrap();
            assert!(matches!(
                with(4, &new_entries).await,
                Err(ClientError::Denied { .. })
            ));
            running.end().await;

            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let state = front.state().await;
            assert_eq!((state.number, state.revoked.len()), (5, 1));
            let again = front.agreed(front.next(new_entries).await);
            assert!(matches!(
                front.enact(&again).await,
                Err(ClientError::Denied { .. })
            ));
            running.end().await;
        },
    );
}
