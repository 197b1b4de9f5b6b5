//! What can be wrong with an export.

use crate::verify::Problem;

/// Why an export is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot be read.
    #[error("the export cannot be read")]
    Input(#[source] std::io::Error),
    /// It ends before its last line.
    #[error("the export is cut off")]
    Truncated,
    /// A line is far too long.
    #[error("line {line} is too long")]
    TooLong {
        /// The line.
        line: u64,
    },
    /// A line is not one of an export.
    #[error("line {line} is not a line of an export")]
    Syntax {
        /// The line.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A line stands where it may not.
    #[error("line {line} does not belong there")]
    Misplaced {
        /// The line.
        line: u64,
    },
    /// A value is not what it must be.
    #[error("line {line} holds a value that it cannot have")]
    Value {
        /// The line.
        line: u64,
    },
    /// The export is of a later version.
    #[error("the export has version {found}, this program knows {known}")]
    Version {
        /// Its version.
        found: u32,
        /// The version known here.
        known: u32,
    },
    /// The chain does not begin with the ledger's instance.
    #[error("the export does not begin at the beginning of its ledger")]
    Genesis,
    /// The bytes of a blob do not have its digest.
    #[error("the blob in line {line} does not have its digest")]
    Blob {
        /// The line.
        line: u64,
    },
    /// An entry is wrong.
    #[error("line {line}, entry {sequence}: {problem}")]
    Entry {
        /// The line.
        line: u64,
        /// The entry.
        sequence: u64,
        /// What is wrong.
        problem: Problem,
    },
    /// The last line does not fit what came before it.
    #[error("the last line does not vouch for the lines before it")]
    End,
}
