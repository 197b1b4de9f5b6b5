//! Rows, read strictly: a value of another storage class is damage, not something to convert.

use sealwright_identity::{Digest, Timestamp};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

use crate::chain::RawEntry;

/// The columns of an entry, in the order of [`raw_entry`].
pub(crate) const ENTRY_COLUMNS: &str =
    "sequence, kind, recorded_at, settled, refers, serial, previous, hash, body";

/// A row that the ledger cannot have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRow {
    /// A column holds a value of the wrong type.
    #[error("column {0} holds a value of another type")]
    Type(String),
    /// A column holds a value that it cannot have.
    #[error("column {0} holds a value that it cannot have")]
    Value(&'static str),
}

/// Up to `limit` rows after a sequence.
pub(crate) async fn chunk(
    connection: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let text = format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?");
    sqlx::query(AssertSqlSafe(text))
        .bind(crate::schema::signed(after))
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// An entry from a row with [`ENTRY_COLUMNS`].
pub(crate) fn raw_entry(row: &SqliteRow) -> Result<RawEntry, MalformedRow> {
    Ok(RawEntry {
        sequence: sequence(strict_integer(row, 0)?)?,
        kind: u8::try_from(strict_integer(row, 1)?).map_err(|_| MalformedRow::Value("kind"))?,
        recorded_at: Timestamp::from_micros(strict_integer(row, 2)?),
        settled: sequence(strict_integer(row, 3)?)?,
        refers: if is_null(row, 4) {
            None
        } else {
            Some(sequence(strict_integer(row, 4)?)?)
        },
        serial: if is_null(row, 5) {
            None
        } else {
            Some(strict_blob(row, 5)?)
        },
        previous: Digest::from_bytes(digest(&strict_blob(row, 6)?)?),
        hash: Digest::from_bytes(digest(&strict_blob(row, 7)?)?),
        body: strict_blob(row, 8)?,
    })
}

pub(crate) fn strict_integer(row: &SqliteRow, column: usize) -> Result<i64, MalformedRow> {
    expect_type(row, column, "INTEGER")?;
    row.try_get(column).map_err(|_| wrong_type(column))
}

pub(crate) fn strict_blob(row: &SqliteRow, column: usize) -> Result<Vec<u8>, MalformedRow> {
    expect_type(row, column, "BLOB")?;
    row.try_get(column).map_err(|_| wrong_type(column))
}

pub(super) fn sequence(value: i64) -> Result<u64, MalformedRow> {
    u64::try_from(value).map_err(|_| MalformedRow::Value("sequence"))
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], MalformedRow> {
    bytes.try_into().map_err(|_| MalformedRow::Value("digest"))
}

fn is_null(row: &SqliteRow, column: usize) -> bool {
    row.try_get_raw(column).is_ok_and(|value| value.is_null())
}

fn expect_type(row: &SqliteRow, column: usize, expected: &str) -> Result<(), MalformedRow> {
    let value = row.try_get_raw(column).map_err(|_| wrong_type(column))?;
    if value.is_null() || value.type_info().name() != expected {
        return Err(wrong_type(column));
    }
    Ok(())
}

fn wrong_type(column: usize) -> MalformedRow {
    MalformedRow::Type(column.to_string())
}
