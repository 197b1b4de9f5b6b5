//! Approvals that are none, at the gate itself.

use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_statement::policy::{Mode, Person, Role, Roster};
use sealwright_statement::{FileSigner, KeyKind, Sealed, Signed, Signer};

use super::people::{Front, People, decided, entry, revision, signed};
use crate::world::alone;

#[test]
fn approvals_that_are_none() {
    alone("sets::quorum::approvals_that_are_none", async |mut world| {
        let people = People::new(2);
        people.settle(&mut world);
        let running = world.start().await;
        let front = Front::new(&world, &running, &people);
        let a = revision("a", b"module");
        // Nobody pushed it who may.
        for by in [&people.anna, &people.stranger] {
            let refused = front.keep(&signed(a.clone(), &[by])).await;
            assert!(matches!(refused, Err(ClientError::Denied { .. })), "{refused:?}");
        }
        front.keep(&signed(a.clone(), &[])).await.unwrap_err();
        front.push(&a, b"module").await;

        let set = front.next(vec![entry(&a, Mode::Enforce)]).await;
        let refuse = async |what: &str, set: &Signed<_>| {
            let refused = front.enact(set).await;
            assert!(
                matches!(refused, Err(ClientError::Denied { .. })),
                "{what}: {refused:?}"
            );
            assert_eq!(front.state().await.number, 0, "{what}");
        };
        refuse("nobody", &signed(set.clone(), &[])).await;
        refuse("one", &signed(set.clone(), &[&people.anna])).await;
        // What was kept of the attempts before counts, so each has a set of its own from here on.
        let variant = |minutes: u64| {
            let mut set = set.clone();
            set.not_after = set.not_after.saturating_add(Duration::from_secs(60 * minutes));
            set
        };
        refuse(
            "who pushed it",
            &signed(variant(1), &[&people.anna, &people.author]),
        )
        .await;
        refuse(
            "a stranger",
            &signed(variant(2), &[&people.anna, &people.bert, &people.stranger]),
        )
        .await;
        let mut moved = signed(variant(3), &[&people.anna]);
        moved.add(signed(variant(4), &[&people.bert]).signatures.remove(0));
        refuse("over another set", &moved).await;
        let mut early = variant(5);
        early.not_before = early.not_after;
        refuse("not yet valid", &front.agreed(early)).await;
        let mut late = variant(6);
        late.not_before = late.not_before.saturating_sub(Duration::from_secs(3600));
        late.not_after = late.not_before;
        refuse("expired", &front.agreed(late)).await;
        refuse("too long", &front.agreed(variant(60 * 24 * 31))).await;
        let mut foreign = variant(7);
        foreign.deployment = sealwright_identity::Digest::of(b"other");
        refuse("for other issuers", &front.agreed(foreign)).await;
        let mut unknown = variant(8);
        unknown.entries[0].revision = sealwright_identity::Digest::of(b"other");
        refuse("an unknown revision", &front.agreed(unknown)).await;
        let mut unseen = variant(9);
        unseen.entries[0].report = None;
        refuse("not admitted", &front.agreed(unseen)).await;

        let twice = signed(variant(10), &[&people.anna, &people.anna_too]);
        refuse("one person with two keys", &twice).await;
        let mut again = signed(variant(11), &[&people.anna]);
        again.signatures.push(again.signatures[0].clone());
        let refused = front.enact(&again).await;
        assert!(matches!(refused, Err(ClientError::Invalid { .. })), "{refused:?}");

        front.enact(&front.agreed(variant(12))).await.unwrap();
        running.issue(decided(&world, 1, &[&a]).request()).await.unwrap();
        running.end().await;
    });
}

#[test]
fn people_change_by_the_votes_of_those_before() {
    alone(
        "sets::quorum::people_change_by_the_votes_of_those_before",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let newcomer = FileSigner::generate(KeyKind::P256).unwrap().0;
            let next = Roster {
                number: 2,
                previous: Some(people.roster.digest()),
                threshold: 1,
                people: vec![Person {
                    name: "newcomer".parse().unwrap(),
                    roles: vec![Role::Approver],
                    keys: vec![newcomer.public_key().clone()],
                }],
            };
            let next = Sealed::new(next).unwrap();
            let mut set = front.next(Vec::new()).await;
            set.roster = next.digest();
            front.enact(&front.agreed(set.clone())).await.unwrap_err();
            front.keep(&Signed::unsigned(next.clone())).await.unwrap();
            // Not by themselves.
            let own = signed(set.clone(), &[&newcomer]);
            assert!(matches!(front.keep(&own).await, Err(ClientError::Denied { .. })));
            front.enact_kept(own.statement.digest()).await.unwrap();
            assert_eq!(front.state().await.roster, next.digest().to_string());
            // From now on by themselves, and by nobody else.
            let set = front.next(Vec::new()).await;
            front.keep(&front.agreed(set.clone())).await.unwrap_err();
            front.enact(&signed(set, &[&newcomer])).await.unwrap();
            running.end().await;
            // The configuration still names the first roster, which is not the one in force.
            let error = world.start_in_vain().await;
            let text = sealwright_runtime::Chain(&error).to_string();
            assert!(
                text.contains("policy_sets.roster") && text.contains("in force"),
                "{text}"
            );
            assert_eq!(error.exit_code(), sealwright_gate::server::EXIT_CONFIG);
            world.file.policy_sets.roster = None;
            let running = world.start().await;
            assert_eq!(Front::new(&world, &running, &people).state().await.number, 2);
            running.end().await;
        },
    );
}
