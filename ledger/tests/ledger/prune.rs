//! Pruning: what goes, what stays, who is refused, and a pruning that is cut short.

use std::{
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    time::Duration,
};

use sealwright_identity::{Clock as _, Digest, Timestamp};
use sealwright_ledger::{
    BlobKind, Body, EntryKind, Error, ExportItem, ExportReader, Filter, LedgerConfig, LedgerReader, Needed,
    PolicyEntry, PolicyEvent, PruneError, PrunePlan, PruneReport, PruneWish, ReadError, Selector,
    StatementRef, verify_export,
};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use crate::support::{Home, certificate, config, decision, denied, serial, start, verify};

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

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_start_counts_does_not_go() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let cut = begin.saturating_add(MINUTE * 5);
    let ended = |_: &[u8]| Some(Timestamp::from_micros(0));
    let last = plan(&home, cut, &whole)
        .await
        .unwrap()
        .entry()
        .unwrap()
        .last
        .sequence;
    plan_beside(&home, cut, &whole, &ended, Some(last)).await.unwrap();
    let refused = plan_beside(&home, cut, &whole, &ended, Some(last - 4)).await;
    let Err(PruneError::Needed {
        sequence,
        why: Needed::Counted,
        ..
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(sequence > last - 4 && sequence <= last, "{sequence} of {last}");
}

#[tokio::test]
async fn what_went_is_gone_and_the_rest_is_verified_as_before() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = export(&home, "whole.jsonl", None, None).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let before = reader.entries_after(0, 1000).await.unwrap();
    reader.close().await;
    let cut = begin.saturating_add(MINUTE * 5);

    let planned = plan(&home, cut, std::slice::from_ref(&whole)).await.unwrap();
    assert_eq!(
        (planned.first(), planned.goes(), planned.certificates()),
        (1, 15, 5)
    );
    assert!(
        verify(&home.path()).await.pruned.is_none(),
        "a plan changes nothing"
    );
    let report = prune(&home, cut, std::slice::from_ref(&whole)).await;
    assert_eq!(report.removed, 15);

    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    let of = report.pruned.unwrap();
    assert_eq!((of.kept, of.serials, of.leftover), (3, 5, 0));
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let after = reader.entries_after(0, 1000).await.unwrap();
    let stayed: Vec<_> = before
        .iter()
        .filter(|entry| {
            let kept = matches!(
                entry.entry_kind().unwrap(),
                EntryKind::Start | EntryKind::Blob | EntryKind::Policy
            );
            kept || entry.recorded_at >= cut
        })
        .cloned()
        .collect();
    assert_eq!(after[..after.len() - 1], stayed);
    let [pruning] = reader.prunings().await.unwrap().try_into().unwrap();
    assert_eq!(Some(pruning.sequence), after.last().map(|entry| entry.sequence));
    assert_eq!(pruning.entry.by, "tester (1)");
    assert_eq!(
        pruning.entry.exports[0].file,
        Digest::of(&std::fs::read(&whole).unwrap())
    );
    assert_eq!(reader.list(&Filter::default()).await.unwrap().len(), 10);

    // A certificate that went is named with the export that has it, and its serial is not given again.
    let ReadError::Pruned(gone) = reader.record(&Selector::Serial(serial(3))).await.unwrap_err() else {
        panic!("not said to be pruned");
    };
    assert_eq!(gone.exports().count(), 1);
    assert!(
        gone.to_string()
            .contains("look in the export whole.jsonl (sha256:"),
        "{gone}"
    );
    let by_place = reader
        .record(&Selector::Sequence(gone.sequence))
        .await
        .unwrap_err();
    assert!(matches!(by_place, ReadError::Pruned(_)), "{by_place}");
    let unknown = reader.record(&Selector::Serial(serial(999))).await.unwrap_err();
    assert!(matches!(unknown, ReadError::NotFound(_)), "{unknown}");
    assert!(reader.serial_exists(&serial(3)).await.unwrap());
    let ledger = home.open().await;
    let again = ledger.append(&decision(3)).await.unwrap_err();
    assert!(matches!(again, Error::SerialTaken { .. }), "{again}");
    ledger.append(&decision(99)).await.unwrap();
    ledger.close().await;

    // An export begins where the chain does, with every change of what decides under its own hash.
    let path = export(&home, "rest.jsonl", None, None).await;
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(verify_export(bytes.as_slice()).unwrap().after, of.last);
    let mut read = ExportReader::open(bytes.as_slice()).unwrap();
    let mut earlier = Vec::new();
    while let Some(item) = read.next().unwrap() {
        if let ExportItem::Earlier(entry, _) = item {
            earlier.push(entry);
        }
    }
    earlier.sort_by_key(|entry| entry.sequence);
    assert_eq!(earlier, stayed[..3], "the start, the blob and the change");
}

#[tokio::test]
async fn it_is_pruned_again_with_the_exports_that_follow() {
    let home = Home::new();
    let begin = pruned(&home).await;
    let first = home.folder.path().join("whole.jsonl");
    let rest = export(&home, "rest.jsonl", None, None).await;
    let minute = |minute| begin.saturating_add(MINUTE * minute);

    // The first export ends before what goes now; and it is not asked for again.
    let error = plan(&home, minute(15), std::slice::from_ref(&first))
        .await
        .unwrap_err();
    assert!(matches!(error, PruneError::Short { .. }), "{error}");
    assert_eq!(
        prune(&home, minute(15), std::slice::from_ref(&rest))
            .await
            .removed,
        30
    );
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.pruned.unwrap().serials, 15);
    assert!(
        plan(&home, minute(15), &[]).await.unwrap().is_empty(),
        "nothing is left to do"
    );
    assert!(
        plan(&home, minute(2), &[]).await.unwrap().is_empty(),
        "that went before"
    );

    let reader = LedgerReader::open(&home.path()).await.unwrap();
    for (number, name) in [(2, "whole.jsonl"), (7, "rest.jsonl")] {
        let gone = reader.pruned_serial(&serial(number)).await.unwrap().unwrap();
        assert!(gone.to_string().contains(name), "{gone}");
    }
    let last = export(&home, "last.jsonl", None, None).await;
    let bytes = std::fs::read(last).unwrap();
    let mut read = ExportReader::open(bytes.as_slice()).unwrap();
    let mut prunings = 0;
    while let Some(item) = read.next().unwrap() {
        prunings += u32::from(matches!(
            item,
            ExportItem::Entry(_, Body::Prune(_)) | ExportItem::Earlier(_, Body::Prune(_))
        ));
    }
    assert_eq!(prunings, 2, "every pruning is in every later export");
}

#[tokio::test]
async fn what_is_needed_stays() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let minute = |minute| begin.saturating_add(MINUTE * minute);
    let fifth = decision(5).tbs;
    let valid = |tbs: &[u8]| {
        let until = if tbs == fifth { home.clock.now() } else { begin };
        Some(until)
    };
    let PruneError::Needed { recorded_at, why, .. } =
        plan_with(&home, minute(8), &whole, &valid).await.unwrap_err()
    else {
        panic!("another error");
    };
    assert_eq!((recorded_at, why), (minute(5), Needed::Valid(home.clock.now())));
    plan_with(&home, recorded_at, &whole, &valid).await.unwrap();
    let error = plan_with(&home, minute(1), &whole, &|_| None).await.unwrap_err();
    assert!(
        matches!(
            error,
            PruneError::Needed {
                why: Needed::Unreadable,
                ..
            }
        ),
        "{error}"
    );
    let future = home.clock.now().saturating_add(Duration::from_secs(1));
    let error = plan(&home, future, &whole).await.unwrap_err();
    assert!(matches!(error, PruneError::Future { .. }), "{error}");

    // A decision that is open, as a crash leaves it.
    let ledger = home.open().await;
    ledger.append(&decision(50)).await.unwrap();
    ledger.close().await;
    home.tick();
    let now = home.clock.now();
    let whole = [export(&home, "open.jsonl", None, None).await];
    // Without a clean cut before it, the decision itself is in the way; there is one, so all before it goes.
    let planned = plan(&home, now, &whole).await.unwrap();
    assert_eq!(planned.entry().unwrap().last.sequence, 33);
}

/// Whoever prepares an export to hide entries: each way, and what is said.
#[tokio::test]
async fn exports_that_do_not_hold_what_goes_are_refused() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let other = Home::new();
    ten_minutes(&other, 0).await;
    let minute = |minute| begin.saturating_add(MINUTE * minute);
    let until = minute(5);
    let early = export(&home, "early.jsonl", None, Some(minute(2))).await;
    let late = export(&home, "late.jsonl", Some(minute(3)), None).await;
    let middle = export(&home, "middle.jsonl", Some(minute(2)), Some(minute(3))).await;
    let whole = export(&home, "whole.jsonl", None, None).await;
    let foreign = export(&other, "foreign.jsonl", None, None).await;
    let changed = home.folder.path().join("changed.jsonl");
    let mut bytes = std::fs::read(&whole).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    std::fs::write(&changed, &bytes).unwrap();
    let cut = home.folder.path().join("cut.jsonl");
    let text = std::fs::read_to_string(&whole).unwrap();
    std::fs::write(&cut, &text[..text.len() / 2]).unwrap();
    // All that goes but its last entry.
    let short = export(&home, "short.jsonl", None, Some(minute(4))).await;

    type Wanted = fn(&PruneError) -> bool;
    let rows: [(&str, Vec<&PathBuf>, Wanted); 8] = [
        ("no export", vec![], |e| {
            matches!(e, PruneError::NoExport { first: 1, last: 18 })
        }),
        ("ends before the last entry to go", vec![&short], |e| {
            matches!(
                e,
                PruneError::Short {
                    end: 15,
                    last: 18,
                    ..
                }
            )
        }),
        ("of another ledger", vec![&foreign], |e| {
            matches!(e, PruneError::OtherLedger { .. })
        }),
        ("one byte changed", vec![&changed], |e| {
            matches!(e, PruneError::Export { .. })
        }),
        ("cut off", vec![&cut], |e| matches!(e, PruneError::Export { .. })),
        ("a gap between two", vec![&late, &early], |e| {
            matches!(e, PruneError::Gap { first: 10, last: 12 })
        }),
        ("a gap before the first", vec![&late], |e| {
            matches!(e, PruneError::Gap { first: 1, last: 12 })
        }),
        ("one of two is foreign", vec![&whole, &foreign], |e| {
            matches!(e, PruneError::OtherLedger { .. })
        }),
    ];
    for (what, exports, wanted) in rows {
        let exports: Vec<_> = exports.into_iter().cloned().collect();
        let error = plan(&home, until, &exports).await.unwrap_err();
        assert!(wanted(&error), "{what}: {error}");
    }
    let exports = [middle, late, early];
    let planned = plan(&home, until, &exports).await.unwrap();
    let names: Vec<_> = planned
        .entry()
        .unwrap()
        .exports
        .iter()
        .map(|one| &*one.name)
        .collect();
    assert_eq!(
        names,
        ["early.jsonl", "middle.jsonl", "late.jsonl"],
        "in the order of the chain"
    );

    // An export of what the ledger held before it was cut off and written on.
    let mut raw = raw(&home.path()).await;
    for text in [
        "DROP TRIGGER entries_delete",
        "DELETE FROM entries WHERE sequence = (SELECT max(sequence) FROM entries)",
    ] {
        sqlx::query(text).execute(&mut raw).await.unwrap();
    }
    raw.close().await.unwrap();
    let error = plan(&home, until, &[whole]).await.unwrap_err();
    assert!(
        matches!(error, PruneError::Differs { sequence: 33, .. }),
        "{error}"
    );
}

/// An export that was made to order: sound by itself, and not of what the ledger holds.
#[tokio::test]
async fn an_export_with_another_entry_is_refused() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = export(&home, "whole.jsonl", None, None).await;
    let mut raw = raw(&home.path()).await;
    sqlx::query("DROP TRIGGER entries_update")
        .execute(&mut raw)
        .await
        .unwrap();
    // The ledger's entry is the one that was changed; its hash no longer is the export's.
    sqlx::query("UPDATE entries SET body = CAST(substr(body, 1, length(body) - 1) || X'7F' AS BLOB) WHERE sequence = 5")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let error = plan(&home, begin.saturating_add(MINUTE * 5), &[whole])
        .await
        .unwrap_err();
    assert!(
        matches!(error, PruneError::Differs { sequence: 5, .. }),
        "{error}"
    );
}

/// What stayed is named by the pruning: without it nothing is pruned again.
#[tokio::test]
async fn nothing_is_pruned_over_a_change_of_what_stayed() {
    let home = Home::new();
    let begin = pruned(&home).await;
    let rest = export(&home, "rest.jsonl", None, None).await;
    let mut raw = raw(&home.path()).await;
    sqlx::query("DROP TRIGGER entries_delete")
        .execute(&mut raw)
        .await
        .unwrap();
    sqlx::query("DELETE FROM entries WHERE kind = 9 AND sequence < 10")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let error = plan(&home, begin.saturating_add(MINUTE * 15), &[rest])
        .await
        .unwrap_err();
    assert!(matches!(error, PruneError::Damaged(_)), "{error}");
    assert!(!verify(&home.path()).await.is_sound());
}

/// The database itself takes out nothing that no pruning has named.
#[tokio::test]
async fn what_stays_cannot_be_deleted() {
    let home = Home::new();
    pruned(&home).await;
    let mut raw = raw(&home.path()).await;
    for text in [
        "DELETE FROM entries WHERE sequence = 1",
        "DELETE FROM entries WHERE kind = 11",
        "DELETE FROM entries WHERE kind = 2",
        "DELETE FROM entries WHERE sequence = 19",
        "DELETE FROM lookups",
        "DELETE FROM blobs",
        "DELETE FROM removed",
        "UPDATE removed SET serial = x'00'",
        "INSERT OR REPLACE INTO removed SELECT sequence, x'00' FROM removed",
    ] {
        let error = sqlx::query(AssertSqlSafe(text))
            .execute(&mut raw)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("append-only"), "{text}: {error}");
    }
}

/// Cut off after any step, the ledger is sound, says how much is left, and is pruned to the same end again.
#[tokio::test]
async fn cut_short_anywhere_it_is_sound_and_done_again() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let cut = begin.saturating_add(MINUTE * 5);
    let pristine = std::fs::read(home.path()).unwrap();
    let mut steps = 0;
    loop {
        std::fs::write(home.path(), &pristine).unwrap();
        let planned = plan(&home, cut, &whole).await.unwrap();
        let ledger = home.open_with(small_batches()).await;
        let mut left = steps;
        let mut stop = move |_| {
            assert!(left > 0, "cut short");
            left -= 1;
        };
        let done = ends(ledger.prune(planned, &mut stop)).await;
        ledger.close().await;
        let report = verify(&home.path()).await;
        assert!(report.is_sound(), "after {steps}: {:?}", report.findings);
        let of = report.pruned.unwrap();
        let batches = u64::try_from(steps).unwrap();
        assert_eq!(of.leftover, 15u64.saturating_sub(4 * batches), "after {steps}");
        let rest = export(&home, "rest.jsonl", None, None).await;
        assert_eq!(
            verify_export(std::fs::read(rest).unwrap().as_slice())
                .unwrap()
                .after,
            of.last
        );
        if done {
            assert_eq!(steps, 5);
            return;
        }
        // The exports are not asked for again: the pruning has named them.
        let again = plan(&home, cut, &[]).await.unwrap();
        assert_eq!((again.entry(), again.leftover()), (None, of.leftover));
        let ledger = home.open().await;
        assert_eq!(
            ledger.prune(again, &mut |_| {}).await.unwrap().removed,
            of.leftover
        );
        ledger.close().await;
        let report = verify(&home.path()).await;
        assert!(report.is_sound(), "{:?}", report.findings);
        assert_eq!(report.pruned.unwrap().serials, 5);
        assert_eq!(report.pruned.unwrap().leftover, 0);
        steps += 1;
    }
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

/// A later pruning first takes away what an earlier one left.
#[tokio::test]
async fn what_was_left_goes_before_more_does() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let minute = |minute| begin.saturating_add(MINUTE * minute);
    let planned = plan(&home, minute(3), &whole).await.unwrap();
    let ledger = home.open_with(small_batches()).await;
    assert!(!ends(ledger.prune(planned, &mut |_| panic!("cut short"))).await);
    ledger.close().await;
    let planned = plan(&home, minute(6), &whole).await.unwrap();
    assert_eq!((planned.leftover(), planned.goes()), (9, 9));
    assert_eq!(prune(&home, minute(6), &whole).await.removed, 18);
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.pruned.unwrap().serials, 6);
}

/// A plan is of a moment: what was pruned since, by somebody else, is noticed.
#[tokio::test]
async fn a_plan_is_not_done_twice() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let planned = plan(&home, begin.saturating_add(MINUTE * 5), &whole)
        .await
        .unwrap();
    let ledger = home.open().await;
    ledger.prune(planned.clone(), &mut |_| {}).await.unwrap();
    let error = ledger.prune(planned, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}
