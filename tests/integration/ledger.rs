//! The ledger as an auditor finds it: complete, in order, and unforgiving of one changed byte.

use std::{fs, path::Path};

use sealwright_tests::{Client, Csr, Signer, run};
use sqlx::{Connection as _, Row as _, SqliteConnection};

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
    let pristine = fs::read(&ledger).unwrap();
    let url = format!("sqlite://{}", ledger.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%migrations%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut changes = Vec::new();
    for table in &tables {
        let statement = sqlx::AssertSqlSafe(format!("SELECT rowid FROM {table}"));
        for row in sqlx::query(statement).fetch_all(&mut connection).await.unwrap() {
            changes.push((table.clone(), row.get::<i64, _>(0)));
        }
    }
    connection.close().await.unwrap();
    assert!(changes.len() >= 8, "{changes:?}");

    for (table, rowid) in changes {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        drop_triggers(&mut connection).await;
        let column = largest_blob(&mut connection, &table, rowid).await;
        let update = format!(
            "UPDATE {table} SET {column} = CAST(substr({column}, 1, length({column}) - 1) AS BLOB) || X'7F' WHERE rowid = {rowid}"
        );
        sqlx::query(sqlx::AssertSqlSafe(update))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert_ne!(verify(&home), 0, "{table} row {rowid}, column {column}");
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

/// The column of a row that holds its longest value.
async fn largest_blob(connection: &mut SqliteConnection, table: &str, rowid: i64) -> String {
    let statement = sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')"));
    let columns: Vec<String> = sqlx::query_scalar(statement)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let mut best = (String::new(), -1_i64);
    for column in columns {
        let statement =
            format!("SELECT coalesce(length(CAST({column} AS BLOB)), 0) FROM {table} WHERE rowid = {rowid}");
        let length: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if length > best.1 {
            best = (column, length);
        }
    }
    best.0
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
    fs::write(&export, text.replacen("sa/web", "sa/wab", 1)).unwrap();
    assert_ne!(run(["log", "verify", "--export", file]).code, 0);
}
