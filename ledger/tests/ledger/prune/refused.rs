//! Who may not prune: without the exports of what goes, over what was changed, twice, or past the ledger's own triggers.

use std::path::PathBuf;

use sealwright_ledger::{Error, PruneError};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{MINUTE, export, plan, pruned, raw, ten_minutes};
use crate::support::{Home, verify};

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
