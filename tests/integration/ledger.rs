//! The ledger as an auditor finds it: complete, in order, and unforgiving of one changed byte.

use std::{fs, path::Path};

use sealwright_tests::{Client, Csr, Signer, run};
use sqlx::{Connection as _, SqliteConnection};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// A home with some certificates issued, its signer stopped.
async fn filled(home: &Path) {
    let signer = Signer::dev_in(home, &[]);
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    for _ in 0..3 {
        client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await.unwrap();
    }
    assert_eq!(signer.stop(), 0);
}

fn verify(home: &Path) -> i32 {
    run(["log", "verify", "--home", home.to_str().unwrap()]).code
}

#[tokio::test]
async fn one_changed_byte_in_any_row_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    filled(&home).await;
    assert_eq!(verify(&home), 0);

    let ledger = home.join("gate/ledger.db");
    let url = format!("sqlite://{}", ledger.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    // One change for each row of each table, in the column that says most.
    let mut changes = Vec::new();
    for (table, key, change) in [
        (
            "instance",
            "one",
            "genesis = CAST(substr(genesis, 1, 31) || X'7F' AS BLOB)",
        ),
        (
            "entries",
            "sequence",
            "body = CAST(substr(body, 1, length(body) - 1) || X'7F' AS BLOB)",
        ),
        (
            "blobs",
            "sequence",
            "bytes = CAST(substr(bytes, 1, length(bytes) - 1) || X'7F' AS BLOB)",
        ),
        ("lookups", "tag", "tag = tag + 1"),
    ] {
        let statement = sqlx::AssertSqlSafe(format!("SELECT {key} FROM {table}"));
        let keys: Vec<i64> = sqlx::query_scalar(statement)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        changes.extend(
            keys.into_iter()
                .map(|at| format!("UPDATE {table} SET {change} WHERE {key} = {at}")),
        );
    }
    connection.close().await.unwrap();
    assert!(changes.len() >= 12, "{changes:?}");
    // Read after the connection has put what was in the write-ahead log into the file.
    let pristine = fs::read(&ledger).unwrap();

    for change in changes {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        drop_triggers(&mut connection).await;
        sqlx::query(sqlx::AssertSqlSafe(change.clone()))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert_ne!(verify(&home), 0, "{change}");
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", ledger.display())).ok();
        }
        fs::write(&ledger, &pristine).unwrap();
    }
    assert_eq!(verify(&home), 0);
}

async fn drop_triggers(connection: &mut SqliteConnection) {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    for name in names {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {name}")))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_export_is_verified_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    filled(&home).await;
    let export = folder.path().join("export.jsonl");
    let (home, file) = (home.to_str().unwrap(), export.to_str().unwrap());
    run(["log", "export", "--home", home, "--out", file]).success();
    let text = fs::read_to_string(&export).unwrap();
    assert!(text.lines().count() >= 8);
    run(["log", "verify", "--export", file]).success();

    // One character of each line, in its middle: whatever it belongs to.
    let lines: Vec<&str> = text.lines().collect();
    for changed in 0..lines.len() {
        let mut copy: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let middle = lines[changed].len() / 2;
        let other = if lines[changed].as_bytes()[middle] == b'4' {
            "5"
        } else {
            "4"
        };
        copy[changed].replace_range(middle..=middle, other);
        fs::write(&export, copy.join("\n") + "\n").unwrap();
        let code = run(["log", "verify", "--export", file]).code;
        assert_ne!(code, 0, "line {changed}, column {middle}");
    }
}
