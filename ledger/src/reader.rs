//! The read side: connections of its own, read-only, each query bounded in time.
//!
//! It works beside a writer in this or another process (write-ahead log), after the writer is gone, and on a folder that
//! cannot be written. It needs no HSM and no server.

mod connections;
mod list;
mod pruned;
mod released;
mod row;
mod show;

use std::{path::Path, time::Duration};

use sealwright_identity::{Digest, SerialNumber};

use crate::{
    chain::{Head, Instance, RawEntry},
    entry::{BlobKind, EntryKind},
};
pub(crate) use connections::Connections;
pub use list::{Filter, Row};
pub use pruned::Pruned;
pub(crate) use pruned::{begin, newest_pruning, prune_entries, pruning};
pub use released::Released;
pub use row::MalformedRow;
pub(crate) use row::{ENTRY_COLUMNS, chunk, raw_entry, strict_blob, strict_integer};
pub use show::{Record, Selector};

/// How long one query may take unless [`LedgerReader::with_time_bound`] says otherwise.
pub const DEFAULT_TIME_BOUND: Duration = Duration::from_secs(5);

/// A ledger that is open for reading. Clones share the connections.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub(crate) connections: Connections,
    instance: Instance,
}

/// A blob with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Sequence of the entry that vouches for it.
    pub sequence: u64,
    /// What it is.
    pub kind: BlobKind,
    /// Its bytes, whose SHA-256 was compared with the digest that was asked for.
    pub bytes: Vec<u8>,
}

impl LedgerReader {
    /// Opens a ledger for reading.
    ///
    /// # Errors
    /// When there is none, or it is of a later version.
    pub async fn open(path: &Path) -> Result<Self, ReadError> {
        let (connections, instance) = Connections::open(path).await?;
        Ok(Self {
            connections,
            instance,
        })
    }

    /// The same ledger with another bound on the time of each query.
    #[must_use]
    pub fn with_time_bound(mut self, bound: Duration) -> Self {
        self.connections.time_bound = bound;
        self
    }

    /// Which ledger this is.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// The end of the chain.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn head(&self) -> Result<Head, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let last = sqlx::query("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await?;
        let Some(last) = last else {
            return Ok(self.instance.genesis_head());
        };
        let sequence = row::sequence(strict_integer(&last, 0)?)?;
        let hash = Digest::from_bytes(row::digest(&strict_blob(&last, 1)?)?);
        Ok(Head { sequence, hash })
    }

    /// Whether a decision has this serial, or had it before it was pruned.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn serial_exists(&self, serial: &SerialNumber) -> Result<bool, ReadError> {
        Ok(self.sequence_of(serial).await?.is_some() || self.pruned_serial(serial).await?.is_some())
    }

    /// The decision that has this serial.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn sequence_of(&self, serial: &SerialNumber) -> Result<Option<u64>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let found: Option<i64> =
            sqlx::query_scalar("SELECT sequence FROM entries WHERE kind = 2 AND serial = ?")
                .bind(serial.as_bytes().to_vec())
                .fetch_optional(&mut *connection)
                .await?;
        Ok(found.map(row::sequence).transpose()?)
    }

    /// One entry as it lies in the database.
    ///
    /// # Errors
    /// When it cannot be read in time, or its columns are not what they must be.
    pub async fn entry(&self, sequence: u64) -> Result<Option<RawEntry>, ReadError> {
        self.entry_where("sequence = ?", sequence).await
    }

    /// The entry that settles a decision.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn settlement(&self, decision: u64) -> Result<Option<RawEntry>, ReadError> {
        self.entry_where("refers = ?", decision).await
    }

    /// The gate start under which an entry was made.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn start_before(&self, sequence: u64) -> Result<Option<RawEntry>, ReadError> {
        self.entry_where(
            "kind = 1 AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
            sequence,
        )
        .await
    }

    /// Up to `limit` entries after a given one, in order.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn entries_after(&self, sequence: u64, limit: u32) -> Result<Vec<RawEntry>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let rows = chunk(&mut connection, sequence, limit).await?;
        Ok(rows.iter().map(raw_entry).collect::<Result<_, _>>()?)
    }

    /// Up to `limit` entries after a given one that say how what decides was changed, in order.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn policy_entries_after(&self, sequence: u64, limit: u32) -> Result<Vec<RawEntry>, ReadError> {
        // The kind stands there as a number: only so SQLite takes the index.
        self.some_after("kind = 9", sequence, limit).await
    }

    /// Up to `limit` entries after a given one that say whose ceremony made an issuer's key, in order.
    ///
    /// # Errors
    /// As for [`Self::entry`].
    pub async fn ceremony_entries_after(
        &self,
        sequence: u64,
        limit: u32,
    ) -> Result<Vec<RawEntry>, ReadError> {
        self.some_after("kind = 10", sequence, limit).await
    }

    async fn some_after(
        &self,
        condition: &'static str,
        sequence: u64,
        limit: u32,
    ) -> Result<Vec<RawEntry>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let text = format!(
            "SELECT {ENTRY_COLUMNS} FROM entries WHERE {condition} AND sequence > ? ORDER BY sequence LIMIT ?"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(crate::schema::signed(sequence))
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        Ok(rows.iter().map(raw_entry).collect::<Result<_, _>>()?)
    }

    /// A blob by its digest.
    ///
    /// # Errors
    /// [`ReadError::Malformed`] when the bytes do not have that digest.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<Blob>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let found = sqlx::query("SELECT sequence, kind, bytes FROM blobs WHERE digest = ?")
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let kind = u8::try_from(strict_integer(&found, 1)?)
            .ok()
            .and_then(BlobKind::from_code);
        let bytes = strict_blob(&found, 2)?;
        let kind = kind.ok_or(MalformedRow::Value("kind"))?;
        if Digest::of(&bytes) != *digest {
            return Err(MalformedRow::Value("bytes").into());
        }
        Ok(Some(Blob {
            sequence: row::sequence(strict_integer(&found, 0)?)?,
            kind,
            bytes,
        }))
    }

    /// What a blob is and how many bytes it has, without reading them.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn blob_facts(&self, digest: &Digest) -> Result<Option<(BlobKind, u64)>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let found = sqlx::query("SELECT kind, length(bytes) FROM blobs WHERE digest = ?")
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(found) = found else { return Ok(None) };
        let kind = u8::try_from(strict_integer(&found, 0)?)
            .ok()
            .and_then(BlobKind::from_code);
        let kind = kind.ok_or(MalformedRow::Value("kind"))?;
        let size = u64::try_from(strict_integer(&found, 1)?).map_err(|_| MalformedRow::Value("bytes"))?;
        Ok(Some((kind, size)))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    async fn entry_where(&self, condition: &'static str, value: u64) -> Result<Option<RawEntry>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let text = format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE {condition}");
        let found = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(i64::try_from(value).unwrap_or(i64::MAX))
            .fetch_optional(&mut *connection)
            .await?;
        Ok(found.as_ref().map(raw_entry).transpose()?)
    }
}

/// The outcome that a settling entry gives to its decision.
pub(crate) const fn outcome_of(kind: EntryKind, settlement: Option<EntryKind>) -> crate::entry::Outcome {
    use crate::entry::Outcome;
    match (kind, settlement) {
        (EntryKind::Denied, _) => Outcome::Denied,
        (EntryKind::Refused, _) => Outcome::Refused,
        (_, Some(EntryKind::Certificate)) => Outcome::Issued,
        (_, Some(EntryKind::Failed)) => Outcome::Failed,
        (_, Some(EntryKind::Unreleased)) => Outcome::Unreleased,
        _ => Outcome::Pending,
    }
}

/// A failure of the read side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no ledger at {}", .0.display())]
    Absent(std::path::PathBuf),
    /// The database could not be opened.
    #[error("cannot open the ledger {} for reading", path.display())]
    Open {
        /// The ledger.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The file is not a ledger that this version can read.
    #[error("cannot read the ledger")]
    Unfit(#[source] Box<crate::error::Error>),
    /// The query took longer than it may (what that is when nothing else was said).
    #[error("reading the ledger took too long")]
    TimedOut(Duration),
    /// A row is not what it must be: run `log verify`.
    #[error("the ledger is damaged")]
    Malformed(#[from] MalformedRow),
    /// A body cannot be read by this version.
    #[error("entry {sequence} cannot be read")]
    Body {
        /// Its sequence.
        sequence: u64,
        /// Why.
        #[source]
        source: crate::codec::CodecError,
    },
    /// No entry has the serial or sequence.
    #[error("the ledger has no entry {0}")]
    NotFound(String),
    /// The entry was taken out of the ledger, and is in an export.
    #[error("{0}")]
    Pruned(Box<Pruned>),
    /// SQLite could not read.
    #[error("the ledger cannot be read")]
    Storage(#[source] sqlx::Error),
    /// What was read could not be written on.
    #[error("cannot write what was read from the ledger")]
    Output(#[source] std::io::Error),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        connections::read_error(error)
    }
}
