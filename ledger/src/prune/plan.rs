//! What would go, and whether it may.

use std::{fmt, path::PathBuf};

use sealwright_identity::{Digest, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{CHUNK, GOES, Needed, PruneEntry, PruneError, Sum, Tally, cover, stays};
use crate::{
    body::Body,
    chain::{Head, RawEntry},
    entry::EntryKind,
    reader::{LedgerReader, ReadError, begin, chunk, newest_pruning, raw_entry},
    schema::signed,
    verify::Progress,
};

/// A cut where no decision is open makes the exports of both sides whole. So far back one is looked for.
const CLEAN_CUT: u64 = 10_000;

/// What is wanted.
pub struct PruneWish<'w> {
    /// What was recorded before this time goes.
    pub before: Timestamp,
    /// The time now.
    pub now: Timestamp,
    /// After this entry nothing about a request may go: a start counts it.
    pub counted_after: Option<u64>,
    /// Exports, in any order, that hold what goes.
    pub exports: &'w [PathBuf],
    /// Who asks: the OS user.
    pub by: String,
    /// Until when the certificate of these to-be-signed bytes is valid; `None` when they cannot be read.
    pub valid_until: &'w (dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync),
}

impl fmt::Debug for PruneWish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PruneWish")
            .field("before", &self.before)
            .field("exports", &self.exports)
            .finish_non_exhaustive()
    }
}

/// A pruning that may be done: every rule was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunePlan {
    /// `None` when there is nothing to prune but what an earlier pruning left.
    pub(super) entry: Option<PruneEntry>,
    pub(super) goes: u64,
    pub(super) leftover: u64,
    certificates: u64,
    first: u64,
}

impl PrunePlan {
    /// What the entry will say; `None` when nothing goes but what an earlier pruning left.
    #[must_use]
    pub fn entry(&self) -> Option<&PruneEntry> {
        self.entry.as_ref()
    }

    /// The first entry that was not pruned before.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Entries that go.
    #[must_use]
    pub fn goes(&self) -> u64 {
        self.goes
    }

    /// Certificates among them.
    #[must_use]
    pub fn certificates(&self) -> u64 {
        self.certificates
    }

    /// Entries that an earlier pruning left, which was cut short.
    #[must_use]
    pub fn leftover(&self) -> u64 {
        self.leftover
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entry.is_none() && self.leftover == 0
    }
}

impl LedgerReader {
    /// Looks whether entries may be pruned. Changes nothing, and works beside a writer.
    ///
    /// # Errors
    /// What is in the way, with what would do.
    pub async fn plan_pruning(
        &self,
        wish: &PruneWish<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<PrunePlan, PruneError> {
        if wish.before > wish.now {
            return Err(PruneError::Future { before: wish.before });
        }
        let mut connection = self.connections.patient().await?;
        let newest = newest_pruning(&mut connection).await?;
        let begin = begin(newest.as_ref(), &self.instance());
        let leftover = leftover(&mut connection, begin.sequence).await?;
        let last = cut(&mut connection, begin.sequence, wish.before).await?;
        let mut plan = PrunePlan {
            entry: None,
            goes: 0,
            leftover,
            certificates: 0,
            first: begin.sequence + 1,
        };
        if last <= begin.sequence {
            return Ok(plan);
        }
        let known = newest.map(|pruning| pruning.entry.kept);
        let survey = Survey::of(&mut connection, begin, known, last, wish).await?;
        let (first, files) = (begin.sequence + 1, wish.exports);
        if files.is_empty() {
            return Err(PruneError::NoExport { first, last });
        }
        let instance = self.instance();
        let exports = cover::check(&mut connection, instance, begin, last, files, progress).await?;
        let _ = connection.close().await;
        plan.goes = survey.goes;
        plan.certificates = survey.certificates;
        plan.entry = Some(PruneEntry {
            last: survey.last,
            before: wish.before,
            kept: survey.kept.tally(),
            serials: survey.serials.tally(),
            by: wish.by.clone(),
            exports,
        });
        Ok(plan)
    }
}

async fn leftover(connection: &mut SqliteConnection, begin: u64) -> Result<u64, ReadError> {
    let text = format!("SELECT count(*) FROM entries WHERE sequence <= ? AND kind IN {GOES}");
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(signed(begin))
        .fetch_one(connection)
        .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The last entry to go: before the first that was recorded at the time or later and, where one is near, where no
/// decision is open.
async fn cut(connection: &mut SqliteConnection, begin: u64, before: Timestamp) -> Result<u64, ReadError> {
    let row = sqlx::query(
        "SELECT (SELECT min(sequence) FROM entries WHERE recorded_at >= ? AND sequence > ?), \
         (SELECT max(sequence) FROM entries)",
    )
    .bind(before.micros())
    .bind(signed(begin))
    .fetch_one(&mut *connection)
    .await?;
    let (stays, last): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let bound = stays.map_or_else(|| last.unwrap_or(0), |stays| stays - 1);
    let bound = u64::try_from(bound).unwrap_or(0);
    let near = bound.saturating_sub(CLEAN_CUT);
    let clean: Option<i64> = sqlx::query_scalar(
        "SELECT sequence FROM entries WHERE sequence > ? AND sequence <= ? AND settled = sequence + 1 \
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(signed(near.max(begin)))
    .bind(signed(bound))
    .fetch_optional(connection)
    .await?;
    Ok(match clean.and_then(|clean| u64::try_from(clean).ok()) {
        Some(clean) => clean,
        None if begin >= near => begin,
        None => bound,
    })
}

/// The entries up to the last that goes.
struct Survey {
    last: Head,
    goes: u64,
    certificates: u64,
    kept: Sum,
    serials: Sum,
}

impl Survey {
    async fn of(
        connection: &mut SqliteConnection,
        begin: Head,
        known: Option<Tally>,
        last: u64,
        wish: &PruneWish<'_>,
    ) -> Result<Self, PruneError> {
        let mut survey = Self {
            last: begin,
            goes: 0,
            certificates: 0,
            kept: Sum::kept(),
            serials: Sum::serials(),
        };
        survey.kept_before(connection, begin.sequence).await?;
        if known.is_some_and(|known| known != survey.kept.tally()) {
            return Err(PruneError::Damaged(
                "what stayed at the last pruning is not what its entry names",
            ));
        }
        let open: Option<i64> =
            sqlx::query_scalar("SELECT settled FROM entries ORDER BY sequence DESC LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(ReadError::from)?;
        let open = open.and_then(|open| u64::try_from(open).ok()).unwrap_or(0);
        while survey.last.sequence < last {
            let rows = chunk(connection, survey.last.sequence, CHUNK)
                .await
                .map_err(ReadError::from)?;
            if rows.is_empty() {
                return Err(PruneError::Damaged("entries are missing"));
            }
            for row in &rows {
                let entry = raw_entry(row).map_err(ReadError::from)?;
                if entry.sequence > last {
                    break;
                }
                survey.entry(&entry, open, wish)?;
            }
        }
        Ok(survey)
    }

    fn entry(&mut self, entry: &RawEntry, open: u64, wish: &PruneWish<'_>) -> Result<(), PruneError> {
        if entry.sequence != self.last.sequence + 1 || entry.previous != self.last.hash {
            return Err(PruneError::Damaged("an entry does not follow the one before it"));
        }
        self.last = entry.head();
        let unreadable = |source| ReadError::Body {
            sequence: entry.sequence,
            source,
        };
        let kind = entry.entry_kind().map_err(unreadable)?;
        if stays(kind) {
            self.kept.add_kept(entry.head());
            return Ok(());
        }
        let needed = |why| PruneError::Needed {
            sequence: entry.sequence,
            recorded_at: entry.recorded_at,
            why,
        };
        if wish.counted_after.is_some_and(|after| entry.sequence > after) {
            return Err(needed(Needed::Counted));
        }
        self.goes += 1;
        if kind == EntryKind::Certificate {
            self.certificates += 1;
        }
        let Some(serial) = &entry.serial else {
            return Ok(());
        };
        self.serials.add_serial(entry.sequence, serial);
        let Body::Decision(decision) = entry.body().map_err(unreadable)? else {
            return Err(PruneError::Damaged("a serial is not of a decision"));
        };
        // By the time it is valid and not by what became of it: nothing that was signed can be taken back.
        let why = match (wish.valid_until)(&decision.tbs) {
            _ if entry.sequence >= open => Needed::Open,
            Some(until) if until < wish.now => return Ok(()),
            Some(until) => Needed::Valid(until),
            None => Needed::Unreadable,
        };
        Err(needed(why))
    }

    /// What stayed at earlier prunings.
    async fn kept_before(&mut self, connection: &mut SqliteConnection, begin: u64) -> Result<(), PruneError> {
        let text = format!(
            "SELECT sequence, hash FROM entries WHERE sequence <= ? AND kind NOT IN {GOES} ORDER BY sequence"
        );
        let rows = sqlx::query(AssertSqlSafe(text))
            .bind(signed(begin))
            .fetch_all(connection)
            .await
            .map_err(ReadError::from)?;
        for row in rows {
            let sequence: i64 = row.try_get(0).map_err(ReadError::from)?;
            let hash: Vec<u8> = row.try_get(1).map_err(ReadError::from)?;
            let hash = hash
                .try_into()
                .map_err(|_| PruneError::Damaged("a hash has not 32 bytes"))?;
            self.kept.add_kept(Head {
                sequence: u64::try_from(sequence).unwrap_or(0),
                hash: Digest::from_bytes(hash),
            });
        }
        Ok(())
    }
}
