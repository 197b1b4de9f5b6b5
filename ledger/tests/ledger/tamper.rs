//! One changed byte anywhere, a row gone, swapped, or cut off: each is found.

use std::path::Path;

use sealwright_identity::Clock as _;
use sealwright_ledger::{Finding, LedgerReader, Problem, VerifyReport};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};

use crate::{
    prune::{MINUTE, cut_short, export, prune, pruned, pruned_of},
    support::{Home, decision, one_of_everything, verify},
};

/// What was found besides the missing triggers.
fn real(report: &VerifyReport) -> Vec<&Finding> {
    report
        .findings
        .iter()
        .filter(|finding| !matches!(finding.problem, Problem::Schema(_)))
        .collect()
}

/// A connection that nothing stops.
async fn unbound(path: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", path.display());
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut raw)
        .await
        .unwrap();
    for trigger in triggers {
        run(&mut raw, &format!("DROP TRIGGER {trigger}")).await.unwrap();
    }
    run(&mut raw, "PRAGMA ignore_check_constraints = ON")
        .await
        .unwrap();
    raw
}

async fn run(raw: &mut SqliteConnection, text: &str) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
        .execute(raw)
        .await
        .map(|done| done.rows_affected())
}

/// SQL literals that differ from a value in one byte.
fn changed(kind: &str, bytes: &[u8], number: i64) -> Vec<String> {
    match kind {
        "INTEGER" => (0..8)
            .map(|byte| (number ^ (1i64 << (byte * 8))).to_string())
            .collect(),
        "BLOB" => {
            let step = (bytes.len() / 12).max(1);
            let blob = |bytes: &[u8]| format!("x'{}'", hex::encode(bytes));
            let mut literals: Vec<String> = (0..bytes.len())
                .step_by(step)
                .map(|place| {
                    let mut changed = bytes.to_vec();
                    changed[place] ^= 0x20;
                    blob(&changed)
                })
                .collect();
            literals.push(blob(&bytes[..bytes.len().saturating_sub(1)]));
            literals.push(blob(&[bytes, &[0]].concat()));
            literals
        }
        "TEXT" => vec!["'entriez'".to_owned()],
        "NULL" => vec!["77".to_owned(), "x'01'".to_owned()],
        other => panic!("a {other} column"),
    }
}

#[tokio::test]
async fn a_changed_byte_in_any_column_of_any_row_is_found() {
    let home = Home::new();
    one_of_everything(&home).await;
    each_byte_of(&home, &[]).await;
}

#[tokio::test]
async fn so_it_is_in_a_ledger_that_was_pruned() {
    let home = Home::new();
    pruned_of(&home, 2).await;
    each_byte_of(&home, &[("removed", vec!["sequence"])]).await;
}

#[tokio::test]
async fn so_it_is_in_one_whose_pruning_was_cut_short() {
    let home = Home::new();
    cut_short(&home).await;
    assert_eq!(verify(&home.path()).await.pruned.map(|of| of.leftover), Some(2));
    each_byte_of(&home, &[("removed", vec!["sequence"])]).await;
}

async fn each_byte_of(home: &Home, more: &[(&str, Vec<&str>)]) {
    assert!(verify(&home.path()).await.is_sound());
    let mut raw = unbound(&home.path()).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let mut tried = 0;
    let tables = [
        ("instance", vec!["one"]),
        ("entries", vec!["sequence"]),
        ("blobs", vec!["sequence"]),
        ("lookups", vec!["tag", "sequence"]),
        ("sqlite_sequence", vec!["rowid"]),
    ];
    for (table, keys) in tables.into_iter().chain(more.to_vec()) {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT *, {} FROM {table}",
            keys.join(", ")
        )))
        .fetch_all(&mut raw)
        .await
        .unwrap();
        assert!(!rows.is_empty(), "{table}");
        for row in &rows {
            let columns = row.columns();
            let own = columns.len() - keys.len();
            let key: Vec<i64> = (own..columns.len()).map(|place| row.get(place)).collect();
            for (place, column) in columns.iter().enumerate().take(own) {
                let column = sqlx::Column::name(column).to_owned();
                let value = row.try_get_raw(place).unwrap();
                let kind = if value.is_null() {
                    "NULL".to_owned()
                } else {
                    value.type_info().name().to_owned()
                };
                let bytes: Vec<u8> = if kind == "BLOB" {
                    row.get(place)
                } else {
                    Vec::new()
                };
                let number: i64 = if kind == "INTEGER" { row.get(place) } else { 0 };
                let original = match kind.as_str() {
                    "INTEGER" => number.to_string(),
                    "BLOB" => format!("x'{}'", hex::encode(&bytes)),
                    "TEXT" => format!("'{}'", row.get::<String, _>(place)),
                    _ => "NULL".to_owned(),
                };
                let mut possible = 0;
                for literal in changed(&kind, &bytes, number) {
                    let set = |value: &str, key: &[i64]| {
                        let place = keys
                            .iter()
                            .zip(key)
                            .map(|(name, value)| format!("{name} = {value}"));
                        let place = place.collect::<Vec<_>>().join(" AND ");
                        format!("UPDATE {table} SET {column} = {value} WHERE {place}")
                    };
                    // Another type, or a value that is there already: the table itself refuses.
                    if run(&mut raw, &set(&literal, &key)).await.is_err() {
                        continue;
                    }
                    possible += 1;
                    let report = reader.verify(&mut |_| {}).await.unwrap();
                    assert!(
                        !real(&report).is_empty(),
                        "{table}.{column} of {key:?}: {original} -> {literal}"
                    );
                    let moved: Vec<i64> = keys
                        .iter()
                        .zip(&key)
                        .map(|(name, value)| {
                            if *name == column {
                                literal.parse().unwrap()
                            } else {
                                *value
                            }
                        })
                        .collect();
                    assert_eq!(run(&mut raw, &set(&original, &moved)).await.unwrap(), 1);
                }
                assert!(possible > 0, "{table}.{column}");
                tried += possible;
            }
        }
    }
    let report = reader.verify(&mut |_| {}).await.unwrap();
    assert!(
        real(&report).is_empty(),
        "all was put back: {:?}",
        report.findings
    );
    assert!(tried > 1000, "{tried}");
}

#[tokio::test]
async fn a_row_gone_doubled_or_swapped_is_found() {
    let home = Home::new();
    one_of_everything(&home).await;
    each_row_of(&home).await;
}

#[tokio::test]
async fn so_it_is_in_what_a_pruning_left() {
    let home = Home::new();
    pruned(&home).await;
    let mut raw = unbound(&home.path()).await;
    for edit in [
        "DELETE FROM entries WHERE sequence = 1",
        "DELETE FROM entries WHERE kind = 9 AND sequence < 10",
        "DELETE FROM entries WHERE kind = 11",
        "DELETE FROM entries WHERE sequence = 19",
        "DELETE FROM entries WHERE kind = 2; DELETE FROM lookups",
        "DELETE FROM removed WHERE sequence = (SELECT max(sequence) FROM removed)",
        "INSERT INTO removed VALUES (5, x'01')",
        "INSERT INTO removed VALUES (50, x'01')",
        "INSERT INTO entries SELECT 4, kind, recorded_at, settled, NULL, NULL, previous, hash, body \
         FROM entries WHERE sequence = 1",
        "UPDATE entries SET sequence = 4 WHERE sequence = 3",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("ledger.db");
        run(&mut raw, &format!("VACUUM INTO '{}'", copy.display()))
            .await
            .unwrap();
        let mut raw = unbound(&copy).await;
        run(&mut raw, edit).await.unwrap();
        raw.close().await.unwrap();
        let report = verify(&copy).await;
        assert!(!real(&report).is_empty(), "{edit}");
    }
    assert!(real(&verify(&home.path()).await).is_empty());
}

/// A pruning that was made to hide more than its exports have: each step of the forger, and what still shows.
#[tokio::test]
async fn a_forged_pruning_is_found() {
    let home = Home::new();
    pruned(&home).await;
    // Newest, so that nothing follows that would have to be forged, too.
    let begin = home.clock.now().saturating_sub(MINUTE * 20);
    let rest = export(&home, "rest.jsonl", None, Some(begin.saturating_add(MINUTE * 8))).await;
    prune(&home, begin.saturating_add(MINUTE * 7), &[rest]).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let record = reader.prunings().await.unwrap().pop().unwrap();
    let entry = reader.entry(record.sequence).await.unwrap().unwrap();
    assert_eq!(reader.head().await.unwrap(), entry.head());
    let exported = record.entry.exports[0].head.sequence;
    let hidden = reader.entry(exported + 1).await.unwrap().unwrap();
    reader.close().await;
    assert!(hidden.sequence < record.sequence);

    let mut raw = unbound(&home.path()).await;
    let gone = format!(
        "DELETE FROM lookups WHERE sequence <= {last}; DELETE FROM entries WHERE sequence <= {last} AND kind < 8 AND kind > 1",
        last = hidden.sequence
    );
    run(&mut raw, &gone).await.unwrap();
    assert!(!real(&verify(&home.path()).await).is_empty(), "entries are gone");
    // The record says that they went.
    let mut forged = entry.clone();
    forged.body[6..14].copy_from_slice(&hidden.sequence.to_be_bytes());
    forged.body[19..51].copy_from_slice(hidden.hash.as_bytes());
    let write = |entry: &sealwright_ledger::RawEntry| {
        format!(
            "UPDATE entries SET body = x'{}', hash = x'{}' WHERE sequence = {}",
            hex::encode(&entry.body),
            hex::encode(entry.hash.as_bytes()),
            entry.sequence
        )
    };
    run(&mut raw, &write(&forged)).await.unwrap();
    assert!(!real(&verify(&home.path()).await).is_empty(), "its hash");
    forged.hash = forged.computed_hash();
    run(&mut raw, &write(&forged)).await.unwrap();
    let report = verify(&home.path()).await;
    assert!(
        real(&report)
            .iter()
            .any(|finding| finding.to_string().contains("it took more than its exports have")),
        "{:?}",
        report.findings
    );
}

async fn each_row_of(home: &Home) {
    let mut raw = unbound(&home.path()).await;
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    let last: i64 = sqlx::query_scalar("SELECT max(sequence) FROM entries")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    let mut edits = Vec::new();
    for sequence in 1..=last {
        edits.push(format!("DELETE FROM entries WHERE sequence = {sequence}"));
        edits.push(format!("DELETE FROM entries WHERE sequence >= {sequence}"));
        for other in sequence + 1..=last {
            edits.push(format!(
                "UPDATE entries SET sequence = -1 WHERE sequence = {sequence}; \
                 UPDATE entries SET sequence = {sequence} WHERE sequence = {other}; \
                 UPDATE entries SET sequence = {other} WHERE sequence = -1"
            ));
        }
    }
    edits.push("DELETE FROM blobs WHERE sequence = (SELECT min(sequence) FROM blobs)".into());
    edits.push("INSERT INTO blobs VALUES (1, zeroblob(32), 1, x'00')".into());
    edits.push("DELETE FROM lookups WHERE tag = (SELECT min(tag) FROM lookups)".into());
    edits.push("INSERT INTO lookups VALUES (1, 1)".into());
    edits.push("DELETE FROM instance".into());
    edits.push("INSERT INTO instance VALUES (2, zeroblob(16), 1, zeroblob(32))".into());
    edits.push("DELETE FROM sqlite_sequence".into());
    edits.push(format!(
        "INSERT INTO entries SELECT -5, kind, recorded_at, settled, NULL, NULL, previous, hash, body \
         FROM entries WHERE sequence = {last}"
    ));

    for edit in edits {
        // A savepoint cannot be seen by the reader, so each edit is made on a copy.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("ledger.db");
        run(&mut raw, &format!("VACUUM INTO '{}'", copy.display()))
            .await
            .unwrap();
        let mut raw = unbound(&copy).await;
        run(&mut raw, &edit).await.unwrap();
        raw.close().await.unwrap();
        let Ok(reader) = LedgerReader::open(&copy).await else {
            continue;
        };
        let report = reader.verify(&mut |_| {}).await.unwrap();
        assert!(!real(&report).is_empty(), "{edit}");
        reader.close().await;
    }
    assert!(real(&reader.verify(&mut |_| {}).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_careful_cut_is_found_by_the_head_that_was_kept() {
    let home = Home::new();
    one_of_everything(&home).await;
    let kept = verify(&home.path()).await.head;
    let mut raw = unbound(&home.path()).await;
    run(
        &mut raw,
        "DELETE FROM entries WHERE sequence = (SELECT max(sequence) FROM entries)",
    )
    .await
    .unwrap();
    run(
        &mut raw,
        "DELETE FROM lookups WHERE sequence > (SELECT max(sequence) FROM entries)",
    )
    .await
    .unwrap();
    run(
        &mut raw,
        "UPDATE sqlite_sequence SET seq = (SELECT max(sequence) FROM entries)",
    )
    .await
    .unwrap();
    raw.close().await.unwrap();
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    assert!(real(&reader.verify(&mut |_| {}).await.unwrap()).is_empty());
    let report = reader.verify_since(Some(kept), &mut |_| {}).await.unwrap();
    assert!(matches!(real(&report)[0].problem, Problem::Earlier { sequence } if sequence == kept.sequence));
}

#[tokio::test]
async fn a_missing_trigger_is_found() {
    let home = Home::new();
    one_of_everything(&home).await;
    unbound(&home.path()).await.close().await.unwrap();
    assert!(!verify(&home.path()).await.is_sound());
}

/// Bytes of the file itself: what is not found must not have changed anything that can be read.
#[tokio::test]
async fn a_changed_byte_of_the_file_is_found_or_means_nothing() {
    let home = Home::new();
    one_of_everything(&home).await;
    let ledger = home.open().await;
    for number in 300..310 {
        ledger.append(&decision(number)).await.unwrap();
    }
    ledger.close().await;
    let path = home.path();
    assert!(!path.with_extension("db-wal").exists(), "all is in the one file");
    let pristine = std::fs::read(&path).unwrap();
    let reference = content(&path).await.unwrap();
    let mut places: Vec<usize> = (0..pristine.len()).step_by(67).collect();
    // All of what the entries say: hashes, serials and pieces of bodies, wherever a copy of them lies.
    let reader = LedgerReader::open(&path).await.unwrap();
    for entry in reader.entries_after(0, 1000).await.unwrap() {
        let mut needles = vec![entry.hash.as_bytes().to_vec(), entry.previous.as_bytes().to_vec()];
        needles.extend(entry.serial);
        needles.extend(
            entry
                .body
                .chunks(300)
                .filter_map(|piece| piece.get(..16).map(<[u8]>::to_vec)),
        );
        for needle in needles {
            let found = pristine.windows(needle.len()).position(|window| window == needle);
            places.extend(found.map(|place| place + needle.len() / 2));
        }
    }
    reader.close().await;
    let mut found = 0;
    for place in places {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("ledger.db");
        let mut bytes = pristine.clone();
        bytes[place] ^= 0x11;
        std::fs::write(&copy, &bytes).unwrap();
        let sound = match LedgerReader::open(&copy).await {
            Err(_) => false,
            Ok(reader) => {
                let sound = reader
                    .verify(&mut |_| {})
                    .await
                    .is_ok_and(|report| report.is_sound());
                reader.close().await;
                sound
            }
        };
        if sound {
            assert_eq!(content(&copy).await.as_ref(), Some(&reference), "byte {place}");
        } else {
            found += 1;
        }
    }
    assert!(found > 200, "{found}");
}

async fn content(path: &Path) -> Option<Vec<u8>> {
    let reader = LedgerReader::open(path).await.ok()?;
    let mut output = Vec::new();
    reader.export(&mut output, None, None, &mut |_| {}).await.ok()?;
    reader.close().await;
    Some(output)
}
