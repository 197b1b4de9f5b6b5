//! Exports: a part of the ledger as JSON lines, verified without a database.
//!
//! The first line names the ledger and the entry before the part; then come all blobs that there were by its end, each
//! with its digest; then the entries, every column of them; the last line has the counts, the head and the SHA-256 of all
//! lines before it. So a changed byte shows, wherever it is, and the chain says that no entry is missing in between.
//!
//! A part by time is the shortest run of entries that holds all that was recorded in it, and the entries that settle
//! decisions of it: it may hold more, never less.

mod lines;
mod read;

use std::io::{self, Write};

use sealwright_identity::{Digest, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::{
    chain::Head,
    entry::BlobKind,
    reader::{LedgerReader, MalformedRow, ReadError, chunk, raw_entry, strict_blob, strict_integer},
};
use lines::{EntryLine, Line, VERSION, encode, instance_text};
pub use read::{ExportError, ExportHeader, ExportItem, ExportReader, verify_export};

const CHUNK: u32 = 512;

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Entries.
    pub entries: u64,
    /// Blobs.
    pub blobs: u64,
    /// The entry before the first one; sequence 0 when it begins at the beginning.
    pub after: Head,
    /// The last entry.
    pub head: Head,
}

impl LedgerReader {
    /// Writes the entries that were recorded from `since` to before `until`, with all that is needed to check them.
    ///
    /// # Errors
    /// When the ledger cannot be read, or the export cannot be written.
    pub async fn export(
        &self,
        output: &mut (dyn Write + Send),
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<ExportReport, ReadError> {
        let mut connection = self.connections.patient().await?;
        let (first, last) = part(&mut connection, since, until).await?;
        let after = match first {
            0 | 1 => Head {
                sequence: 0,
                hash: self.instance().genesis(),
            },
            first => match chunk(&mut connection, first - 2, 1).await?.first() {
                Some(row) => raw_entry(row)?.head(),
                None => return Err(ReadError::NotFound((first - 1).to_string())),
            },
        };
        let mut output = Output {
            inner: output,
            hash: Sha256::new(),
        };
        let instance = self.instance();
        output.line(&Line::Ledger {
            version: VERSION,
            instance: instance_text(&instance),
            created_at: instance.created_at,
            after,
            since,
            until,
        })?;
        let blobs = export_blobs(&mut connection, last, &mut output).await?;
        let (entries, head) = export_entries(&mut connection, after, last, &mut output).await?;
        let digest = Digest::from_bytes(output.hash.clone().finalize().into());
        output.line(&Line::End {
            entries,
            blobs,
            head,
            digest,
        })?;
        output.inner.flush().map_err(ReadError::Output)?;
        let _ = connection.close().await;
        Ok(ExportReport {
            entries,
            blobs,
            after,
            head,
        })
    }
}

/// First and last sequence of a part; 0 and 0 when nothing was recorded in it.
async fn part(
    connection: &mut SqliteConnection,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(u64, u64), ReadError> {
    let row = if since.is_none() && until.is_none() {
        sqlx::query(
            "SELECT coalesce((SELECT min(sequence) FROM entries), 0), \
             coalesce((SELECT max(sequence) FROM entries), 0)",
        )
        .fetch_one(&mut *connection)
        .await?
    } else {
        sqlx::query(
            "SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM entries \
             WHERE recorded_at >= ? AND recorded_at < ?",
        )
        .bind(since.map_or(i64::MIN, Timestamp::micros))
        .bind(until.map_or(i64::MAX, Timestamp::micros))
        .fetch_one(&mut *connection)
        .await?
    };
    let (first, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let settled: Option<i64> =
        sqlx::query_scalar("SELECT max(sequence) FROM entries WHERE refers BETWEEN ? AND ?")
            .bind(first)
            .bind(last)
            .fetch_one(&mut *connection)
            .await?;
    let last = settled.map_or(last, |settled| settled.max(last));
    let unsigned = |value: i64| u64::try_from(value).map_err(|_| MalformedRow::Value("sequence"));
    Ok((unsigned(first)?, unsigned(last)?))
}

async fn export_blobs(
    connection: &mut SqliteConnection,
    last: u64,
    output: &mut Output<'_>,
) -> Result<u64, ReadError> {
    let sequences: Vec<i64> =
        sqlx::query_scalar("SELECT sequence FROM blobs WHERE sequence <= ? ORDER BY sequence")
            .bind(i64::try_from(last).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await?;
    let mut count = 0;
    // One at a time: a module may have many megabytes.
    for sequence in sequences {
        let row = sqlx::query("SELECT kind, digest, bytes FROM blobs WHERE sequence = ?")
            .bind(sequence)
            .fetch_one(&mut *connection)
            .await?;
        let kind = u8::try_from(strict_integer(&row, 0)?)
            .ok()
            .and_then(BlobKind::from_code);
        let digest: [u8; 32] = strict_blob(&row, 1)?
            .try_into()
            .map_err(|_| MalformedRow::Value("digest"))?;
        output.line(&Line::Blob {
            sequence: u64::try_from(sequence).map_err(|_| MalformedRow::Value("sequence"))?,
            kind: kind.ok_or(MalformedRow::Value("kind"))?,
            digest: Digest::from_bytes(digest),
            bytes: encode(&strict_blob(&row, 2)?),
        })?;
        count += 1;
    }
    Ok(count)
}

async fn export_entries(
    connection: &mut SqliteConnection,
    after: Head,
    last: u64,
    output: &mut Output<'_>,
) -> Result<(u64, Head), ReadError> {
    let mut count = 0;
    let mut head = after;
    while head.sequence < last {
        let rows = chunk(connection, head.sequence, CHUNK).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let entry = raw_entry(row)?;
            if entry.sequence > last {
                return Ok((count, head));
            }
            head = entry.head();
            let line = EntryLine::of(&entry).ok_or(MalformedRow::Value("kind or serial"))?;
            output.line(&Line::Entry(Box::new(line)))?;
            count += 1;
        }
    }
    Ok((count, head))
}

struct Output<'w> {
    inner: &'w mut (dyn Write + Send),
    hash: Sha256,
}

impl Output<'_> {
    fn line(&mut self, line: &Line) -> Result<(), ReadError> {
        let mut json =
            serde_json::to_vec(line).map_err(|error| ReadError::Output(io::Error::other(error)))?;
        json.push(b'\n');
        self.hash.update(&json);
        self.inner.write_all(&json).map_err(ReadError::Output)
    }
}
