//! Why nothing is pruned, each with what would do.

use std::path::PathBuf;

use sealwright_identity::Timestamp;

use crate::{export::ExportError, reader::ReadError};

/// Why a pruning is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Ledger(#[from] ReadError),
    /// What the ledger holds is not what it held.
    #[error("the ledger is damaged: {0}; run log verify")]
    Damaged(&'static str),
    /// The time is not in the past.
    #[error("{before} lies in the future")]
    Future {
        /// The time that was asked for.
        before: Timestamp,
    },
    /// Something that would go is needed.
    #[error(
        "entry {sequence}, recorded {recorded_at}, is needed: {why}; prune before {recorded_at} or earlier"
    )]
    Needed {
        /// The first such entry.
        sequence: u64,
        /// When it was recorded: a time that would do.
        recorded_at: Timestamp,
        /// Why.
        why: Needed,
    },
    /// No export was named.
    #[error("entries {first} to {last} would go, and no export was named; write one with log export")]
    NoExport {
        /// The first entry.
        first: u64,
        /// The last entry.
        last: u64,
    },
    /// An export cannot be opened.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An export is not sound.
    #[error("{} is not a sound export", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ExportError,
    },
    /// An export is of another ledger.
    #[error("{} is an export of another ledger", path.display())]
    OtherLedger {
        /// The file.
        path: PathBuf,
    },
    /// An export has another entry than the ledger.
    #[error(
        "{}: entry {sequence} is not the one that the ledger has; run log verify, and keep both",
        path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// The entry.
        sequence: u64,
    },
    /// No export has these entries.
    #[error("entries {first} to {last} are in no export that was named; name the export that has them")]
    Gap {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// The exports end too early.
    #[error(
        "the exports end with entry {end}, and entries up to {last} would go; export those too, or prune before \
         {would_do} or earlier"
    )]
    Short {
        /// The last entry that an export has.
        end: u64,
        /// The last entry that would go.
        last: u64,
        /// A time that would do.
        would_do: Timestamp,
    },
    /// More exports than one record can name.
    #[error(
        "{found} exports hold what would go, and one pruning can name {limit}; prune in steps, an earlier time first"
    )]
    TooMany {
        /// How many.
        found: usize,
        /// How many can be.
        limit: usize,
    },
}

/// Why an entry must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Needed {
    /// The certificate is valid, and a renewal with it asks for its record.
    #[error("its certificate is valid until {0}")]
    Valid(Timestamp),
    /// Nobody knows until when.
    #[error("its certificate cannot be read, so nobody knows how long it is valid")]
    Unreadable,
    /// A start counts what was decided since then.
    #[error(
        "the set in force stops canaries by what was decided since it took effect, and each start counts that again"
    )]
    Counted,
    /// The decision is not settled.
    #[error("it is not settled: start the signer once, which settles it")]
    Open,
}
