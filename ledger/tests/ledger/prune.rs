//! Pruning: ledgers that are, were or were half pruned.

mod goes;
mod midway;
mod refused;

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use sealwright_identity::{Clock as _, Digest, Timestamp};
use sealwright_ledger::{
    BlobKind, Error, LedgerConfig, LedgerReader, PolicyEntry, PolicyEvent, PruneError, PrunePlan,
    PruneReport, PruneWish, StatementRef,
};
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{Home, certificate, config, decision, denied, start};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Minutes of a ledger: a start, a change of what decides, and each minute a certificate and a denial.
async fn minutes(home: &Home, first: u64, minutes: u32) -> Timestamp {
    let begin = home.clock.now();
    let ledger = home.open().await;
    ledger.start(&start()).await.unwrap();
    let blob = ledger
        .put_blob(BlobKind::Statement, format!("statement {first}").as_bytes())
        .await
        .unwrap();
    let entry = PolicyEntry {
        event: if first == 0 {
            PolicyEvent::Roster
        } else {
            PolicyEvent::Revocation
        },
        number: 0,
        statement: Digest::of(b"statement"),
        judged_at: begin,
        approvals: 0,
        seeded: true,
        brings: vec![StatementRef {
            statement: Digest::of(b"statement"),
            blob,
        }],
        stopped: None,
    };
    ledger.policy(&entry).await.unwrap();
    for number in first..first + u64::from(minutes) {
        let issued = decision(number);
        let appended = ledger.append(&issued).await.unwrap();
        let signed = certificate(appended.sequence, &issued);
        ledger.complete(&signed).await.unwrap();
        ledger.append_denied(&denied(1000 + number)).await.unwrap();
        home.tick();
    }
    ledger.close().await;
    begin
}

pub(crate) async fn ten_minutes(home: &Home, first: u64) -> Timestamp {
    minutes(home, first, 10).await
}

/// Exports a time into a file of the home's folder.
pub(crate) async fn export(
    home: &Home,
    name: &str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> PathBuf {
    let path = home.folder.path().join(name);
    let mut output = Vec::new();
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    reader
        .export(&mut output, since, until, &mut |_| {})
        .await
        .unwrap();
    reader.close().await;
    std::fs::write(&path, output).unwrap();
    path
}

async fn plan_with(
    home: &Home,
    before: Timestamp,
    exports: &[PathBuf],
    valid_until: &(dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync),
) -> Result<PrunePlan, PruneError> {
    plan_beside(home, before, exports, valid_until, None).await
}

async fn plan_beside(
    home: &Home,
    before: Timestamp,
    exports: &[PathBuf],
    valid_until: &(dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync),
    counted_after: Option<u64>,
) -> Result<PrunePlan, PruneError> {
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let wish = PruneWish {
        before,
        now: home.clock.now(),
        counted_after,
        exports,
        by: "tester (1)".into(),
        valid_until,
    };
    let plan = reader.plan_pruning(&wish, &mut |_| {}).await;
    reader.close().await;
    plan
}

pub(crate) async fn plan(
    home: &Home,
    before: Timestamp,
    exports: &[PathBuf],
) -> Result<PrunePlan, PruneError> {
    plan_with(home, before, exports, &|_tbs| Some(Timestamp::from_micros(0))).await
}

fn small_batches() -> LedgerConfig {
    LedgerConfig {
        prune_batch: 4,
        ..config()
    }
}

pub(crate) async fn prune(home: &Home, before: Timestamp, exports: &[PathBuf]) -> PruneReport {
    let plan = plan(home, before, exports).await.unwrap();
    let ledger = home.open_with(small_batches()).await;
    let report = ledger.prune(plan, &mut |_| {}).await.unwrap();
    ledger.close().await;
    report
}

/// Ten minutes of which the first five were pruned, then ten more.
pub(crate) async fn pruned(home: &Home) -> Timestamp {
    pruned_of(home, 10).await
}

/// Minutes of which half were pruned, then as many more.
pub(crate) async fn pruned_of(home: &Home, count: u32) -> Timestamp {
    let begin = minutes(home, 0, count).await;
    let whole = export(home, "whole.jsonl", None, None).await;
    prune(home, begin.saturating_add(MINUTE * (count / 2)), &[whole]).await;
    minutes(home, 20, count).await;
    begin
}

/// Three minutes of which two should have been pruned: it was cut short after four entries of six.
pub(crate) async fn cut_short(home: &Home) {
    let begin = minutes(home, 0, 3).await;
    let whole = [export(home, "whole.jsonl", None, None).await];
    let planned = plan(home, begin.saturating_add(MINUTE * 2), &whole)
        .await
        .unwrap();
    let ledger = home.open_with(small_batches()).await;
    let mut first = true;
    let mut stop = |_| assert!(std::mem::take(&mut first), "cut short");
    assert!(!ends(ledger.prune(planned, &mut stop)).await);
    ledger.close().await;
}

/// Whether it came to its end; a panic in the callback ends it between two steps.
async fn ends(work: impl Future<Output = Result<PruneReport, Error>>) -> bool {
    let mut work = std::pin::pin!(work);
    let ended = std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(report)) => std::task::Poll::Ready(Some(report)),
            Err(_panicked) => std::task::Poll::Ready(None),
        }
    });
    ended.await.is_some_and(|report| report.is_ok())
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap()
}
