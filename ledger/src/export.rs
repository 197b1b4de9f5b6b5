//! Exports: a part of the ledger as JSON lines, checked and executed again without a database.
//!
//! The first line names the ledger and the entry before the part (`after`, where it hooks into the chain). Then come the
//! entries of the part, every column of them, and between them what they need: `blob` lines (each with its digest, before
//! the first entry that names it) and `earlier` lines, entries from before the part: the last start, every change of what
//! decides, every pruning, and whatever vouches for a blob that was stored earlier. The last line has the counts, the head and the SHA-256 of all lines before it. So a
//! changed byte shows, wherever it is, and the chain says that no entry is missing in between.
//!
//! What an earlier entry cannot have is a place in the part's chain: its own hash is checked, and the hash of an entry is
//! in the export of its own time. Whoever keeps all exports can compare them.
//!
//! A part by time is the shortest run of entries that holds all that was recorded in it, and the entries that settle
//! decisions of it: it may hold more, never less.
//!
//! Version 2 is written; version 1 (all blobs first, nothing vouched for before the part) is still read.

mod lines;
mod read;
mod write;

use serde::Serialize;

use crate::chain::Head;
pub use read::{BlobPlace, ExportError, ExportHeader, ExportItem, ExportReader, verify_export};

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Entries of the part.
    pub entries: u64,
    /// Blobs.
    pub blobs: u64,
    /// Entries from before the part.
    pub earlier: u64,
    /// The entry before the first one; sequence 0 when it begins at the beginning.
    pub after: Head,
    /// The last entry.
    pub head: Head,
}
