//! What was pruned: the entries that say so, and where to look for what is gone.

use sealwright_identity::SerialNumber;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{ENTRY_COLUMNS, LedgerReader, ReadError, raw_entry, row};
use crate::{
    body::Body,
    chain::{Head, Instance, RawEntry},
    prune::{PrunedExport, Pruning},
    schema,
};

/// An entry that is no longer in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Its place.
    pub sequence: u64,
    /// The pruning that took it.
    pub by: Pruning,
}

impl Pruned {
    /// The exports that have it.
    pub fn exports(&self) -> impl Iterator<Item = &PrunedExport> {
        let holds = |export: &&PrunedExport| {
            export.after.sequence < self.sequence && self.sequence <= export.head.sequence
        };
        self.by.entry.exports.iter().filter(holds)
    }
}

impl std::fmt::Display for Pruned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sequence, by } = self;
        write!(
            f,
            "entry {sequence} was pruned ({}, by entry {}); look in ",
            by.recorded_at, by.sequence
        )?;
        let mut exports = self.exports().peekable();
        if exports.peek().is_none() {
            return f.write_str("the exports of its time");
        }
        for (number, export) in exports.enumerate() {
            let and = if number == 0 { "" } else { ", or in " };
            write!(f, "{and}the export {} ({})", export.name, export.file)?;
        }
        Ok(())
    }
}

impl LedgerReader {
    /// Every pruning, the first one first.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn prunings(&self) -> Result<Vec<Pruning>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let mut prunings = Vec::new();
        for entry in prune_entries(&mut connection).await? {
            prunings.push(pruning(&entry?)?);
        }
        Ok(prunings)
    }

    /// Whether the record of a serial was pruned, and by what.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn pruned_serial(&self, serial: &SerialNumber) -> Result<Option<Pruned>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        if !knows_prunings(&mut connection).await? {
            return Ok(None);
        }
        let found: Option<i64> = sqlx::query_scalar("SELECT sequence FROM removed WHERE serial = ?")
            .bind(serial.as_bytes().to_vec())
            .fetch_optional(&mut *connection)
            .await?;
        drop(connection);
        match found {
            Some(sequence) => self.pruned(row::sequence(sequence)?).await,
            None => Ok(None),
        }
    }

    /// What took an entry that is gone.
    pub(super) async fn pruned(&self, sequence: u64) -> Result<Option<Pruned>, ReadError> {
        let prunings = self.prunings().await?;
        let by = prunings
            .into_iter()
            .find(|pruning| (1..=pruning.entry.last.sequence).contains(&sequence));
        Ok(by.map(|by| Pruned { sequence, by }))
    }
}

/// The newest pruning: from its last entry on the chain is whole.
pub(crate) async fn newest_pruning(connection: &mut SqliteConnection) -> Result<Option<Pruning>, ReadError> {
    match prune_entries(connection).await?.pop() {
        Some(entry) => pruning(&entry?).map(Some),
        None => Ok(None),
    }
}

/// Where the whole part of the chain begins: after this entry.
pub(crate) fn begin(newest: Option<&Pruning>, instance: &Instance) -> Head {
    newest.map_or_else(|| instance.genesis_head(), |pruning| pruning.entry.last)
}

/// All rows that say what was pruned, in order. There are as many as there were prunings.
pub(crate) async fn prune_entries(
    connection: &mut SqliteConnection,
) -> Result<Vec<Result<RawEntry, row::MalformedRow>>, sqlx::Error> {
    if !knows_prunings(connection).await? {
        return Ok(Vec::new());
    }
    let text = format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE kind = 11 ORDER BY sequence");
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(connection).await?;
    Ok(rows.iter().map(raw_entry).collect())
}

pub(crate) fn pruning(entry: &RawEntry) -> Result<Pruning, ReadError> {
    let sequence = entry.sequence;
    match entry.body() {
        Ok(Body::Prune(body)) => Ok(Pruning {
            sequence,
            recorded_at: entry.recorded_at,
            entry: body,
        }),
        Ok(_) => Err(row::MalformedRow::Value("kind").into()),
        Err(source) => Err(ReadError::Body { sequence, source }),
    }
}

/// A ledger of an earlier version has none, and no index that would say so quickly.
async fn knows_prunings(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    Ok(schema::user_version(connection).await? >= schema::PRUNINGS)
}
