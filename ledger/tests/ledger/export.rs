//! Exports, whole and in part, and every byte of them.

use std::time::Duration;

use sealwright_identity::{Clock as _, Digest};
use sealwright_ledger::{
    BlobKind, Body, ExportError, ExportItem, ExportReader, LedgerReader, PolicyEntry, PolicyEvent,
    StatementRef, verify_export,
};

use crate::support::{Home, certificate, decision, one_of_everything, start};

async fn exported(home: &Home) -> Vec<u8> {
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut output = Vec::new();
    let report = reader.export(&mut output, None, None, &mut |_| {}).await.unwrap();
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
            ExportItem::Entry(entry, _) => found.push(entry),
            ExportItem::Blob { .. } => blobs += 1,
            ExportItem::Earlier(..) => panic!("nothing was before"),
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
    let report = reader
        .export(&mut output, Some(since), Some(now), &mut |_| {})
        .await
        .unwrap();
    assert_eq!(verify_export(output.as_slice()).unwrap(), report);
    assert!(report.after.sequence > 0);
    assert_eq!(
        (report.blobs, report.earlier),
        (2, 3),
        "what the entries name is there, though it was stored before, with the start in force"
    );
    let mut read = ExportReader::open(output.as_slice()).unwrap();
    let (mut decisions, mut settled) = (0, 0);
    while let Some(item) = read.next().unwrap() {
        if let ExportItem::Entry(_, body) = item {
            match body {
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
        .export(&mut output, Some(now.saturating_add(minute)), None, &mut |_| {})
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

/// Whoever replays a part judges all that ever decided, from its beginning.
#[tokio::test]
async fn a_part_has_every_change_of_what_decides_and_what_it_brought_in() {
    let home = Home::new();
    let ledger = home.open().await;
    ledger.start(&start()).await.unwrap();
    let changes = [
        (PolicyEvent::Roster, 0, "roster"),
        (PolicyEvent::Set, 1, "set"),
        (PolicyEvent::Revocation, 1, "revocation"),
    ];
    for (event, number, text) in changes {
        home.tick();
        let blob = ledger
            .put_blob(BlobKind::Statement, text.as_bytes())
            .await
            .unwrap();
        let statement = Digest::of(number.to_string().as_bytes());
        let entry = PolicyEntry {
            event,
            number,
            statement,
            judged_at: home.clock.now(),
            approvals: 0,
            seeded: true,
            brings: vec![StatementRef { statement, blob }],
            stopped: None,
        };
        ledger.policy(&entry).await.unwrap();
    }
    ledger.put_blob(BlobKind::Report, b"report").await.unwrap();
    home.tick();
    home.tick();
    let since = home.clock.now();
    let issued = decision(1);
    let appended = ledger.append(&issued).await.unwrap();
    let signed = certificate(appended.sequence, &issued);
    ledger.complete(&signed).await.unwrap();
    ledger.close().await;

    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut export = Vec::new();
    reader
        .export(&mut export, Some(since), None, &mut |_| {})
        .await
        .unwrap();
    let mut read = ExportReader::open(export.as_slice()).unwrap();
    let (mut statements, mut events, mut decisions) = (Vec::new(), Vec::new(), 0);
    while let Some(item) = read.next().unwrap() {
        match item {
            ExportItem::Blob {
                kind: BlobKind::Statement,
                place,
                ..
            } => statements.push(place.digest),
            ExportItem::Earlier(_, Body::Policy(entry)) => {
                assert!(
                    statements.contains(&entry.brings[0].blob),
                    "it comes after what it names"
                );
                events.push(entry.event);
            }
            ExportItem::Entry(_, Body::Decision(_)) => decisions += 1,
            _ => {}
        }
    }
    assert_eq!(events, changes.map(|(event, _, _)| event));
    assert_eq!(decisions, 1);
    for place in 0..export.len() {
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

/// An export of an earlier time, and what its reader makes of it.
#[tokio::test]
async fn an_export_of_the_first_version_is_read() {
    let home = Home::new();
    one_of_everything(&home).await;
    let export = String::from_utf8(exported(&home).await).unwrap();
    // All blobs first, another number, and another last line.
    let mut lines: Vec<String> = export.lines().map(|line| format!("{line}\n")).collect();
    lines[0] = lines[0].replace("\"version\":2", "\"version\":1");
    let last = lines.pop().unwrap();
    lines[1..].sort_by_key(|line| !line.contains("\"type\":\"blob\""));
    let digest = Digest::of(lines.concat().as_bytes()).to_string();
    let (head, _) = last.split_once("\"digest\":").unwrap();
    lines.push(format!("{head}\"digest\":\"{digest}\"}}\n"));
    verify_export(lines.concat().as_bytes()).unwrap();
}

/// What a version-2 reader must not believe: earlier entries and blobs that nothing vouches for.
#[tokio::test]
async fn what_is_said_of_earlier_times_is_checked() {
    let home = Home::new();
    one_of_everything(&home).await;
    let since = home.clock.now().saturating_sub(Duration::from_secs(120));
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut output = Vec::new();
    reader
        .export(&mut output, Some(since), None, &mut |_| {})
        .await
        .unwrap();
    let text = String::from_utf8(output).unwrap();
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let earlier = lines
        .iter()
        .position(|line| line.contains("\"type\":\"earlier\""))
        .unwrap();
    let changes: [(&str, Vec<String>); 3] = [
        ("a blob without its entry", without(&lines, earlier)),
        ("an earlier entry that was changed", {
            let mut lines = lines.clone();
            lines[earlier] = lines[earlier].replace("\"settled\":", "\"settled\":1");
            lines
        }),
        ("an earlier entry twice", {
            let mut lines = lines.clone();
            lines.insert(earlier, lines[earlier].clone());
            lines
        }),
    ];
    for (what, lines) in changes {
        let error = verify_export(resealed(lines).as_bytes()).unwrap_err();
        assert!(
            matches!(error, ExportError::Misplaced { .. } | ExportError::Entry { .. }),
            "{what}: {error}"
        );
    }
}

fn without(lines: &[String], place: usize) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.remove(place);
    lines
}

/// The lines under a last line that vouches for them, as a forger writes it.
fn resealed(mut lines: Vec<String>) -> String {
    let last = lines.pop().unwrap();
    let digest = Digest::of(lines.concat().as_bytes()).to_string();
    let (head, _) = last.split_once("\"digest\":").unwrap();
    lines.push(format!("{head}\"digest\":\"{digest}\"}}\n"));
    lines.concat()
}
