//! Writing an export: one pass over the part, one row in memory at a time (and one blob).

use std::{
    collections::HashSet,
    io::{self, Write},
};

use sealwright_identity::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    ExportReport,
    lines::{EntryLine, Line, VERSION, encode, instance_text},
};
use crate::{
    body::Body,
    chain::{Head, RawEntry},
    entry::BlobKind,
    reader::{
        ENTRY_COLUMNS, LedgerReader, MalformedRow, ReadError, begin, chunk, newest_pruning, prune_entries,
        raw_entry, strict_blob, strict_integer,
    },
    schema::signed,
    verify::Progress,
};

const CHUNK: u32 = 512;

impl LedgerReader {
    /// Writes the entries that were recorded from `since` to before `until`, with all that is needed to check them and
    /// to execute their decisions again.
    ///
    /// # Errors
    /// When the ledger cannot be read, or the export cannot be written.
    pub async fn export(
        &self,
        output: &mut (dyn Write + Send),
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ExportReport, ReadError> {
        let mut connection = self.connections.patient().await?;
        let instance = self.instance();
        let begin = begin(newest_pruning(&mut connection).await?.as_ref(), &instance);
        let (first, last) = part(&mut connection, begin.sequence, since, until).await?;
        let after = match first {
            // Of an empty part, where the ledger begins.
            first if first <= begin.sequence + 1 => begin,
            first => match chunk(&mut connection, first - 2, 1).await?.first() {
                Some(row) => raw_entry(row)?.head(),
                None => return Err(ReadError::NotFound((first - 1).to_string())),
            },
        };
        let mut writer = Writer {
            connection,
            output,
            hash: Sha256::new(),
            after,
            head: after,
            last,
            there: HashSet::new(),
            entries: 0,
            blobs: 0,
            earlier: 0,
        };
        writer.line(&Line::Ledger {
            version: VERSION,
            instance: instance_text(&instance),
            created_at: instance.created_at,
            after,
            since,
            until,
        })?;
        writer.context().await?;
        writer.part(progress).await?;
        writer.end().await
    }
}

/// First and last sequence of a part of the whole chain after an entry; 0 and 0 when nothing was recorded in it.
async fn part(
    connection: &mut SqliteConnection,
    begin: u64,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(u64, u64), ReadError> {
    let begin = signed(begin);
    let row = if since.is_none() && until.is_none() {
        sqlx::query(
            "SELECT coalesce((SELECT min(sequence) FROM entries WHERE sequence > ?), 0), \
             coalesce((SELECT max(sequence) FROM entries WHERE sequence > ?), 0)",
        )
        .bind(begin)
        .bind(begin)
        .fetch_one(&mut *connection)
        .await?
    } else {
        sqlx::query(
            "SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM entries \
             WHERE recorded_at >= ? AND recorded_at < ? AND +sequence > ?",
        )
        .bind(since.map_or(i64::MIN, Timestamp::micros))
        .bind(until.map_or(i64::MAX, Timestamp::micros))
        .bind(begin)
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
    Ok((unsigned(first)?, unsigned(last)?))
}

struct Writer<'w> {
    connection: SqliteConnection,
    output: &'w mut (dyn Write + Send),
    hash: Sha256,
    after: Head,
    head: Head,
    last: u64,
    /// Blobs that were written, and those that a later entry of the part will bring.
    there: HashSet<Digest>,
    entries: u64,
    blobs: u64,
    earlier: u64,
}

impl Writer<'_> {
    /// What was there before the part and is not named by digest in it: every change of what decides with the statements
    /// that it brought in, the ceremonies of keys, the start in force, the issuers' chains, settings, descriptions of engines, reports and
    /// sources. Modules wait until they are named.
    async fn context(&mut self) -> Result<(), ReadError> {
        if self.after.sequence == 0 || self.last == 0 {
            return Ok(());
        }
        let before = signed(self.after.sequence);
        let kept: Vec<i64> = sqlx::query_scalar(
            "SELECT sequence FROM blobs WHERE sequence <= ? AND kind <> ? ORDER BY sequence",
        )
        .bind(before)
        .bind(i64::from(BlobKind::Module.code()))
        .fetch_all(&mut self.connection)
        .await?;
        for sequence in kept {
            self.earlier_blob(sequence).await?;
        }
        self.changes(before).await?;
        self.prunings().await?;
        let start: Option<i64> = sqlx::query_scalar(
            "SELECT sequence FROM entries WHERE kind = 1 AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
        )
        .bind(before)
        .fetch_optional(&mut self.connection)
        .await?;
        if let Some(sequence) = start {
            let entry = self.entry(sequence).await?;
            self.needs(&entry).await?;
            self.earlier_entry(&entry)?;
        }
        Ok(())
    }

    /// All that ever decided is judged from its beginning: a set follows the one before, and a roster another. And every
    /// key that signs has its ceremony before it.
    async fn changes(&mut self, before: i64) -> Result<(), ReadError> {
        let changes: Vec<i64> = sqlx::query_scalar(
            // The kinds stand there as numbers, each alone: only so SQLite takes the indexes.
            "SELECT sequence FROM entries WHERE kind = 9 AND sequence <= ?1 \
             UNION ALL SELECT sequence FROM entries WHERE kind = 10 AND sequence <= ?1 ORDER BY sequence",
        )
        .bind(before)
        .fetch_all(&mut self.connection)
        .await?;
        for sequence in changes {
            let entry = self.entry(sequence).await?;
            self.earlier_entry(&entry)?;
        }
        Ok(())
    }

    /// Which exports have what was pruned before the part.
    async fn prunings(&mut self) -> Result<(), ReadError> {
        for entry in prune_entries(&mut self.connection).await? {
            let entry = entry?;
            if entry.sequence <= self.after.sequence {
                self.earlier_entry(&entry)?;
            }
        }
        Ok(())
    }

    async fn part(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), ReadError> {
        let total = self.last.saturating_sub(self.after.sequence);
        while self.head.sequence < self.last {
            let rows = chunk(&mut self.connection, self.head.sequence, CHUNK).await?;
            if rows.is_empty() {
                return Err(ReadError::NotFound((self.head.sequence + 1).to_string()));
            }
            for row in &rows {
                let entry = raw_entry(row)?;
                if entry.sequence > self.last {
                    break;
                }
                if entry.sequence != self.head.sequence + 1 {
                    return Err(ReadError::NotFound((self.head.sequence + 1).to_string()));
                }
                self.needs(&entry).await?;
                self.head = entry.head();
                let line = entry_line(&entry)?;
                self.line(&Line::Entry(Box::new(line)))?;
                self.entries += 1;
            }
            progress(Progress {
                entries: self.entries,
                total,
            });
        }
        Ok(())
    }

    async fn end(mut self) -> Result<ExportReport, ReadError> {
        let digest = Digest::from_bytes(self.hash.clone().finalize().into());
        self.line(&Line::End {
            entries: self.entries,
            blobs: self.blobs,
            earlier: self.earlier,
            head: self.head,
            digest,
        })?;
        self.output.flush().map_err(ReadError::Output)?;
        let _ = self.connection.close().await;
        Ok(ExportReport {
            entries: self.entries,
            blobs: self.blobs,
            earlier: self.earlier,
            after: self.after,
            head: self.head,
        })
    }

    /// Writes the blobs that must be there before an entry.
    async fn needs(&mut self, entry: &RawEntry) -> Result<(), ReadError> {
        match entry.body() {
            Ok(Body::Blob(_)) => {
                let sequence = signed(entry.sequence);
                self.blob(sequence).await
            }
            Ok(Body::Decision(decision)) => {
                for policy in &decision.policies {
                    self.module(policy.module).await?;
                }
                Ok(())
            }
            Ok(Body::Start(start)) => {
                for policy in start.issuers.iter().flat_map(|issuer| &issuer.policies) {
                    self.module(policy.module).await?;
                }
                Ok(())
            }
            // A body that cannot be read is for whoever verifies.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn module(&mut self, digest: Digest) -> Result<(), ReadError> {
        if self.there.contains(&digest) {
            return Ok(());
        }
        let sequence: Option<i64> = sqlx::query_scalar("SELECT sequence FROM blobs WHERE digest = ?")
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(&mut self.connection)
            .await?;
        // A refusal may name what was never stored.
        let Some(sequence) = sequence else { return Ok(()) };
        if unsigned(sequence)? <= self.after.sequence {
            self.earlier_blob(sequence).await?;
        }
        self.there.insert(digest);
        Ok(())
    }

    async fn earlier_blob(&mut self, sequence: i64) -> Result<(), ReadError> {
        let entry = self.entry(sequence).await?;
        self.earlier_entry(&entry)?;
        self.blob(sequence).await
    }

    fn earlier_entry(&mut self, entry: &RawEntry) -> Result<(), ReadError> {
        self.earlier += 1;
        let line = entry_line(entry)?;
        self.line(&Line::Earlier(Box::new(line)))
    }

    /// One at a time: a module may have many megabytes.
    async fn blob(&mut self, sequence: i64) -> Result<(), ReadError> {
        let row = sqlx::query("SELECT kind, digest, bytes FROM blobs WHERE sequence = ?")
            .bind(sequence)
            .fetch_optional(&mut self.connection)
            .await?;
        let row = row.ok_or_else(|| ReadError::NotFound(format!("blob {sequence}")))?;
        let kind = u8::try_from(strict_integer(&row, 0)?)
            .ok()
            .and_then(BlobKind::from_code);
        let digest = digest(&row, 1)?;
        self.line(&Line::Blob {
            sequence: unsigned(sequence)?,
            kind: kind.ok_or(MalformedRow::Value("kind"))?,
            digest,
            bytes: encode(&strict_blob(&row, 2)?),
        })?;
        self.there.insert(digest);
        self.blobs += 1;
        Ok(())
    }

    async fn entry(&mut self, sequence: i64) -> Result<RawEntry, ReadError> {
        let text = format!("SELECT {ENTRY_COLUMNS} FROM entries WHERE sequence = ?");
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(sequence)
            .fetch_optional(&mut self.connection)
            .await?;
        let row = row.ok_or_else(|| ReadError::NotFound(sequence.to_string()))?;
        Ok(raw_entry(&row)?)
    }

    fn line(&mut self, line: &Line) -> Result<(), ReadError> {
        let mut json =
            serde_json::to_vec(line).map_err(|error| ReadError::Output(io::Error::other(error)))?;
        json.push(b'\n');
        self.hash.update(&json);
        self.output.write_all(&json).map_err(ReadError::Output)
    }
}

fn entry_line(entry: &RawEntry) -> Result<EntryLine, MalformedRow> {
    EntryLine::of(entry).ok_or(MalformedRow::Value("kind or serial"))
}

fn digest(row: &SqliteRow, column: usize) -> Result<Digest, MalformedRow> {
    let bytes: [u8; 32] = strict_blob(row, column)?
        .try_into()
        .map_err(|_| MalformedRow::Value("digest"))?;
    Ok(Digest::from_bytes(bytes))
}

fn unsigned(value: i64) -> Result<u64, MalformedRow> {
    u64::try_from(value).map_err(|_| MalformedRow::Value("sequence"))
}
