//! Exports, whole and in part, and every byte of them.

use std::time::Duration;

use sealwright_identity::Clock as _;
use sealwright_ledger::{Body, ExportError, ExportItem, ExportReader, LedgerReader, verify_export};

use crate::support::{Home, one_of_everything};

async fn exported(home: &Home) -> Vec<u8> {
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut output = Vec::new();
    let report = reader.export(&mut output, None, None).await.unwrap();
    assert_eq!(verify_export(output.as_slice()).unwrap(), report);
    output
}

#[tokio::test]
async fn holds_everything() {
    let home = Home::new();
    one_of_everything(&home).await;
    let export = exported(&home).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let entries = reader.entries_after(0, 1000).await.unwrap();
    let mut read = ExportReader::open(export.as_slice()).unwrap();
    assert_eq!(read.header().instance, reader.instance());
    let (mut found, mut blobs) = (Vec::new(), 0);
    while let Some(item) = read.next().unwrap() {
        match item {
            ExportItem::Entry(entry) => found.push(entry),
            ExportItem::Blob { .. } => blobs += 1,
        }
    }
    assert_eq!((found, blobs), (entries, 2));
}

#[tokio::test]
async fn an_empty_ledger_exports_too() {
    let home = Home::new();
    home.open().await.close().await;
    let export = exported(&home).await;
    assert_eq!(
        export
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count(),
        2
    );
}

#[tokio::test]
async fn a_part_is_verified_by_itself_and_settles_its_decisions() {
    let home = Home::new();
    one_of_everything(&home).await;
    let now = home.clock.now();
    let minute = Duration::from_secs(60);
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut output = Vec::new();
    let since = now.saturating_sub(minute * 2);
    let report = reader.export(&mut output, Some(since), Some(now)).await.unwrap();
    assert_eq!(verify_export(output.as_slice()).unwrap(), report);
    assert!(report.after.sequence > 0);
    assert_eq!(
        report.blobs, 2,
        "what the entries name is there, though it was stored before"
    );
    let mut read = ExportReader::open(output.as_slice()).unwrap();
    let (mut decisions, mut settled) = (0, 0);
    while let Some(item) = read.next().unwrap() {
        if let ExportItem::Entry(entry) = item {
            match entry.body().unwrap() {
                Body::Decision(decision) if decision.denial.is_none() => decisions += 1,
                Body::Certificate(_) | Body::Failed { .. } => settled += 1,
                _ => {}
            }
        }
    }
    assert_eq!((decisions, settled), (2, 2));

    // Nothing was recorded then.
    let mut output = Vec::new();
    let report = reader
        .export(&mut output, Some(now.saturating_add(minute)), None)
        .await
        .unwrap();
    assert_eq!((report.entries, report.blobs), (0, 0));
    assert_eq!(verify_export(output.as_slice()).unwrap(), report);
}

#[tokio::test]
async fn any_changed_byte_is_found() {
    let home = Home::new();
    one_of_everything(&home).await;
    let export = exported(&home).await;
    for place in 0..export.len() {
        // Every byte near the ends, and every 13th between: each try reads the whole.
        if place > 600 && place + 600 < export.len() && place % 13 != 0 {
            continue;
        }
        let mut changed = export.clone();
        changed[place] ^= 0x01;
        assert!(verify_export(changed.as_slice()).is_err(), "byte {place}");
    }
}

#[tokio::test]
async fn a_line_gone_doubled_or_moved_is_found() {
    let home = Home::new();
    one_of_everything(&home).await;
    let export = exported(&home).await;
    let lines: Vec<&[u8]> = export.split_inclusive(|byte| *byte == b'\n').collect();
    for place in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(place);
        assert!(
            verify_export(without.concat().as_slice()).is_err(),
            "without line {place}"
        );
        let mut twice = lines.clone();
        twice.insert(place, lines[place]);
        assert!(
            verify_export(twice.concat().as_slice()).is_err(),
            "line {place} twice"
        );
        if place > 0 {
            let mut swapped = lines.clone();
            swapped.swap(place, place - 1);
            assert!(
                verify_export(swapped.concat().as_slice()).is_err(),
                "line {place} before its turn"
            );
        }
        let cut = verify_export(lines[..place].concat().as_slice());
        assert!(matches!(cut, Err(ExportError::Truncated)), "cut at {place}");
    }
    assert!(verify_export(&export[..export.len() - 1]).is_err());
    assert!(verify_export(b"{}\n".as_slice()).is_err());
}
