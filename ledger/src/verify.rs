//! `log verify`: everything that can be checked without a key, an HSM or a server.
//!
//! The chain is computed anew from the columns; every blob is hashed; the derived tables, the indexes, the schema and
//! SQLite's own counter are compared with what the chain says. It reads in pieces, so it neither holds the writer's log
//! open nor needs memory for the whole, and it takes no longer bound than the ledger's length.

pub(crate) mod check;
mod kept;
mod problem;
mod pruned;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::{
    body::{BlobRef, Body},
    chain::{Head, RawEntry},
    reader::{LedgerReader, MalformedRow, ReadError, chunk, raw_entry, strict_blob, strict_integer},
    schema::{self, signed},
};
use check::{ChainCheck, Seen};
use kept::Kept;
pub use problem::Problem;
pub use pruned::PrunedReport;
use pruned::{Before, Stands};
use sealwright_identity::Digest;

const CHUNK: u32 = 512;
/// More findings than these are counted, not kept.
const MAX_FINDINGS: usize = 100;

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that were checked.
    pub entries: u64,
    /// Entries that there are.
    pub total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Entries that were checked.
    pub entries: u64,
    /// Blobs that were hashed.
    pub blobs: u64,
    /// The end of the chain: keep it elsewhere, and a later verification can be held against it.
    pub head: Head,
    /// When it was pruned: what of.
    pub pruned: Option<PrunedReport>,
    /// Decisions that are not settled (of a gate that is at work, or ended in the midst).
    pub open_decisions: usize,
    /// What is wrong, at most 100.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
}

impl VerifyReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry it is about, if it is about one.
    pub sequence: Option<u64>,
    /// What.
    pub problem: Problem,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sequence {
            Some(sequence) => write!(f, "entry {sequence}: {}", self.problem),
            None => write!(f, "{}", self.problem),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("Finding", 2)?;
        object.serialize_field("sequence", &self.sequence)?;
        object.serialize_field("problem", &self.problem.to_string())?;
        object.end()
    }
}

impl LedgerReader {
    /// Checks everything.
    ///
    /// # Errors
    /// When the database cannot be opened. What is damaged in it is a finding.
    pub async fn verify(
        &self,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<VerifyReport, ReadError> {
        self.verify_since(None, progress).await
    }

    /// Checks everything, and that the ledger still holds an end that was kept elsewhere.
    ///
    /// # Errors
    /// As for [`Self::verify`].
    pub async fn verify_since(
        &self,
        kept: Option<Head>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<VerifyReport, ReadError> {
        let connection = self.connections.patient().await?;
        let genesis = self.instance().genesis_head();
        let mut run = Run {
            connection,
            chain: ChainCheck::after(genesis),
            kept: Kept::new(kept),
            before: None,
            lookups: 0,
            report: VerifyReport {
                entries: 0,
                blobs: 0,
                head: genesis,
                pruned: None,
                open_decisions: 0,
                findings: Vec::new(),
                more_findings: 0,
            },
        };
        run.all(progress).await;
        let Run {
            connection,
            chain,
            mut report,
            ..
        } = run;
        let _ = connection.close().await;
        report.open_decisions = chain.open_decisions();
        Ok(report)
    }
}

struct Run {
    connection: SqliteConnection,
    chain: ChainCheck,
    kept: Kept,
    /// Of a ledger that was pruned.
    before: Option<Before>,
    lookups: i64,
    report: VerifyReport,
}

impl Run {
    async fn all(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) {
        if let Err(error) = self.steps(progress).await {
            self.found(None, Problem::Database(error.to_string()));
        }
        if let Err(error) = self.structure().await {
            self.found(None, Problem::Database(error.to_string()));
        }
    }

    async fn steps(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), sqlx::Error> {
        self.instance().await?;
        self.prunings().await?;
        let last = self.counter().await?;
        let total = u64::try_from(last).unwrap_or(0);
        self.entries(total, progress).await?;
        self.pruned();
        if let Some(problem) = self.kept.missing(self.before.as_ref()) {
            self.found(None, problem);
        }
        let found: i64 = count(
            &mut self.connection,
            "SELECT count(*) FROM blobs WHERE sequence <= ?",
            last,
        )
        .await?;
        let expected = i64::try_from(self.report.blobs).unwrap_or(i64::MAX);
        if found != expected {
            self.found(None, Problem::Blobs { found, expected });
        }
        let found = count(
            &mut self.connection,
            "SELECT count(*) FROM lookups WHERE sequence <= ?",
            last,
        )
        .await?;
        if found != self.lookups {
            let expected = self.lookups;
            self.found(None, Problem::Lookups { found, expected });
        }
        Ok(())
    }

    async fn instance(&mut self) -> Result<(), sqlx::Error> {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM instance")
            .fetch_one(&mut self.connection)
            .await?;
        let found = schema::instance(&mut self.connection).await?;
        let sound = found.is_some_and(|(instance, genesis)| {
            genesis == instance.genesis().as_bytes() && instance.genesis() == self.report.head.hash
        });
        if !sound || rows != 1 {
            self.found(None, Problem::Instance);
        }
        Ok(())
    }

    async fn prunings(&mut self) -> Result<(), sqlx::Error> {
        let mut problems = Vec::new();
        self.before = Before::read(&mut self.connection, &mut problems).await?;
        self.all_found(problems);
        if let Some(before) = &self.before {
            self.chain = ChainCheck::after(before.last());
            self.kept.meet(before.last());
        }
        Ok(())
    }

    fn pruned(&mut self) {
        let mut problems = Vec::new();
        self.report.pruned = self.before.as_ref().map(|before| before.end(&mut problems));
        self.all_found(problems);
    }

    fn all_found(&mut self, problems: Vec<(u64, Problem)>) {
        for (sequence, problem) in problems {
            self.found(Some(sequence).filter(|sequence| *sequence != 0), problem);
        }
    }

    /// The last sequence. All in one statement, so of one moment.
    async fn counter(&mut self) -> Result<i64, sqlx::Error> {
        let row = sqlx::query(
            "SELECT coalesce((SELECT min(sequence) FROM entries), 1), \
             coalesce((SELECT max(sequence) FROM entries), 0), \
             coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), -1), \
             (SELECT count(*) FROM sqlite_sequence)",
        )
        .fetch_one(&mut self.connection)
        .await?;
        let (first, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let counter = strict_integer(&row, 2).unwrap_or(-1);
        let rows: i64 = row.try_get(3)?;
        if first != 1 && self.before.is_none() {
            self.found(None, Problem::Gap { expected: 1 });
        }
        let empty = last == 0 && counter == -1 && rows == 0;
        if !empty && (counter != last || rows != 1) {
            self.found(None, Problem::Counter { last, counter });
        }
        Ok(last)
    }

    async fn entries(
        &mut self,
        total: u64,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), sqlx::Error> {
        let mut after = 0;
        self.kept.meet(self.report.head);
        loop {
            let rows = chunk(&mut self.connection, after, CHUNK).await?;
            let mut names = Vec::new();
            let mut reached = after;
            for row in &rows {
                let sequence = strict_integer(row, 0)
                    .ok()
                    .and_then(|sequence| u64::try_from(sequence).ok());
                if let Some(sequence) = sequence {
                    reached = sequence;
                }
                if reached > total {
                    break;
                }
                self.kept.row(sequence);
                match raw_entry(row) {
                    Ok(entry) => self.entry(&entry, &mut names).await?,
                    Err(error) => {
                        self.found(sequence, Problem::Row(error));
                        self.chain.skip(sequence);
                    }
                }
            }
            self.names(&names).await?;
            progress(Progress {
                entries: reached.min(total),
                total,
            });
            if rows.is_empty() || reached >= total || reached == after {
                return Ok(());
            }
            after = reached;
        }
    }

    async fn entry(&mut self, entry: &RawEntry, names: &mut Vec<(i64, u64)>) -> Result<(), sqlx::Error> {
        let mut problems = Vec::new();
        let Seen { blob, tags, body } = self.seen(entry, &mut problems);
        if let (Some(Body::Prune(pruning)), Some(before)) = (&body, &mut self.before) {
            before.meet(entry.sequence, pruning, &mut problems);
        }
        for problem in problems {
            self.found(Some(entry.sequence), problem);
        }
        self.report.entries += 1;
        self.report.head = entry.head();
        self.kept.meet(entry.head());
        names.extend(tags.into_iter().map(|tag| (tag, entry.sequence)));
        match blob {
            Some(blob) => self.blob(entry.sequence, blob).await,
            None => Ok(()),
        }
    }

    /// In its place in the chain, or, when all around it was pruned, by itself.
    fn seen(&mut self, entry: &RawEntry, problems: &mut Vec<Problem>) -> Seen {
        let before = self.before.as_mut();
        match before.filter(|before| entry.sequence <= before.last().sequence) {
            None => {}
            Some(before) => match before.next(entry, problems) {
                Stands::Alone => return check::alone(entry, problems),
                Stands::First => {
                    self.chain = ChainCheck::after(Head {
                        sequence: entry.sequence.saturating_sub(1),
                        hash: entry.previous,
                    });
                }
                Stands::Linked => {}
            },
        }
        self.chain.next(entry, problems)
    }

    async fn blob(&mut self, sequence: u64, expected: BlobRef) -> Result<(), sqlx::Error> {
        self.report.blobs += 1;
        let found = sqlx::query("SELECT digest, kind, bytes FROM blobs WHERE sequence = ?")
            .bind(signed(sequence))
            .fetch_optional(&mut self.connection)
            .await?;
        let Some(found) = found else {
            self.found(Some(sequence), Problem::BlobMissing);
            return Ok(());
        };
        let same = || -> Result<bool, MalformedRow> {
            let bytes = strict_blob(&found, 2)?;
            Ok(strict_blob(&found, 0)? == expected.digest.as_bytes()
                && strict_integer(&found, 1)? == i64::from(expected.kind.code())
                && u64::try_from(bytes.len()).ok() == Some(expected.size)
                && Digest::of(&bytes) == expected.digest)
        };
        if !same().unwrap_or(false) {
            self.found(Some(sequence), Problem::BlobDiffers);
        }
        Ok(())
    }

    /// Whether each name leads to its entry: one question for a chunk, and one for each only when that fails.
    async fn names(&mut self, names: &[(i64, u64)]) -> Result<(), sqlx::Error> {
        let expected = i64::try_from(names.len()).unwrap_or(i64::MAX);
        self.lookups = self.lookups.saturating_add(expected);
        if names.is_empty() || self.names_found(names).await? == expected {
            return Ok(());
        }
        for name in names {
            if self.names_found(std::slice::from_ref(name)).await? != 1 {
                self.found(Some(name.1), Problem::Lookup);
            }
        }
        Ok(())
    }

    async fn names_found(&mut self, names: &[(i64, u64)]) -> Result<i64, sqlx::Error> {
        let json = serde_json::to_string(names).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query_scalar(
            "SELECT count(*) FROM json_each(?) j CROSS JOIN lookups l \
             ON l.tag = json_extract(j.value, '$[0]') AND l.sequence = json_extract(j.value, '$[1]')",
        )
        .bind(json)
        .fetch_one(&mut self.connection)
        .await
    }

    /// Schema, indexes and pages.
    async fn structure(&mut self) -> Result<(), sqlx::Error> {
        let expected = schema::expected_objects().await?;
        let found = schema::objects(&mut self.connection).await?;
        for (kind, name, _) in expected.iter().filter(|object| !found.contains(object)) {
            self.found(
                None,
                Problem::Schema(format!("{kind} {name} is missing or altered")),
            );
        }
        for (kind, name, _) in &found {
            if !expected.iter().any(|(_, expected, _)| expected == name) {
                self.found(
                    None,
                    Problem::Schema(format!("{kind} {name} does not belong here")),
                );
            }
        }
        let text = format!("PRAGMA integrity_check({MAX_FINDINGS})");
        let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(text))
            .fetch_all(&mut self.connection)
            .await?;
        for line in lines.into_iter().filter(|line| line != "ok") {
            self.found(None, Problem::Database(line));
        }
        Ok(())
    }

    fn found(&mut self, sequence: Option<u64>, problem: Problem) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(Finding { sequence, problem });
        } else {
            self.report.more_findings += 1;
        }
    }
}

async fn count(connection: &mut SqliteConnection, sql: &'static str, last: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).bind(last).fetch_one(connection).await
}
