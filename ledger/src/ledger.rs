//! The handle of the write side.

use std::{
    borrow::Cow,
    collections::HashSet,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sealwright_identity::{Digest, SerialNumber, SharedClock};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    body::{self, BlobRef, SignedPart},
    chain::{Instance, identity_tags},
    config::LedgerConfig,
    entry::{
        Appended, BlobKind, CeremonyEntry, CertificateEntry, DecisionEntry, EntryKind, FailedEntry,
        PolicyEntry, StartEntry,
    },
    error::Error,
    prune::PruneEntry,
    reader::{LedgerReader, ReadError},
    shorten,
    stats::{Stats, StatsReading},
    writer::{Command, Draft, Removed, Writer},
};

/// How many digests of stored blobs are remembered; beyond it the database is asked.
const KNOWN_BLOBS: usize = 4096;

/// How long [`Ledger::close`] waits for the disk.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// A ledger that is open for writing. Clones share one writer; the last one that is dropped ends it.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    instance: Instance,
    config: Arc<LedgerConfig>,
    stats: Arc<Stats>,
    commands: mpsc::Sender<Command>,
    reader: LedgerReader,
    known_blobs: Mutex<HashSet<Digest>>,
    /// One blob at a time: blobs are large, and the queue is counted in entries.
    blob_turn: Semaphore,
}

impl Ledger {
    /// Opens a ledger for writing, makes it if it is not there, and holds its lock until all is dropped or closed.
    ///
    /// # Errors
    /// [`Error::Held`] when another process writes; [`Error::TooNew`], [`Error::NotALedger`], [`Error::Damaged`].
    pub async fn open(path: &Path, config: LedgerConfig, clock: SharedClock) -> Result<Self, Error> {
        let config = Arc::new(config);
        let stats = Arc::new(Stats::default());
        let (writer, instance) =
            Writer::open(path.to_owned(), Arc::clone(&config), clock, Arc::clone(&stats)).await?;
        let reader = LedgerReader::open(path)
            .await
            .map_err(|error| Error::Damaged(error.to_string()))?;
        let (commands, queue) = mpsc::channel(config.queue.max(1));
        tokio::spawn(writer.run(queue));
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                instance,
                config,
                stats,
                commands,
                reader,
                known_blobs: Mutex::new(HashSet::new()),
                blob_turn: Semaphore::new(1),
            }),
        })
    }

    /// Settles, as `unreleased`, every decision that an earlier run left open. Returns their sequences.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn mark_unreleased(&self) -> Result<Vec<u64>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::MarkUnreleased { reply })?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Records a gate start.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub async fn start(&self, entry: &StartEntry) -> Result<Appended, Error> {
        self.append_body(EntryKind::Start, None, body::encode_start(entry))
            .await
    }

    /// Records how what decides was changed. On disk when it returns.
    ///
    /// # Errors
    /// As for [`Self::append`]; no rate limit applies.
    pub async fn policy(&self, entry: &PolicyEntry) -> Result<Appended, Error> {
        self.append_body(EntryKind::Policy, None, body::encode_policy_entry(entry))
            .await
    }

    /// Records that a key's ceremony was verified, before the key signs. The transcript's files are a blob already.
    ///
    /// # Errors
    /// As for [`Self::append`]; no rate limit applies.
    pub async fn ceremony(&self, entry: &CeremonyEntry) -> Result<Appended, Error> {
        self.append_body(EntryKind::Ceremony, None, body::encode_ceremony(entry))
            .await
    }

    /// Records a decision, before the key is touched. On disk when it returns.
    ///
    /// # Errors
    /// [`Error::SerialTaken`], [`Error::TooLarge`], [`Error::RateLimited`], [`Error::DiskReserve`],
    /// [`Error::Overloaded`]; when [`Error::is_fatal`], the process must end.
    pub async fn append(&self, entry: &DecisionEntry) -> Result<Appended, Error> {
        if entry.denial.is_some() {
            return Err(Error::Invalid("a decision has no denial"));
        }
        if entry.serial.is_none() || entry.tbs.is_empty() {
            return Err(Error::Invalid(
                "a decision has a serial and the bytes to be signed",
            ));
        }
        let body = body::encode_decision(entry, true);
        let mut draft = self.draft(EntryKind::Decision, body)?;
        draft.serial.clone_from(&entry.serial);
        draft.tags = identity_tags(&entry.identities);
        draft.tbs = Some(Digest::of(&entry.tbs));
        self.append_draft(draft).await
    }

    /// Records the certificate of a decision, before it is released. On disk when it returns.
    ///
    /// # Errors
    /// [`Error::NotPending`] when the decision is not open, [`Error::OtherCertificate`] when the certificate is not made
    /// of its bytes.
    pub async fn complete(&self, entry: &CertificateEntry) -> Result<Appended, Error> {
        let (tbs, part) =
            SignedPart::split(&entry.certificate).ok_or(Error::Invalid("the certificate is not DER"))?;
        let mut draft = self.draft(EntryKind::Certificate, body::encode_certificate(&part))?;
        draft.refers = Some(entry.decision);
        draft.tbs = Some(Digest::of(tbs));
        self.append_draft(draft).await
    }

    /// Records that a decision will have no certificate.
    ///
    /// # Errors
    /// [`Error::NotPending`] when the decision is not open.
    pub async fn append_failed(&self, entry: &FailedEntry) -> Result<Appended, Error> {
        self.append_body(
            EntryKind::Failed,
            Some(entry.decision),
            body::encode_failed(&entry.reason),
        )
        .await
    }

    /// Records that a policy or the ceiling said no to an authenticated caller. What is too large for a record is cut,
    /// and the message says so.
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub async fn append_denied(&self, entry: &DecisionEntry) -> Result<Appended, Error> {
        self.append_turned_down(EntryKind::Denied, entry).await
    }

    /// Whether a denial fits into a record, evidence and all.
    #[must_use]
    pub fn fits(&self, denial: &DecisionEntry) -> bool {
        let body = body::encode_decision(denial, false);
        body.is_some_and(|body| body.len() <= self.shared.config.max_record_bytes)
    }

    /// Records that the gate said no to what the front asked for; cut as in [`Self::append_denied`].
    ///
    /// # Errors
    /// As for [`Self::append`].
    pub async fn append_refused(&self, entry: &DecisionEntry) -> Result<Appended, Error> {
        self.append_turned_down(EntryKind::Refused, entry).await
    }

    /// Stores bytes under their digest, once; returns at once when they are stored. On disk when it returns.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::DiskReserve`].
    pub async fn put_blob(&self, kind: BlobKind, bytes: &[u8]) -> Result<Digest, Error> {
        let limit = self.shared.config.max_blob_bytes;
        if bytes.len() > limit {
            return Err(Error::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let digest = Digest::of(bytes);
        if self.known_blobs().contains(&digest) {
            return Ok(digest);
        }
        let _turn = self
            .shared
            .blob_turn
            .acquire()
            .await
            .map_err(|_| Error::Stopped)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (reply, answer) = oneshot::channel();
        let blob = BlobRef { digest, kind, size };
        self.send(Command::Blob {
            blob,
            bytes: bytes.to_vec(),
            reply,
        })?;
        answer.await.map_err(|_| Error::Stopped)??;
        let mut known = self.known_blobs();
        if known.len() >= KNOWN_BLOBS {
            known.clear();
        }
        known.insert(digest);
        Ok(digest)
    }

    /// Writes the entry of a pruning; only [`Self::prune`] has one to write.
    pub(crate) async fn record_pruning(&self, entry: &PruneEntry) -> Result<Appended, Error> {
        let draft = self.draft(EntryKind::Prune, body::encode_prune(entry))?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Prune {
            draft,
            last: entry.last,
            reply,
        })?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Takes out some of what is pruned; `None` when nothing of it is left after this entry.
    pub(crate) async fn remove_pruned(&self, after: u64) -> Result<Option<Removed>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Remove { after, reply })?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Whether a decision with this serial is on disk. [`Self::append`] looks by itself, also among what is queued.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn serial_exists(&self, serial: &SerialNumber) -> Result<bool, ReadError> {
        self.shared.reader.serial_exists(serial).await
    }

    /// The read side, on connections of its own.
    #[must_use]
    pub fn reader(&self) -> &LedgerReader {
        &self.shared.reader
    }

    /// Which ledger this is.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.shared.instance
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Counters since it was opened.
    #[must_use]
    pub fn stats(&self) -> StatsReading {
        self.shared.stats.read()
    }

    /// Entries that wait for the writer.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.shared
            .commands
            .max_capacity()
            .saturating_sub(self.shared.commands.capacity())
    }

    /// Whether the writer still works; when not, the process must end.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.shared.commands.is_closed()
    }

    /// Why the last write failed, until one succeeds: a database that is locked, a disk that is full. The writer looks
    /// by itself whether that has passed.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.stats.trouble()
    }

    /// Writes what is queued, closes the database and gives the lock back. Later entries are refused.
    ///
    /// Returns after ten seconds at the latest: a disk that hangs must not keep a process from ending, and what was
    /// answered `Ok` is on disk already.
    pub async fn close(&self) {
        let closing = async {
            let (reply, closed) = oneshot::channel();
            // Waits for a place in the queue; without a writer there is nothing to wait for.
            if self.shared.commands.send(Command::Close { reply }).await.is_ok() {
                let _ = closed.await;
            }
            self.shared.reader.close().await;
        };
        if tokio::time::timeout(CLOSE_DEADLINE, closing).await.is_err() {
            tracing::warn!(path = %self.shared.path.display(), "the ledger did not close in time");
        }
    }

    async fn append_turned_down(&self, kind: EntryKind, entry: &DecisionEntry) -> Result<Appended, Error> {
        if entry.denial.is_none() {
            return Err(Error::Invalid("a denial or refusal says why"));
        }
        let mut entry = Cow::Borrowed(entry);
        let mut body = body::encode_decision(&entry, false);
        if body
            .as_ref()
            .is_none_or(|body| body.len() > self.shared.config.max_record_bytes)
        {
            entry = Cow::Owned(shorten::shortened(&entry));
            body = body::encode_decision(&entry, false);
        }
        let mut draft = self.draft(kind, body)?;
        draft.tags = identity_tags(&entry.identities);
        self.append_draft(draft).await
    }

    async fn append_body(
        &self,
        kind: EntryKind,
        refers: Option<u64>,
        body: Option<Vec<u8>>,
    ) -> Result<Appended, Error> {
        let draft = Draft {
            refers,
            ..self.draft(kind, body)?
        };
        self.append_draft(draft).await
    }

    fn draft(&self, kind: EntryKind, body: Option<Vec<u8>>) -> Result<Draft, Error> {
        let body = body.ok_or(Error::Invalid("a field is too long"))?;
        let limit = self.shared.config.max_record_bytes;
        if body.len() > limit {
            return Err(Error::TooLarge {
                size: body.len(),
                limit,
            });
        }
        Ok(Draft::new(kind, body))
    }

    async fn append_draft(&self, draft: Draft) -> Result<Appended, Error> {
        let (reply, answer) = oneshot::channel();
        let waits = draft.kind.settles() || matches!(draft.kind, EntryKind::Policy | EntryKind::Ceremony);
        let command = Command::Append { draft, reply };
        if waits {
            // What was signed must not be turned away at the last step. There are no more of these than open
            // decisions, so the wait for a place is short. Nor must full load keep a policy in force, or an issuer from signing.
            let sent = self.shared.commands.send(command).await;
            sent.map_err(|_| Error::Stopped)?;
        } else {
            self.send(command)?;
        }
        answer.await.map_err(|_| Error::Stopped)?
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.shared
            .commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded {
                    limit: self.shared.config.queue,
                },
                mpsc::error::TrySendError::Closed(_) => Error::Stopped,
            })
    }

    fn known_blobs(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.shared
            .known_blobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an empty database file that only its owner can read; SQLite gives its side files the same mode.
pub(crate) fn create_file(path: &Path) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .and_then(|_file| sync_folder(path))
        .map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
}

/// A file is only there after a power cut when its folder says so, too.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
