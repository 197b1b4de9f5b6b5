//! What a verification can find.

use crate::{codec::CodecError, reader::MalformedRow};

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Entries are missing, or out of order.
    #[error("the entry that belongs here has sequence {expected}")]
    Gap {
        /// The sequence that was due.
        expected: u64,
    },
    /// `previous` is not the hash of the entry before.
    #[error("it does not follow the entry before it")]
    Link,
    /// The columns do not give the hash.
    #[error("its content does not give its hash")]
    Hash,
    /// The body cannot be read.
    #[error("its body cannot be read: {0}")]
    Body(CodecError),
    /// A column is there that its kind does not have, or the other way about.
    #[error("its columns do not fit its kind")]
    Shape,
    /// `settled` is not what the entries before it give.
    #[error("it does not say that all before {expected} is settled")]
    Settled {
        /// What they give.
        expected: u64,
    },
    /// It settles what is not an open decision.
    #[error("it settles {decision}, which is not an open decision")]
    NotOpen {
        /// What it names.
        decision: u64,
    },
    /// More decisions are open than a ledger lets wait.
    #[error("far more decisions are open than a ledger lets wait")]
    TooManyOpen,
    /// The certificate is not made of what was decided.
    #[error("its certificate is not the one decided on in {decision}")]
    Certificate {
        /// The decision.
        decision: u64,
    },
    /// A row cannot be read as one.
    #[error("{0}")]
    Row(MalformedRow),
    /// A name of the entry does not lead to it.
    #[error("it is not found under its names")]
    Lookup,
    /// There are lookups that no entry has.
    #[error("{found} lookups are there, {expected} are due")]
    Lookups {
        /// Rows.
        found: i64,
        /// What the entries have.
        expected: i64,
    },
    /// The blob of the entry is not there.
    #[error("its blob is missing")]
    BlobMissing,
    /// The blob of the entry is another.
    #[error("its blob does not have the recorded digest, kind or size")]
    BlobDiffers,
    /// What a pruning says does not hold.
    #[error("pruned: {0}")]
    Pruning(&'static str),
    /// There are blobs that no entry has.
    #[error("{found} blobs are there, {expected} are due")]
    Blobs {
        /// Rows.
        found: i64,
        /// What the entries have.
        expected: i64,
    },
    /// The instance row does not give its genesis hash.
    #[error("the ledger's instance does not give its genesis hash")]
    Instance,
    /// The counter of SQLite does not point at the last entry: entries were cut off.
    #[error("the last entry is {last}, and {counter} were written")]
    Counter {
        /// The last sequence.
        last: i64,
        /// The counter; -1 when there is none.
        counter: i64,
    },
    /// The ledger does not hold what was there before.
    #[error("entry {sequence} is not the one that was there before: the ledger was cut off or replaced")]
    Earlier {
        /// The head that was kept.
        sequence: u64,
    },
    /// The entry of a head that was kept elsewhere went by a pruning: its hash stands in exports only.
    #[error(
        "entry {sequence}, whose hash was kept, was pruned by entry {by}: compare it with an export that has the entry"
    )]
    HeadPruned {
        /// The head that was kept.
        sequence: u64,
        /// The pruning.
        by: u64,
    },
    /// A table, index or trigger was taken away, changed or added.
    #[error("the schema differs: {0}")]
    Schema(String),
    /// SQLite finds the file damaged.
    #[error("the database is damaged: {0}")]
    Database(String),
}
