//! The writer: one task that owns the one connection that writes.
//!
//! It takes all that is queued (up to a bound), gives each entry its place, its time and its hash, writes the lot in one
//! transaction with one sync, and then answers all. While it waits for the disk the next batch gathers, so the more is
//! asked of it, the less each record costs.
//!
//! What it keeps: an answer of `Ok` is on disk; the sequence has no gap; each decision is settled once; a serial is used
//! once. When a write fails in a way that leaves open whether it happened, the writer ends: only a new start, which reads
//! what is there, can tell. A write that surely did not happen (the database is locked, the disk is full) is refused to
//! those who asked; the writer looks each half second whether that has passed, and then settles what it still owes.

mod limits;
mod remove;
mod state;
pub(crate) mod statements;

use std::{path::PathBuf, sync::Arc, time::Duration};

use sealwright_identity::{Digest, SerialNumber, SharedClock, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    body::{self, BlobRef},
    chain::{Head, Instance},
    config::LedgerConfig,
    entry::{Appended, EntryKind},
    error::{Error, SharedSource},
    lock::LockFile,
    stats::Stats,
};
use limits::{DiskReserve, RateLimit};
pub(crate) use remove::Removed;
use state::State;
use statements::{Statements, Tagged};

/// How often a ledger that cannot be written is tried.
const TRY_AGAIN: Duration = Duration::from_millis(500);

type Reply = oneshot::Sender<Result<Appended, Error>>;

/// An entry on its way, all that costs time already done.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) kind: EntryKind,
    pub(crate) refers: Option<u64>,
    pub(crate) serial: Option<SerialNumber>,
    pub(crate) body: Vec<u8>,
    pub(crate) body_digest: Digest,
    pub(crate) tags: Vec<i64>,
    /// Digest of the to-be-signed bytes: of a decision, or found in a certificate.
    pub(crate) tbs: Option<Digest>,
}

impl Draft {
    pub(crate) fn new(kind: EntryKind, body: Vec<u8>) -> Self {
        let body_digest = Digest::of(&body);
        Self {
            kind,
            refers: None,
            serial: None,
            body,
            body_digest,
            tags: Vec::new(),
            tbs: None,
        }
    }
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Append {
        draft: Draft,
        reply: Reply,
    },
    Blob {
        blob: BlobRef,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Writes the entry of a pruning whose last entry this is.
    Prune {
        draft: Draft,
        last: Head,
        reply: Reply,
    },
    /// Takes out what is pruned, some entries after this one.
    Remove {
        after: u64,
        reply: oneshot::Sender<Result<Option<Removed>, Error>>,
    },
    MarkUnreleased {
        reply: oneshot::Sender<Result<Vec<u64>, Error>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// The one that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: SqliteConnection,
    clock: SharedClock,
    config: Arc<LedgerConfig>,
    stats: Arc<Stats>,
    state: State,
    statements: Statements,
    rate: RateLimit,
    reserve: DiskReserve,
    /// Decisions of an earlier run that were never settled.
    inherited: Vec<u64>,
    /// Decisions that came to nothing, which could not be written down yet. No more than there are open ones.
    owed: Vec<Draft>,
    /// Whether the last write failed.
    troubled: bool,
    /// Given back last.
    lock: LockFile,
}

/// An entry of the batch and who waits for it.
struct Waiting {
    draft: Draft,
    reply: Option<Reply>,
}

/// The writer has ended.
struct Ended;

impl Writer {
    pub(crate) async fn open(
        path: PathBuf,
        config: Arc<LedgerConfig>,
        clock: SharedClock,
        stats: Arc<Stats>,
    ) -> Result<(Self, Instance), Error> {
        let lock = LockFile::acquire(&path)?;
        crate::ledger::create_file(&path)?;
        let open = |source| Error::Open {
            path: path.clone(),
            source,
        };
        let options = crate::schema::writer_options(&path);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(open)?;
        let instance = crate::schema::migrate(&mut connection, &path, clock.now()).await?;
        let state = State::load(&mut connection, &instance).await?;
        let writer = Self {
            connection,
            clock,
            stats,
            inherited: state.open_decisions(),
            state,
            statements: Statements::default(),
            rate: RateLimit::new(config.max_records_per_second, Instant::now()),
            reserve: DiskReserve::new(&path, config.disk_reserve_bytes),
            config,
            owed: Vec::new(),
            troubled: false,
            lock,
        };
        Ok((writer, instance))
    }

    /// Works until it is told to close, until nobody is left to ask, or until a write fails for good.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let limit = self.config.max_batch.clamp(1, statements::MAX_PIECE);
        let mut taken = Vec::with_capacity(limit);
        let mut closing = Vec::new();
        'work: loop {
            let received = commands.recv_many(&mut taken, limit);
            let received = if self.troubled {
                tokio::time::timeout(TRY_AGAIN, received).await
            } else {
                Ok(received.await)
            };
            match received {
                Ok(0) => break,
                Ok(_) => {}
                Err(_nobody) => {
                    if self.try_again().await.is_err() {
                        break;
                    }
                    continue;
                }
            }
            let mut group = Vec::with_capacity(taken.len());
            for command in taken.drain(..) {
                if let Command::Append { draft, reply } = command {
                    group.push(Waiting {
                        draft,
                        reply: Some(reply),
                    });
                    continue;
                }
                // Anything else keeps its place in the order.
                if self.commit(std::mem::take(&mut group)).await.is_err() {
                    break 'work;
                }
                match self.other(command).await {
                    Ok(None) => {}
                    Ok(Some(reply)) => {
                        closing.push(reply);
                        commands.close();
                    }
                    Err(Ended) => break 'work,
                }
            }
            if self.commit(group).await.is_err() {
                break;
            }
        }
        drop(commands);
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the ledger did not close cleanly; nothing is lost");
        }
        drop(self.lock);
        for reply in closing {
            let _ = reply.send(());
        }
    }

    async fn other(&mut self, command: Command) -> Result<Option<oneshot::Sender<()>>, Ended> {
        match command {
            Command::Blob { blob, bytes, reply } => {
                let (result, ended) = split(self.store_blob(blob, bytes).await);
                let _ = reply.send(result);
                ended.map(|()| None)
            }
            Command::MarkUnreleased { reply } => {
                let (result, ended) = split(self.mark_unreleased().await);
                let _ = reply.send(result);
                ended.map(|()| None)
            }
            Command::Prune { draft, last, reply } => self.prune(draft, last, reply).await.map(|()| None),
            Command::Remove { after, reply } => self.remove(after, reply).await.map(|()| None),
            Command::Close { reply } => Ok(Some(reply)),
            Command::Append { draft, reply } => self
                .commit(vec![Waiting {
                    draft,
                    reply: Some(reply),
                }])
                .await
                .map(|()| None),
        }
    }

    /// Writes what is owed, or else something that changes nothing, to see whether writing works again.
    async fn try_again(&mut self) -> Result<(), Ended> {
        if !self.owed.is_empty() {
            return self.pay().await;
        }
        match crate::schema::touch(&mut self.connection).await {
            Ok(()) => {
                self.written();
                Ok(())
            }
            Err(error) => self.after_failure(error, Vec::new()).await.map(drop),
        }
    }

    /// Writes down the decisions that came to nothing while nothing could be written.
    async fn pay(&mut self) -> Result<(), Ended> {
        let owed = std::mem::take(&mut self.owed).into_iter();
        let group = owed.map(|draft| Waiting { draft, reply: None }).collect();
        self.write(group).await.map(drop)
    }

    /// A write succeeded.
    fn written(&mut self) {
        if self.troubled {
            self.troubled = false;
            self.stats.set_trouble(None);
            tracing::info!("the ledger is written again");
        }
    }

    /// Writes a batch; then, if someone who waited for a decision went away, says so in the ledger.
    async fn commit(&mut self, group: Vec<Waiting>) -> Result<(), Ended> {
        let mut group = self.admit(group);
        while !group.is_empty() {
            let abandoned = self.write(group).await?;
            // Nobody knows of these decisions, so nobody can have signed them.
            group = abandoned
                .into_iter()
                .filter_map(|decision| {
                    let body = body::encode_failed("the request was given up before it was signed")?;
                    let draft = Draft {
                        refers: Some(decision),
                        ..Draft::new(EntryKind::Failed, body)
                    };
                    Some(Waiting { draft, reply: None })
                })
                .collect();
        }
        if !self.troubled && !self.owed.is_empty() {
            self.pay().await?;
        }
        Ok(())
    }

    /// Turns away what the bounds do not allow. What settles a decision is always let in.
    fn admit(&mut self, mut group: Vec<Waiting>) -> Vec<Waiting> {
        if group.iter().all(|waiting| waiting.draft.kind.settles()) {
            return group;
        }
        let now = Instant::now();
        // Asked once for a batch; again only for the words of each refusal.
        let roomy = self.reserve.check().is_ok();
        let mut admitted = Vec::with_capacity(group.len());
        for waiting in group.drain(..) {
            let free = waiting.draft.kind.settles()
                || matches!(
                    waiting.draft.kind,
                    EntryKind::Start | EntryKind::Policy | EntryKind::Ceremony | EntryKind::Prune
                );
            let allowed = if free {
                Ok(())
            } else if roomy {
                self.rate.take(now)
            } else {
                self.reserve.check().and_then(|()| self.rate.take(now))
            };
            match allowed {
                Ok(()) => admitted.push(waiting),
                Err(error) => self.answer(waiting.reply, Err(error)),
            }
        }
        admitted
    }

    /// Writes what was let in. Returns the decisions whose askers are gone.
    async fn write(&mut self, mut group: Vec<Waiting>) -> Result<Vec<u64>, Ended> {
        loop {
            let now = self.clock.now();
            let mark = self.state.mark();
            let mut batch = Vec::with_capacity(group.len());
            let mut accepted = Vec::with_capacity(group.len());
            for waiting in group {
                match self.state.place(&waiting.draft, now, self.config.max_pending) {
                    Ok(entry) => {
                        batch.push(Tagged {
                            entry,
                            tags: waiting.draft.tags.clone(),
                        });
                        accepted.push(waiting);
                    }
                    Err(error) => self.answer(waiting.reply, Err(error)),
                }
            }
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let started = Instant::now();
            match self.statements.write(&mut self.connection, &batch).await {
                Ok(()) => {
                    self.stats.committed(&batch, started.elapsed());
                    self.state.keep();
                    self.written();
                    return Ok(self.answer_all(accepted, &batch));
                }
                Err(error) => {
                    self.state.undo(mark);
                    group = self.after_failure(error, accepted).await?;
                }
            }
        }
    }

    fn answer_all(&self, accepted: Vec<Waiting>, batch: &[Tagged]) -> Vec<u64> {
        let mut abandoned = Vec::new();
        for (waiting, Tagged { entry, .. }) in accepted.into_iter().zip(batch) {
            let Some(reply) = waiting.reply else { continue };
            let appended = Appended {
                sequence: entry.sequence,
                hash: entry.hash,
                recorded_at: entry.recorded_at,
            };
            if reply.send(Ok(appended)).is_err() && waiting.draft.kind == EntryKind::Decision {
                abandoned.push(entry.sequence);
            }
        }
        abandoned
    }

    /// After a failed write: what may be tried again, or the end.
    async fn after_failure(
        &mut self,
        error: sqlx::Error,
        group: Vec<Waiting>,
    ) -> Result<Vec<Waiting>, Ended> {
        // Fails when SQLite has rolled back by itself.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        let unchanged = self.state.is_at_head_of(&mut self.connection).await;
        match Failure::of(&error) {
            Failure::Constraint if unchanged => self.without_taken_serials(error, group).await,
            Failure::Passing if unchanged => {
                self.cannot_write(&error);
                let source = SharedSource::from(error);
                for waiting in group {
                    self.answer(waiting.reply, Err(Error::NotWritten(source.clone())));
                    // Else the decision stayed open, and took a place, until the next start.
                    if waiting.draft.kind == EntryKind::Failed {
                        self.owed.push(waiting.draft);
                    }
                }
                Ok(Vec::new())
            }
            _ => {
                tracing::error!(%error, records = group.len(), "writing to the ledger failed; the writer ends");
                let source = SharedSource::from(error);
                for waiting in group {
                    self.answer(waiting.reply, Err(Error::Fatal(source.clone())));
                }
                Err(Ended)
            }
        }
    }

    /// Says so once, not with each batch.
    fn cannot_write(&mut self, error: &sqlx::Error) {
        if !self.troubled {
            tracing::warn!(%error, "the ledger cannot be written; it is as before, and tried again");
        }
        self.troubled = true;
        self.stats.set_trouble(Some(error.to_string()));
    }

    async fn without_taken_serials(
        &mut self,
        error: sqlx::Error,
        group: Vec<Waiting>,
    ) -> Result<Vec<Waiting>, Ended> {
        let count = group.len();
        let mut rest = Vec::with_capacity(count);
        for waiting in group {
            match waiting.draft.serial.clone() {
                Some(serial) if self.has_serial(&serial).await => {
                    self.answer(waiting.reply, Err(Error::SerialTaken { serial }));
                }
                _ => rest.push(waiting),
            }
        }
        if rest.len() < count {
            return Ok(rest);
        }
        // The index says that something is there twice, and nothing is: not a matter to go on from.
        tracing::error!(%error, "the ledger contradicts itself; the writer ends");
        let source = SharedSource::from(error);
        for waiting in rest {
            self.answer(waiting.reply, Err(Error::Fatal(source.clone())));
        }
        Err(Ended)
    }

    async fn has_serial(&mut self, serial: &SerialNumber) -> bool {
        let text = "SELECT 1 FROM entries WHERE kind = 2 AND serial = ? \
            UNION ALL SELECT 1 FROM removed WHERE serial = ?";
        sqlx::query_scalar::<_, i64>(text)
            .bind(serial.as_bytes())
            .bind(serial.as_bytes())
            .fetch_optional(&mut self.connection)
            .await
            .is_ok_and(|found| found.is_some())
    }

    fn answer(&self, reply: Option<Reply>, result: Result<Appended, Error>) {
        if result.is_err() {
            self.stats.turned_away();
        }
        if let Some(reply) = reply {
            let _ = reply.send(result);
        }
    }

    /// Stores a blob and the entry that vouches for it, in one transaction.
    async fn store_blob(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Error> {
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM blobs WHERE digest = ?")
            .bind(blob.digest.as_bytes().as_slice())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| Error::NotWritten(error.into()))?;
        if known.is_some() {
            return Ok(());
        }
        self.reserve.check()?;
        let body = body::encode_blob(&blob).ok_or(Error::Invalid("the blob is too long"))?;
        let now: Timestamp = self.clock.now();
        let mark = self.state.mark();
        let entry = self
            .state
            .place(&Draft::new(EntryKind::Blob, body), now, self.config.max_pending)?;
        let text = "BEGIN IMMEDIATE; \
            INSERT INTO entries (sequence, kind, recorded_at, settled, refers, serial, previous, hash, body) \
            VALUES (?,?,?,?,?,?,?,?,?); \
            INSERT INTO blobs (sequence, digest, kind, bytes) VALUES (?,?,?,?); COMMIT";
        let written = statements::bind(sqlx::query(AssertSqlSafe(text)), &entry)
            .bind(crate::schema::signed(entry.sequence))
            .bind(blob.digest.as_bytes().to_vec())
            .bind(i64::from(blob.kind.code()))
            .bind(bytes)
            .execute(&mut self.connection)
            .await;
        match written {
            Ok(_) => {
                self.state.keep();
                self.written();
                Ok(())
            }
            Err(error) => {
                self.state.undo(mark);
                let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
                let unchanged = self.state.is_at_head_of(&mut self.connection).await;
                let passing = unchanged && matches!(Failure::of(&error), Failure::Passing);
                if passing {
                    self.cannot_write(&error);
                }
                let source = SharedSource::from(error);
                Err(if passing {
                    Error::NotWritten(source)
                } else {
                    Error::Fatal(source)
                })
            }
        }
    }

    /// Settles the decisions of earlier runs: they may have been signed, and never left the gate.
    async fn mark_unreleased(&mut self) -> Result<Vec<u64>, Error> {
        let inherited = std::mem::take(&mut self.inherited);
        let body = body::encode_unreleased().ok_or(Error::Invalid("the body is too long"))?;
        for decisions in inherited.chunks(statements::MAX_PIECE) {
            let (replies, group) = decisions
                .iter()
                .map(|decision| {
                    let (reply, answer) = oneshot::channel();
                    let draft = Draft {
                        refers: Some(*decision),
                        ..Draft::new(EntryKind::Unreleased, body.clone())
                    };
                    (
                        answer,
                        Waiting {
                            draft,
                            reply: Some(reply),
                        },
                    )
                })
                .collect::<(Vec<_>, Vec<_>)>();
            let _ = self.commit(group).await;
            for reply in replies {
                reply.await.map_err(|_| Error::Stopped)??;
            }
        }
        Ok(inherited)
    }
}

/// Keeps the answer and says whether the writer must end.
fn split<T>(result: Result<T, Error>) -> (Result<T, Error>, Result<(), Ended>) {
    let ended = match &result {
        Err(error) if error.is_fatal() => Err(Ended),
        _ => Ok(()),
    };
    (result, ended)
}

/// What a failed write means.
enum Failure {
    /// A trigger or an index said no: most likely to a repeated serial.
    Constraint,
    /// Surely not written, and may go better later.
    Passing,
    /// Anything else.
    Unknown,
}

impl Failure {
    fn of(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = error else {
            return Self::Unknown;
        };
        let code = database.code().and_then(|code| code.parse::<u32>().ok());
        // The low byte is the primary code: BUSY, LOCKED, NOMEM, FULL; CONSTRAINT.
        match code.unwrap_or(0) & 0xff {
            5 | 6 | 7 | 13 => Self::Passing,
            19 => Self::Constraint,
            _ => Self::Unknown,
        }
    }
}
