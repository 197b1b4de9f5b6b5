//! What a start makes of ledger, mark and configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::server::{Command, EXIT_CONFIG, EXIT_STATE, ledger_path};
use sealwright_identity::{Clock, SystemClock};
use sealwright_ledger::{BlobKind, Ledger, LedgerConfig, PolicyEntry, PolicyEvent, StatementRef};
use sealwright_runtime::Chain;
use sealwright_statement::policy::Mode;

use super::people::{Front, People, decided, entry, revision, signed};
use crate::callers::pin;
use crate::tokens::TokenIssuer;
use crate::world::{World, alone};

/// The ledger's files, there or back.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let _absent = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_restored_ledger_stops_the_gate() {
    alone(
        "sets::starts::a_restored_ledger_stops_the_gate",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let home = world.file.gate.home.clone();
            let (old, new) = (revision("a", b"old"), revision("a", b"new"));
            let mut copies = Vec::new();
            let keep = |name: &str, world: &World| {
                let folder = world.folder.join(name);
                copy(&home, &folder);
                folder
            };
            for (step, name) in ["first", "second", "third"].into_iter().enumerate() {
                let running = world.start().await;
                let front = Front::new(&world, &running, &people);
                front.push(&old, b"old").await;
                front.push(&new, b"new").await;
                match step {
                    0 => drop(front.activate(vec![entry(&old, Mode::Enforce)]).await),
                    1 => drop(front.activate(vec![entry(&new, Mode::Enforce)]).await),
                    _ => {
                        let revocation = front.revocation(&old).await;
                        let agreed = signed(revocation, &[&people.anna, &people.bert]);
                        front.enact(&agreed).await.unwrap();
                    }
                }
                running.end().await;
                copies.push(keep(name, &world));
            }
            // To an older set, and to the same set without the revocation.
            for older in &copies[..2] {
                copy(older, &home);
                let error = world.start_in_vain().await;
                let text = Chain(&error).to_string();
                assert!(text.contains("restored from an older copy"), "{text}");
                assert_eq!(error.exit_code(), EXIT_STATE);
            }
            // Or none at all.
            copy(&world.folder.join("nowhere"), &home);
            assert_eq!(world.start_in_vain().await.exit_code(), EXIT_STATE);
            copy(&copies[2], &home);
            let running = world.start().await;
            running
                .issue(decided(&world, 2, &[&new]).request())
                .await
                .unwrap();
            running.end().await;
        },
    );
}

#[test]
fn a_configuration_that_contradicts_the_ledger_stops_the_gate() {
    alone(
        "sets::starts::a_configuration_that_contradicts_the_ledger_stops_the_gate",
        async |mut world| {
            let rehearsal = world.file.clone();
            let people = People::new(2);
            people.settle(&mut world);
            let real = world.file.clone();
            let in_vain = async |world: &mut World, file, key: &str| {
                world.file = file;
                let error = world.start_in_vain().await;
                let text = Chain(&error).to_string();
                assert!(text.contains(key), "{text}");
                assert_eq!(error.exit_code(), EXIT_CONFIG, "{text}");
            };
            let mut nobody = real.clone();
            nobody.policy_sets.roster = None;
            in_vain(&mut world, nobody, "policy_sets.roster: there is none").await;
            let mut all = real.clone();
            let lax = People::new(0);
            let path = world.folder.join("lax.stmt");
            let text = sealwright_statement::Signed::unsigned(lax.roster.clone()).to_string();
            fs::write(&path, text).unwrap();
            all.policy_sets.roster = Some(path);
            in_vain(&mut world, all, "a threshold of at least 1").await;

            world.file = real.clone();
            let running = world.start().await;
            // Once it says what stands, the roster is in the ledger.
            assert_eq!(Front::new(&world, &running, &people).state().await.number, 0);
            running.end().await;
            // The mark of a rehearsal does not take the quorum away.
            in_vain(&mut world, rehearsal.clone(), "2 people must agree here").await;
            let mut marked = real.clone();
            marked
                .issuers
                .iter_mut()
                .for_each(|issuer| issuer.rehearsal = true);
            world.file = marked;
            let running = world.start().await;
            let refused = running.issue(world.order().request()).await.unwrap_err();
            assert!(
                refused.to_string().contains("no policy set is in force"),
                "{refused}"
            );
            running.end().await;

            // Nor does a rehearsal become real by itself.
            fs::remove_dir_all(&real.gate.home).unwrap();
            world.file = rehearsal;
            let running = world.start().await;
            running.issue(world.order().request()).await.unwrap();
            running.end().await;
            in_vain(&mut world, real, "write rehearsal = true in every").await;
        },
    );
}

#[test]
fn a_rehearsal_follows_its_configuration_until_a_set_comes_by_statement() {
    alone(
        "sets::starts::a_rehearsal_follows_its_configuration_until_a_set_comes_by_statement",
        async |mut world| {
            let people = People::new(2);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            running.issue(world.order().request()).await.unwrap();
            let row = running.newest().await;
            assert_eq!(
                (&row["set"], &row["approvals"]),
                (&1.into(), &"none".into()),
                "{row}"
            );
            assert!(front.state().await.rehearsal && front.state().await.seeded);
            // The same again is no change.
            running.commands.send(Command::Reload).await.unwrap();
            fs::write(world.folder.join("second.wasm"), b"changed").unwrap();
            running.commands.send(Command::Reload).await.unwrap();
            while front.state().await.number < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            running.issue(world.order().request()).await.unwrap();
            assert_eq!(running.newest().await["set"], 2);

            let a = revision("a", b"module");
            front.push(&a, b"module").await;
            let set = front.next(vec![entry(&a, Mode::Enforce)]).await;
            front.enact(&signed(set, &[])).await.unwrap();
            running.issue(decided(&world, 3, &[&a]).request()).await.unwrap();
            assert_eq!(running.newest().await["approvals"], "none");
            running.end().await;
            let error = world.start_in_vain().await;
            let text = Chain(&error).to_string();
            assert!(text.contains("policies come by statements only"), "{text}");
            assert_eq!(error.exit_code(), EXIT_CONFIG);
            world.file.policies.clear();
            world.file.issuers[0].policies.clear();
            let running = world.start().await;
            running.issue(decided(&world, 3, &[&a]).request()).await.unwrap();
            running.end().await;
        },
    );
}

/// It was taken when a rollback might lie about as long as any set.
#[test]
fn a_rollback_of_a_month_is_read_again_and_none_is_taken() {
    alone(
        "sets::starts::a_rollback_of_a_month_is_read_again_and_none_is_taken",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let (old, new) = (revision("a", b"old"), revision("a", b"new"));
            front.push(&old, b"old").await;
            front.push(&new, b"new").await;
            let (old_entries, new_entries) =
                (vec![entry(&old, Mode::Enforce)], vec![entry(&new, Mode::Enforce)]);
            front.activate(old_entries.clone()).await;
            front.activate(new_entries.clone()).await;
            let of_a_month = async |front: &Front<'_>, entries: Vec<_>, restores| {
                let mut set = front.next(entries).await;
                set.not_after = set.not_before.saturating_add(Duration::from_secs(30 * 86_400));
                set.restores = Some(restores);
                let set = front.agreed(set);
                let refused = front.enact(&set).await.unwrap_err();
                assert!(
                    refused.to_string().contains("at most 7 days are possible"),
                    "{refused}"
                );
                set
            };
            let back = of_a_month(&front, old_entries, 1).await;
            running.end().await;

            let path = ledger_path(&world.file.gate.home);
            let ledger = Ledger::open(&path, LedgerConfig::default(), Arc::new(SystemClock))
                .await
                .unwrap();
            let armoured = back.to_string();
            let blob = ledger
                .put_blob(BlobKind::Statement, armoured.as_bytes())
                .await
                .unwrap();
            let statement = back.statement.digest();
            let entry = PolicyEntry {
                event: PolicyEvent::Set,
                number: 3,
                statement,
                judged_at: SystemClock.now(),
                approvals: 2,
                seeded: false,
                brings: vec![StatementRef { statement, blob }],
                stopped: None,
            };
            ledger.policy(&entry).await.unwrap();
            ledger.close().await;
            drop(ledger);

            let running = world.start().await;
            running
                .issue(decided(&world, 3, &[&old]).request())
                .await
                .unwrap();
            let front = Front::new(&world, &running, &people);
            of_a_month(&front, new_entries, 2).await;
            assert_eq!(front.state().await.number, 3);
            running.end().await;
        },
    );
}

/// What fails comes before what takes effect.
#[test]
fn a_reload_that_fails_changes_no_policy() {
    alone(
        "sets::starts::a_reload_that_fails_changes_no_policy",
        async |mut world| {
            let issuer = TokenIssuer::new();
            pin(&mut world, &issuer);
            let people = People::new(2);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            assert_eq!(front.state().await.number, 1);
            let pinned = world.folder.join("pinned.json");
            fs::write(&pinned, "no keys").unwrap();
            fs::write(world.folder.join("second.wasm"), b"changed").unwrap();
            running.commands.send(Command::Reload).await.unwrap();
            // Commands are taken one after another: when this one did its work, the one before had failed.
            let another = TokenIssuer::new();
            running.commands.send(Command::Reload).await.unwrap();
            while running.commands.capacity() < running.commands.max_capacity() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(front.state().await.number, 1);
            fs::write(&pinned, another.jwks()).unwrap();
            running.commands.send(Command::Reload).await.unwrap();
            while front.state().await.number < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            running.end().await;
        },
    );
}
