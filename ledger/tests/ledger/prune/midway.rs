//! A pruning that is cut short.

use sealwright_ledger::verify_export;

use super::{MINUTE, ends, export, plan, prune, small_batches, ten_minutes};
use crate::support::{Home, verify};

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
