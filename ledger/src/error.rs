//! What can go wrong when the ledger is opened and written.

use std::path::PathBuf;

use sealwright_identity::SerialNumber;

/// A failure of the write side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the ledger open for writing.
    #[error("the ledger {} is held by {}", path.display(), holder(*pid))]
    Held {
        /// The ledger.
        path: PathBuf,
        /// The process that holds it, if it wrote its id into the lock file.
        pid: Option<u32>,
    },
    /// A file could not be opened or made.
    #[error("cannot open {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open the ledger {}", path.display())]
    Open {
        /// The ledger.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database was written by a later version.
    #[error("the ledger {} has schema {found}, this version knows up to {known}", path.display())]
    TooNew {
        /// The ledger.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The last schema known here.
        known: i64,
    },
    /// The file is a database, but not a ledger.
    #[error("{} is not a Sealwright ledger", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The system generator gave no instance id.
    #[error("the system's random generator failed")]
    Random,
    /// What is in the ledger does not fit together.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// The entry lacks something or contradicts itself.
    #[error("the entry cannot be recorded: {0}")]
    Invalid(&'static str),
    /// The entry is too large.
    #[error("the record has {size} bytes, allowed are {limit}")]
    TooLarge {
        /// Bytes of the body.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// A decision with this serial is in the ledger.
    #[error("serial {serial} is in the ledger already")]
    SerialTaken {
        /// The serial.
        serial: SerialNumber,
    },
    /// More records came than are allowed in a second.
    #[error("more than {per_second} records a second")]
    RateLimited {
        /// The bound.
        per_second: u32,
    },
    /// The disk is nearly full; nothing more is decided.
    #[error("the disk of the ledger has {available} bytes left, kept in reserve are {reserve}")]
    DiskReserve {
        /// Bytes left for this user.
        available: u64,
        /// Bytes that are kept free.
        reserve: u64,
    },
    /// The queue of the writer, or the set of open decisions, is full.
    #[error("the ledger's queue of {limit} is full")]
    Overloaded {
        /// Its size.
        limit: usize,
    },
    /// The decision is not in the ledger, or is settled.
    #[error("entry {decision} is not a decision that waits for its certificate")]
    NotPending {
        /// The sequence that was named.
        decision: u64,
    },
    /// The certificate is not made of the bytes that were recorded.
    #[error("the certificate is not the one that entry {decision} decided on")]
    OtherCertificate {
        /// The decision.
        decision: u64,
    },
    /// The entry was not written; the ledger is as before and goes on.
    #[error("the entry was not written")]
    NotWritten(#[source] SharedSource),
    /// Whether the entry was written is not known. The writer has ended: end the process and start again.
    #[error("writing to the ledger failed; the writer has ended")]
    Fatal(#[source] SharedSource),
    /// The writer has ended.
    #[error("the ledger's writer has ended")]
    Stopped,
}

impl Error {
    /// A stable word for metrics and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::File { .. } | Self::Open { .. } => "open",
            Self::TooNew { .. } => "too_new",
            Self::NotALedger { .. } => "not_a_ledger",
            Self::Random => "random",
            Self::Damaged(_) => "damaged",
            Self::Invalid(_) => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::SerialTaken { .. } => "serial_taken",
            Self::RateLimited { .. } => "rate_limited",
            Self::DiskReserve { .. } => "disk_reserve",
            Self::Overloaded { .. } => "overloaded",
            Self::NotPending { .. } => "not_pending",
            Self::OtherCertificate { .. } => "other_certificate",
            Self::NotWritten(_) => "not_written",
            Self::Fatal(_) => "fatal",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the process must end: the writer is gone, and only a new start finds out what was written.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Fatal(_) | Self::Stopped)
    }

    /// Whether opening the same ledger may succeed later: something else locks it, its disk is full, or cannot be written
    /// or read.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::File { .. } | Self::Open { .. } | Self::Fatal(_) | Self::Stopped
        ) || self.is_retryable()
    }

    /// Whether the same entry may succeed a little later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Overloaded { .. }
                | Self::DiskReserve { .. }
                | Self::NotWritten(_)
        )
    }
}

/// One database error that several callers are told of.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct SharedSource(std::sync::Arc<sqlx::Error>);

impl From<sqlx::Error> for SharedSource {
    fn from(error: sqlx::Error) -> Self {
        Self(std::sync::Arc::new(error))
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
