//! The database: how it is opened, its schema, and the steps from one schema to the next.
//!
//! A step that was released is never edited: another is added. `PRAGMA user_version` counts the steps that were taken;
//! a database with more than this version knows is refused, not guessed at.
//!
//! Pages have 2 KiB: a record of about 2.8 KiB then takes little more than itself (larger pages hold one record and
//! waste the rest, 4.3 KiB each at 4 and 8 KiB pages), and a commit that touches a page of the index over random serials
//! writes 2 KiB for it.

use std::{path::Path, time::Duration};

use sealwright_identity::{Digest, Timestamp};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{chain::Instance, error::Error};

/// "SWLG": marks the file as a ledger.
const APPLICATION_ID: i64 = 0x5357_4c47;
const PAGE_BYTES: u32 = 2048;
/// A checkpoint every 8 MiB of write-ahead log.
const CHECKPOINT_PAGES: u32 = 8 * 1024 * 1024 / PAGE_BYTES;
/// What a write-ahead log is cut down to after a reader held it open.
const JOURNAL_BYTES: u32 = 64 * 1024 * 1024;

/// What SQLite puts aside for a large statement stays in memory: a gate that is confined can write
/// nowhere but beneath its home, and a statement that finds no place for a temporary file fails.
const TEMPORARY: (&str, &str) = ("temp_store", "MEMORY");

/// The steps, in order.
const STEPS: &[&str] = &[
    include_str!("schema/0001_ledger.sql"),
    include_str!("schema/0002_once.sql"),
    include_str!("schema/0003_policies.sql"),
    include_str!("schema/0004_ceremonies.sql"),
    include_str!("schema/0005_prune.sql"),
];

/// The step that brought prunings.
pub(crate) const PRUNINGS: i64 = 5;

/// The number of the last step.
pub(crate) fn version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// A sequence as SQLite holds it; a ledger never comes near the end of this range.
pub(crate) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// Options of the one connection that writes.
pub(crate) fn writer_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .pragma("journal_size_limit", JOURNAL_BYTES.to_string())
        .pragma("trusted_schema", "OFF")
        .pragma(TEMPORARY.0, TEMPORARY.1)
        .busy_timeout(Duration::from_secs(1))
        .statement_cache_capacity(128)
        .thread_name(|_| "ledger-writer".to_owned())
        .disable_statement_logging()
}

/// Options of a connection that reads.
pub(crate) fn reader_options(path: &Path, immutable: bool) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .immutable(immutable)
        .pragma("query_only", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma(TEMPORARY.0, TEMPORARY.1)
        .busy_timeout(Duration::from_secs(2))
        .thread_name(|_| "ledger-reader".to_owned())
        .disable_statement_logging()
}

/// Brings a database that is open for writing to the present schema and reads its instance.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    now: Timestamp,
) -> Result<Instance, Error> {
    let open = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let found = user_version(connection).await.map_err(open)?;
    check_identity(connection, path, found).await?;
    for (number, step) in (1i64..)
        .zip(STEPS)
        .skip(usize::try_from(found).unwrap_or(usize::MAX))
    {
        let script = format!(
            "BEGIN IMMEDIATE;\n{step}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
        );
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut *connection)
            .await
            .map_err(open)?;
        tracing::info!(path = %path.display(), schema = number, "the ledger's schema is up to date");
    }
    match instance(connection).await.map_err(open)? {
        Some((instance, _)) => Ok(instance),
        None => create_instance(connection, path, now).await,
    }
}

/// Refuses a database that is not a ledger, or is of a later version.
pub(crate) async fn check_identity(
    connection: &mut SqliteConnection,
    path: &Path,
    found: i64,
) -> Result<(), Error> {
    let open = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(open)?;
    let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(open)?;
    if application != APPLICATION_ID && objects != 0 {
        return Err(Error::NotALedger {
            path: path.to_owned(),
        });
    }
    if found > version() {
        return Err(Error::TooNew {
            path: path.to_owned(),
            found,
            known: version(),
        });
    }
    Ok(())
}

/// How many steps a database has taken.
pub(crate) async fn user_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await
}

/// Writes the version that is there once more: a page goes to the disk, and nothing changes.
pub(crate) async fn touch(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let found = user_version(connection).await?;
    sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {found}")))
        .execute(connection)
        .await
        .map(drop)
}

/// The instance and the genesis hash that stands beside it.
pub(crate) async fn instance(
    connection: &mut SqliteConnection,
) -> Result<Option<(Instance, Vec<u8>)>, sqlx::Error> {
    let Some(row) = sqlx::query("SELECT id, created_at, genesis FROM instance WHERE one = 1")
        .fetch_optional(connection)
        .await?
    else {
        return Ok(None);
    };
    let id: Vec<u8> = row.try_get(0)?;
    let id = id
        .try_into()
        .map_err(|_| sqlx::Error::Decode("the instance id has not 16 bytes".into()))?;
    let created_at = Timestamp::from_micros(row.try_get(1)?);
    Ok(Some((Instance { id, created_at }, row.try_get(2)?)))
}

/// Every object of the present schema, for comparison: type, name, and digest of the definition.
pub(crate) async fn expected_objects() -> Result<Vec<(String, String, Digest)>, sqlx::Error> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    for step in STEPS {
        sqlx::raw_sql(AssertSqlSafe((*step).to_owned()))
            .execute(&mut connection)
            .await?;
    }
    let objects = objects(&mut connection).await;
    connection.close().await?;
    objects
}

/// Every object of a database's schema.
pub(crate) async fn objects(
    connection: &mut SqliteConnection,
) -> Result<Vec<(String, String, Digest)>, sqlx::Error> {
    let rows = sqlx::query("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let sql: String = row.try_get(2)?;
            Ok((row.try_get(0)?, row.try_get(1)?, Digest::of(sql.as_bytes())))
        })
        .collect()
}

async fn create_instance(
    connection: &mut SqliteConnection,
    path: &Path,
    now: Timestamp,
) -> Result<Instance, Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| Error::Random)?;
    let instance = Instance { id, created_at: now };
    sqlx::query("INSERT INTO instance (one, id, created_at, genesis) VALUES (1, ?, ?, ?)")
        .bind(id.to_vec())
        .bind(now.micros())
        .bind(instance.genesis().as_bytes().to_vec())
        .execute(connection)
        .await
        .map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_temporary_becomes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, b"").unwrap();
        for options in [writer_options(&path), reader_options(&path, false)] {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            let kept: i64 = sqlx::query_scalar("PRAGMA temp_store")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(kept, 2, "2 is MEMORY");
        }
    }

    #[tokio::test]
    async fn an_earlier_schema_is_brought_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, b"").unwrap();
        let now = Timestamp::from_unix_seconds(1);
        let mut first = None;
        for steps in 1..=STEPS.len() {
            let mut connection = SqliteConnection::connect_with(&writer_options(&path))
                .await
                .unwrap();
            if steps == 1 {
                let script = format!(
                    "{} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1",
                    STEPS[0]
                );
                sqlx::raw_sql(AssertSqlSafe(script))
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
            let instance = migrate(&mut connection, &path, now).await.unwrap();
            assert_eq!(*first.get_or_insert(instance), instance, "the instance stays");
            assert_eq!(user_version(&mut connection).await.unwrap(), version());
            assert_eq!(
                objects(&mut connection).await.unwrap(),
                expected_objects().await.unwrap()
            );
            connection.close().await.unwrap();
        }
    }
}
