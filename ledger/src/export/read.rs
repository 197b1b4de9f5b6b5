//! Reading an export, checking all of it on the way.

use std::{
    collections::HashMap,
    io::{BufRead, Read as _},
};

use sealwright_identity::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{
    ExportReport,
    lines::{Line, VERSION, decode, instance_of},
};
use crate::{
    body::BlobRef,
    chain::{Head, Instance, RawEntry},
    entry::BlobKind,
    verify::{Problem, check::ChainCheck},
};

/// A line longer than this is not of an export: a blob of 64 MiB in base64 is shorter.
const MAX_LINE: u64 = 96 * 1024 * 1024;

/// Checks a whole export.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn verify_export(input: impl BufRead) -> Result<ExportReport, ExportError> {
    let mut reader = ExportReader::open(input)?;
    while reader.next()?.is_some() {}
    reader.report().ok_or(ExportError::Truncated)
}

/// What the first line of an export says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportHeader {
    /// The ledger.
    pub instance: Instance,
    /// The entry before the first.
    pub after: Head,
    /// The part that was asked for.
    pub since: Option<Timestamp>,
    /// Its end.
    pub until: Option<Timestamp>,
}

/// Something that an export holds, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportItem {
    /// A blob; its bytes have this digest.
    Blob {
        /// SHA-256 of the bytes.
        digest: Digest,
        /// What it is.
        kind: BlobKind,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// An entry; it follows the one before.
    Entry(RawEntry),
}

/// Reads an export item by item. What it has handed out is only certain when [`Self::next`] has returned `None`: the
/// last line vouches for the whole.
#[derive(Debug)]
pub struct ExportReader<R> {
    input: R,
    line: u64,
    hash: Sha256,
    header: ExportHeader,
    chain: ChainCheck,
    head: Head,
    entries: u64,
    blobs: HashMap<u64, BlobRef>,
    ended: bool,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// When it is not that of an export that this version knows.
    pub fn open(mut input: R) -> Result<Self, ExportError> {
        let mut hash = Sha256::new();
        let text = read_line(&mut input, 1)?.ok_or(ExportError::Truncated)?;
        hash.update(&text);
        let Line::Ledger {
            version,
            instance,
            created_at,
            after,
            since,
            until,
        } = parse(&text, 1)?
        else {
            return Err(ExportError::Misplaced { line: 1 });
        };
        if version != VERSION {
            return Err(ExportError::Version {
                found: version,
                known: VERSION,
            });
        }
        let instance = instance_of(&instance, created_at).ok_or(ExportError::Value { line: 1 })?;
        if after.sequence == 0 && after.hash != instance.genesis() {
            return Err(ExportError::Genesis);
        }
        Ok(Self {
            input,
            line: 1,
            hash,
            header: ExportHeader {
                instance,
                after,
                since,
                until,
            },
            chain: ChainCheck::after(after),
            head: after,
            entries: 0,
            blobs: HashMap::new(),
            ended: false,
        })
    }

    /// What the first line says.
    #[must_use]
    pub fn header(&self) -> ExportHeader {
        self.header
    }

    /// The next item; `None` when the export is read and found whole.
    ///
    /// # Errors
    /// What is wrong with it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<ExportItem>, ExportError> {
        if self.ended {
            return Ok(None);
        }
        self.line += 1;
        let line = self.line;
        let text = read_line(&mut self.input, line)?.ok_or(ExportError::Truncated)?;
        match parse(&text, line)? {
            Line::Ledger { .. } => Err(ExportError::Misplaced { line }),
            Line::Blob {
                sequence,
                kind,
                digest,
                bytes,
            } => {
                self.hash.update(&text);
                self.blob(sequence, kind, digest, &bytes).map(Some)
            }
            Line::Entry(entry) => {
                self.hash.update(&text);
                let entry = entry.entry().ok_or(ExportError::Value { line })?;
                self.entry(entry).map(Some)
            }
            end @ Line::End { .. } => {
                self.end(&end, &text)?;
                Ok(None)
            }
        }
    }

    /// What the export holds, once all of it was read.
    #[must_use]
    pub fn report(&self) -> Option<ExportReport> {
        self.ended.then(|| ExportReport {
            entries: self.entries,
            blobs: u64::try_from(self.blobs.len()).unwrap_or(u64::MAX),
            after: self.header.after,
            head: self.head,
        })
    }

    fn blob(
        &mut self,
        sequence: u64,
        kind: BlobKind,
        digest: Digest,
        bytes: &str,
    ) -> Result<ExportItem, ExportError> {
        let line = self.line;
        if self.entries > 0 {
            return Err(ExportError::Misplaced { line });
        }
        let bytes = decode(bytes).ok_or(ExportError::Value { line })?;
        if Digest::of(&bytes) != digest {
            return Err(ExportError::Blob { line });
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self
            .blobs
            .insert(sequence, BlobRef { digest, kind, size })
            .is_some()
        {
            return Err(ExportError::Misplaced { line });
        }
        Ok(ExportItem::Blob { digest, kind, bytes })
    }

    fn entry(&mut self, entry: RawEntry) -> Result<ExportItem, ExportError> {
        let mut problems = Vec::new();
        let seen = self.chain.next(&entry, &mut problems);
        if let Some(blob) = seen.blob {
            match self.blobs.get(&entry.sequence) {
                None => problems.push(Problem::BlobMissing),
                Some(found) if *found != blob => problems.push(Problem::BlobDiffers),
                Some(_) => {}
            }
        } else if self.blobs.contains_key(&entry.sequence) {
            problems.push(Problem::BlobDiffers);
        }
        if let Some(problem) = problems.into_iter().next() {
            return Err(ExportError::Entry {
                line: self.line,
                sequence: entry.sequence,
                problem,
            });
        }
        self.entries += 1;
        self.head = entry.head();
        Ok(ExportItem::Entry(entry))
    }

    fn end(&mut self, end: &Line, text: &[u8]) -> Result<(), ExportError> {
        let due = Line::End {
            entries: self.entries,
            blobs: u64::try_from(self.blobs.len()).unwrap_or(u64::MAX),
            head: self.head,
            digest: Digest::from_bytes(self.hash.clone().finalize().into()),
        };
        let mut due = serde_json::to_vec(&due).map_err(|source| ExportError::Syntax {
            line: self.line,
            source,
        })?;
        due.push(b'\n');
        let beyond = self.blobs.keys().any(|sequence| *sequence > self.head.sequence);
        if due != text || beyond || !matches!(end, Line::End { .. }) {
            return Err(ExportError::End);
        }
        if read_line(&mut self.input, self.line + 1)?.is_some() {
            return Err(ExportError::Misplaced { line: self.line + 1 });
        }
        self.ended = true;
        Ok(())
    }
}

fn read_line(input: &mut impl BufRead, line: u64) -> Result<Option<Vec<u8>>, ExportError> {
    let mut text = Vec::new();
    input
        .take(MAX_LINE)
        .read_until(b'\n', &mut text)
        .map_err(ExportError::Input)?;
    match text.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(text)),
        Some(_) if u64::try_from(text.len()).is_ok_and(|length| length >= MAX_LINE) => {
            Err(ExportError::TooLong { line })
        }
        Some(_) => Err(ExportError::Truncated),
    }
}

fn parse(text: &[u8], line: u64) -> Result<Line, ExportError> {
    serde_json::from_slice(text).map_err(|source| ExportError::Syntax { line, source })
}

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
