//! What goes, what stays, and what is said of both afterwards.

use std::time::Duration;

use sealwright_identity::{Clock as _, Digest, Timestamp};
use sealwright_ledger::{
    Body, EntryKind, Error, ExportItem, ExportReader, Filter, Head, LedgerReader, Needed, Problem,
    PruneError, ReadError, Selector, verify_export,
};

use super::{MINUTE, export, plan, plan_beside, plan_with, prune, pruned, ten_minutes};
use crate::support::{Home, decision, serial, verify};

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

/// The end of the chain that somebody kept before its entry was pruned: a finding that says where to look. That another
/// chain stands there is one that says so.
#[tokio::test]
async fn a_kept_head_that_was_pruned_is_told_from_one_that_was_replaced() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let heads: Vec<_> = reader.entries_after(0, 1000).await.unwrap();
    reader.close().await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    prune(&home, begin.saturating_add(MINUTE * 5), &whole).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let [pruning] = reader.prunings().await.unwrap().try_into().unwrap();
    let found = async |kept: Head| {
        let report = reader.verify_since(Some(kept), &mut |_| {}).await.unwrap();
        let problems = report.findings.into_iter().map(|finding| finding.problem);
        problems.collect::<Vec<_>>()
    };
    let last = pruning.entry.last.sequence;
    for entry in &heads {
        let gone = entry.sequence < last && matches!(entry.kind, 2..=7);
        let sequence = entry.sequence;
        let due = gone.then_some(Problem::HeadPruned {
            sequence,
            by: pruning.sequence,
        });
        assert_eq!(found(entry.head()).await, Vec::from_iter(due), "{sequence}");
        // Of what is there, or whose hash is known, another hash is another chain.
        let other = Head {
            hash: Digest::of(b"other"),
            ..entry.head()
        };
        if !gone {
            assert_eq!(found(other).await, [Problem::Earlier { sequence }]);
        }
    }
    for sequence in [0, 1000] {
        let other = Head {
            sequence,
            hash: Digest::of(b"other"),
        };
        assert_eq!(found(other).await, [Problem::Earlier { sequence }]);
    }
}
