//! A canary whose bounds are exceeded is stopped, and stays so.

use std::path::Path;
use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_gate::server::ledger_path;
use sealwright_proto::gate::{Denial, DenialRecorded, PolicyCanary, RecordDenial};
use sealwright_statement::Signed;
use sealwright_statement::policy::{Canary, Mode, Revision, Set, StopBounds};
use sqlx::Connection;

use super::people::{Front, People, decided, entry, revision};
use crate::hostile::refused;
use crate::world::{Order, Running, World, alone, far};

struct Policies {
    old: Revision,
    canary: Revision,
}

/// A canary for everybody, which may deny half of what it decides, once it decided four times.
async fn bounded(front: &Front<'_>) -> Policies {
    let policies = Policies {
        old: revision("a", b"old"),
        canary: revision("a", b"new"),
    };
    front.push(&policies.old, b"old").await;
    front.push(&policies.canary, b"new").await;
    front.enact(&bounded_set(front, &policies).await).await.unwrap();
    policies
}

async fn bounded_set(front: &Front<'_>, policies: &Policies) -> Signed<Set> {
    let everybody = Mode::Canary(Canary {
        hundredths: 10_000,
        salt: b"12345678".to_vec(),
    });
    let entries = vec![
        entry(&policies.old, Mode::Enforce),
        entry(&policies.canary, everybody),
    ];
    let mut set = front.next(entries).await;
    set.stop = Some(StopBounds {
        decisions: 4,
        denied: 5_000,
        aborted: 10_000,
    });
    front.agreed(set)
}

fn order(world: &World, set: u64, stops: u32, by: &Revision) -> Order {
    let mut order = decided(world, set, &[by]);
    order.decision().stops = stops;
    order
}

/// Has the denial of a policy recorded, under set 1.
async fn deny(
    running: &Running,
    world: &World,
    stops: u32,
    by: &Revision,
) -> Result<DenialRecorded, ClientError> {
    deny_under(running, world, 1, stops, by).await
}

async fn deny_under(
    running: &Running,
    world: &World,
    set: u64,
    stops: u32,
    by: &Revision,
) -> Result<DenialRecorded, ClientError> {
    let mut order = order(world, set, stops, by);
    order.decision().policies[0].verdict = "deny".into();
    let request = order.request();
    let denial = RecordDenial {
        issuer: request.issuer,
        csr: request.csr.to_vec(),
        evidence: request.evidence,
        denial: Some(Denial {
            policy: "a".into(),
            code: "NO".into(),
            ..Denial::default()
        }),
    };
    running.client.record_denial(denial, far()).await
}

async fn canary(front: &Front<'_>) -> PolicyCanary {
    let [canary] = &front.state().await.canaries[..] else {
        panic!("there is one canary")
    };
    canary.clone()
}

async fn until_stopped(front: &Front<'_>) -> PolicyCanary {
    for _ in 0..1_000 {
        let canary = canary(front).await;
        if canary.stopped_micros != 0 {
            return canary;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the canary was not stopped")
}

fn counts(canary: &PolicyCanary) -> (u64, u64, u64) {
    (canary.decisions, canary.denied, canary.aborted)
}

#[test]
fn a_canary_above_its_bound_is_stopped_for_good() {
    alone(
        "sets::canaries::a_canary_above_its_bound_is_stopped_for_good",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let p = bounded(&front).await;

            // Half of four is not above the bound, three of five is.
            for _ in 0..2 {
                running
                    .issue(order(&world, 1, 0, &p.canary).request())
                    .await
                    .unwrap();
                deny(&running, &world, 0, &p.canary).await.unwrap();
            }
            // What another policy denied is not the canary's.
            deny(&running, &world, 0, &p.old).await.unwrap();
            let running_on = canary(&front).await;
            assert_eq!((counts(&running_on), running_on.stopped_micros), ((4, 2, 0), 0));
            deny(&running, &world, 0, &p.canary).await.unwrap();
            let stopped = until_stopped(&front).await;
            assert_eq!(counts(&stopped), (5, 3, 0));

            // Whoever did not hear of it decides again: nothing fails, and nothing is recorded.
            let before = running.newest().await;
            for by in [&p.canary, &p.old] {
                let stale = running.issue(order(&world, 1, 0, by).request()).await;
                assert!(
                    matches!(stale, Err(ClientError::Stale { set_number: 1 })),
                    "{stale:?}"
                );
            }
            let stale = deny(&running, &world, 0, &p.canary).await;
            assert!(matches!(stale, Err(ClientError::Stale { .. })), "{stale:?}");
            assert_eq!(running.newest().await, before);

            // The enforcing revision decides, and the canary has no say, whatever the front says.
            running
                .issue(order(&world, 1, 1, &p.old).request())
                .await
                .unwrap();
            let lie = order(&world, 1, 1, &p.canary).request();
            refused(&running, "the stopped canary", lie, "evidence").await;
            deny(&running, &world, 1, &p.canary).await.unwrap();
            assert_eq!(canary(&front).await, stopped);
            running.end().await;

            // And so it is after a start, until another set.
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let again = until_stopped(&front).await;
            assert_eq!(again.stopped_micros, stopped.stopped_micros);
            running
                .issue(order(&world, 1, 1, &p.old).request())
                .await
                .unwrap();
            let set = front.next(vec![entry(&p.canary, Mode::Enforce)]).await;
            front.enact(&front.agreed(set)).await.unwrap();
            running
                .issue(order(&world, 2, 0, &p.canary).request())
                .await
                .unwrap();
            running.end().await;
        },
    );
}

#[test]
fn what_was_counted_before_a_start_counts_after_it() {
    alone(
        "sets::canaries::what_was_counted_before_a_start_counts_after_it",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let p = bounded(&front).await;
            running
                .issue(order(&world, 1, 0, &p.canary).request())
                .await
                .unwrap();
            for _ in 0..2 {
                deny(&running, &world, 0, &p.canary).await.unwrap();
            }
            running.end().await;

            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            deny(&running, &world, 0, &p.canary).await.unwrap();
            let stopped = until_stopped(&front).await;
            assert_eq!(counts(&stopped), (4, 3, 0));
            running
                .issue(order(&world, 1, 1, &p.old).request())
                .await
                .unwrap();
            running.end().await;
        },
    );
}

/// Leaves a row that cannot be read, of the first denial.
async fn spoil(ledger: &Path) {
    let url = format!("sqlite://{}", ledger.display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for text in [
        "DROP TRIGGER entries_update",
        "PRAGMA ignore_check_constraints = ON",
        "UPDATE entries SET hash = x'00' WHERE sequence = (SELECT min(sequence) FROM entries WHERE kind = 4)",
    ] {
        sqlx::query(text).execute(&mut raw).await.unwrap();
    }
    raw.close().await.unwrap();
}

#[test]
fn what_cannot_be_counted_is_told_and_does_not_concern_the_next_set() {
    alone(
        "sets::canaries::what_cannot_be_counted_is_told_and_does_not_concern_the_next_set",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let p = bounded(&front).await;
            for _ in 0..2 {
                deny(&running, &world, 0, &p.canary).await.unwrap();
            }
            running.end().await;
            spoil(&ledger_path(&world.file.gate.home)).await;

            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            until_told(&running, true).await;
            running.until_ready(true).await;
            for _ in 0..5 {
                deny(&running, &world, 0, &p.canary).await.unwrap();
            }
            assert_eq!(canary(&front).await.stopped_micros, 0);

            front.enact(&bounded_set(&front, &p).await).await.unwrap();
            for _ in 0..4 {
                deny_under(&running, &world, 2, 0, &p.canary).await.unwrap();
            }
            assert_eq!(counts(&until_stopped(&front).await), (4, 4, 0));
            until_told(&running, false).await;
            running.end().await;
        },
    );
}

/// Asks until the status says that records cannot be counted, or says it no longer; the test's own time limit bounds it.
async fn until_told(running: &Running, told: bool) {
    let is_told = async || {
        let notices = running.client.status(far()).await.unwrap().notices;
        notices.iter().any(|notice| notice.contains("cannot be counted"))
    };
    while is_told().await != told {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
