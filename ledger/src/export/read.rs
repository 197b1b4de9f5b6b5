//! Reading an export, checking all of it on the way.

mod error;

use std::{
    collections::HashMap,
    io::{BufRead, Read as _, Seek, SeekFrom},
};

use sealwright_identity::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{
    ExportReport,
    lines::{self, Line, OLDEST, Read, VERSION, decode, instance_of},
};
use crate::{
    body::{BlobRef, Body},
    chain::{Head, Instance, RawEntry},
    entry::BlobKind,
    verify::{Problem, check::ChainCheck},
};
pub use error::ExportError;

/// A line longer than this is not of an export: a blob of 64 MiB in base64 is shorter.
const MAX_LINE: u64 = 96 * 1024 * 1024;
/// The same for an entry: a record has some kilobytes, at most 64 by default.
const MAX_ENTRY_LINE: u64 = 8 * 1024 * 1024;
/// Room that is kept for the next line; an entry has some kilobytes.
const KEEP_LINE: usize = 1 << 20;
/// More blobs, or more entries from before the part, than any ledger has.
const MAX_CONTEXT: usize = 1_000_000;

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
    /// Version of the format.
    pub version: u32,
    /// The ledger.
    pub instance: Instance,
    /// The entry before the first.
    pub after: Head,
    /// The part that was asked for.
    pub since: Option<Timestamp>,
    /// Its end.
    pub until: Option<Timestamp>,
}

/// Where a blob's line is, so that its bytes need not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobPlace {
    /// First byte of the line.
    pub offset: u64,
    /// SHA-256 of the blob.
    pub digest: Digest,
}

impl BlobPlace {
    /// Reads the blob's bytes again.
    ///
    /// # Errors
    /// When they are no longer there.
    pub fn read(&self, input: &mut (impl BufRead + Seek)) -> Result<Vec<u8>, ExportError> {
        input
            .seek(SeekFrom::Start(self.offset))
            .map_err(ExportError::Input)?;
        let mut text = Vec::new();
        read_line(input, 0, &mut text)?;
        match parse(&text, 0)? {
            Read::Other(Line::Blob { bytes, .. }) => decode(&bytes)
                .filter(|bytes| Digest::of(bytes) == self.digest)
                .ok_or(ExportError::Blob { line: 0 }),
            _ => Err(ExportError::Misplaced { line: 0 }),
        }
    }
}

/// Something that an export holds, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportItem {
    /// A blob; its bytes have this digest.
    Blob {
        /// Where its line is.
        place: BlobPlace,
        /// What it is.
        kind: BlobKind,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// An entry from before the part. Its own hash is right; where it stood in the chain does not show.
    Earlier(RawEntry, Body),
    /// An entry with its body; it follows the one before.
    Entry(RawEntry, Body),
}

/// Reads an export item by item. What it has handed out is only certain when [`Self::next`] has returned `None`: the
/// last line vouches for the whole.
#[derive(Debug)]
pub struct ExportReader<R> {
    input: R,
    line: u64,
    /// Bytes before the line that is next.
    offset: u64,
    text: Vec<u8>,
    hash: Sha256,
    header: ExportHeader,
    chain: ChainCheck,
    head: Head,
    entries: u64,
    blobs: HashMap<u64, BlobRef>,
    /// Entries from before the part: the hash, and the blob that it vouches for.
    earlier: HashMap<u64, (Digest, Option<BlobRef>)>,
    ended: bool,
    file: Option<Digest>,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// When it is not that of an export that this version knows.
    pub fn open(mut input: R) -> Result<Self, ExportError> {
        let mut hash = Sha256::new();
        let mut text = Vec::new();
        if !read_line(&mut input, 1, &mut text)? {
            return Err(ExportError::Truncated);
        }
        hash.update(&text);
        let Read::Other(Line::Ledger {
            version,
            instance,
            created_at,
            after,
            since,
            until,
        }) = parse(&text, 1)?
        else {
            return Err(ExportError::Misplaced { line: 1 });
        };
        if !(OLDEST..=VERSION).contains(&version) {
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
            offset: length(&text),
            text,
            hash,
            header: ExportHeader {
                version,
                instance,
                after,
                since,
                until,
            },
            chain: ChainCheck::after(after),
            head: after,
            entries: 0,
            blobs: HashMap::new(),
            earlier: HashMap::new(),
            ended: false,
            file: None,
        })
    }

    /// What the first line says.
    #[must_use]
    pub fn header(&self) -> ExportHeader {
        self.header
    }

    /// Bytes that were read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
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
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.shrink_to(KEEP_LINE);
        let item = self.item(&mut text);
        self.text = text;
        item
    }

    /// What the export holds, once all of it was read.
    #[must_use]
    pub fn report(&self) -> Option<ExportReport> {
        self.ended.then(|| self.counted())
    }

    /// SHA-256 of the whole file, as `sha256sum` prints it, once all of it was read.
    #[must_use]
    pub fn file_digest(&self) -> Option<Digest> {
        self.file
    }

    fn item(&mut self, text: &mut Vec<u8>) -> Result<Option<ExportItem>, ExportError> {
        let line = self.line;
        if !read_line(&mut self.input, line, text)? {
            return Err(ExportError::Truncated);
        }
        let offset = self.offset;
        self.offset += length(text);
        let read = parse(text, line)?;
        if !matches!(read, Read::Other(Line::End { .. })) {
            self.hash.update(&*text);
        }
        match read {
            Read::Entry(_) | Read::Other(Line::Earlier(_)) if length(text) > MAX_ENTRY_LINE => {
                Err(ExportError::TooLong { line })
            }
            Read::Entry(entry) => {
                let entry = entry.ok_or(ExportError::Value { line })?;
                self.entry(entry).map(Some)
            }
            Read::Other(Line::Earlier(entry)) => {
                let entry = entry.entry().ok_or(ExportError::Value { line })?;
                self.earlier(entry).map(Some)
            }
            Read::Other(Line::Blob {
                sequence,
                kind,
                digest,
                bytes,
            }) => {
                let place = BlobPlace { offset, digest };
                self.blob(sequence, kind, place, &bytes).map(Some)
            }
            Read::Other(Line::End { .. }) => {
                self.end(text)?;
                Ok(None)
            }
            Read::Other(Line::Ledger { .. } | Line::Entry(_)) => Err(ExportError::Misplaced { line }),
        }
    }

    fn blob(
        &mut self,
        sequence: u64,
        kind: BlobKind,
        place: BlobPlace,
        bytes: &str,
    ) -> Result<ExportItem, ExportError> {
        let line = self.line;
        let bytes = decode(bytes).ok_or(ExportError::Value { line })?;
        if Digest::of(&bytes) != place.digest {
            return Err(ExportError::Blob { line });
        }
        let blob = BlobRef {
            digest: place.digest,
            kind,
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        // Whatever vouches for it: an earlier entry, or one that is still to come.
        let vouched = match (self.header.version, self.earlier.get(&sequence)) {
            (1, _) => self.entries == 0,
            (_, Some((_, vouched))) => *vouched == Some(blob),
            (_, None) => sequence > self.head.sequence,
        };
        if !vouched || self.blobs.len() >= MAX_CONTEXT || self.blobs.insert(sequence, blob).is_some() {
            return Err(ExportError::Misplaced { line });
        }
        Ok(ExportItem::Blob { place, kind, bytes })
    }

    fn earlier(&mut self, entry: RawEntry) -> Result<ExportItem, ExportError> {
        let line = self.line;
        let after = self.header.after;
        let sequence = entry.sequence;
        if !(1..=after.sequence).contains(&sequence)
            || self.header.version == 1
            || self.earlier.len() >= MAX_CONTEXT
        {
            return Err(ExportError::Misplaced { line });
        }
        let wrong = |problem| ExportError::Entry {
            line,
            sequence,
            problem,
        };
        if entry.computed_hash() != entry.hash {
            return Err(wrong(Problem::Hash));
        }
        let before = match sequence - 1 {
            0 => Some(self.header.instance.genesis()),
            before => self.earlier.get(&before).map(|(hash, _)| *hash),
        };
        if before.is_some_and(|before| before != entry.previous)
            || sequence == after.sequence && entry.hash != after.hash
        {
            return Err(wrong(Problem::Link));
        }
        let body = entry.body().map_err(|error| wrong(Problem::Body(error)))?;
        self.pruning(&body).map_err(wrong)?;
        let vouches = match (&body, entry.entry_kind()) {
            (Body::Blob(blob), _) => Some(*blob),
            (Body::Decision(_), _) => return Err(ExportError::Misplaced { line }),
            (_, Ok(kind)) if kind.settles() => return Err(ExportError::Misplaced { line }),
            _ => None,
        };
        if entry.serial.is_some() || entry.refers.is_some() {
            return Err(wrong(Problem::Shape));
        }
        if self.earlier.insert(sequence, (entry.hash, vouches)).is_some() {
            return Err(ExportError::Misplaced { line });
        }
        Ok(ExportItem::Earlier(entry, body))
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
        if let Some(Err(problem)) = seen.body.as_ref().map(|body| self.pruning(body)) {
            problems.push(problem);
        }
        let (Some(body), None) = (seen.body, problems.first()) else {
            return Err(ExportError::Entry {
                line: self.line,
                sequence: entry.sequence,
                problem: problems.into_iter().next().unwrap_or(Problem::Shape),
            });
        };
        self.entries += 1;
        self.head = entry.head();
        Ok(ExportItem::Entry(entry, body))
    }

    /// What a pruning took is from before the part: the part was written from what was left.
    fn pruning(&self, body: &Body) -> Result<(), Problem> {
        let Body::Prune(pruning) = body else { return Ok(()) };
        let after = self.header.after;
        let same = pruning.last.sequence < after.sequence || pruning.last == after;
        if same {
            Ok(())
        } else {
            Err(Problem::Pruning("it names what the export holds"))
        }
    }

    fn end(&mut self, text: &[u8]) -> Result<(), ExportError> {
        let report = self.counted();
        let due = Line::End {
            entries: report.entries,
            blobs: report.blobs,
            earlier: report.earlier,
            head: report.head,
            digest: Digest::from_bytes(self.hash.clone().finalize().into()),
        };
        let mut due = serde_json::to_vec(&due).map_err(|source| ExportError::Syntax {
            line: self.line,
            source,
        })?;
        due.push(b'\n');
        let mut file = self.hash.clone();
        file.update(text);
        let beyond = self.blobs.keys().any(|sequence| *sequence > self.head.sequence);
        if due != text || beyond {
            return Err(ExportError::End);
        }
        let mut more = Vec::new();
        if read_line(&mut self.input, self.line + 1, &mut more)? {
            return Err(ExportError::Misplaced { line: self.line + 1 });
        }
        self.file = Some(Digest::from_bytes(file.finalize().into()));
        self.ended = true;
        Ok(())
    }

    fn counted(&self) -> ExportReport {
        ExportReport {
            entries: self.entries,
            blobs: u64::try_from(self.blobs.len()).unwrap_or(u64::MAX),
            earlier: u64::try_from(self.earlier.len()).unwrap_or(u64::MAX),
            after: self.header.after,
            head: self.head,
        }
    }
}

/// Whether there was a line.
fn read_line(input: &mut impl BufRead, line: u64, text: &mut Vec<u8>) -> Result<bool, ExportError> {
    input
        .take(MAX_LINE)
        .read_until(b'\n', text)
        .map_err(ExportError::Input)?;
    match text.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if length(text) >= MAX_LINE => Err(ExportError::TooLong { line }),
        Some(_) => Err(ExportError::Truncated),
    }
}

fn length(text: &[u8]) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

fn parse(text: &[u8], line: u64) -> Result<Read, ExportError> {
    lines::read(text).map_err(|source| ExportError::Syntax { line, source })
}
