//! The lines of an export.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::{Digest, SerialNumber, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    chain::{Head, Instance, RawEntry},
    entry::{BlobKind, EntryKind},
};

/// The version of the format that is written here.
pub(super) const VERSION: u32 = 2;
/// The oldest that is read.
pub(super) const OLDEST: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Line {
    /// The first.
    Ledger {
        version: u32,
        instance: String,
        created_at: Timestamp,
        /// Where the exported part begins: its first entry follows this one.
        after: Head,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    },
    Blob {
        sequence: u64,
        kind: BlobKind,
        digest: Digest,
        bytes: String,
    },
    Entry(Box<EntryLine>),
    /// An entry from before the part.
    Earlier(Box<EntryLine>),
    /// The last. `digest` is the SHA-256 of all lines before it.
    End {
        entries: u64,
        blobs: u64,
        /// Not in version 1.
        #[serde(default, skip_serializing_if = "is_zero")]
        earlier: u64,
        head: Head,
        digest: Digest,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine {
    sequence: u64,
    kind: EntryKind,
    recorded_at: Timestamp,
    settled: u64,
    refers: Option<u64>,
    serial: Option<SerialNumber>,
    previous: Digest,
    hash: Digest,
    body: String,
}

impl EntryLine {
    /// `None` when the entry is not one that a ledger writes.
    pub(super) fn of(entry: &RawEntry) -> Option<Self> {
        let serial = entry
            .serial
            .as_deref()
            .map(SerialNumber::from_der_content)
            .transpose()
            .ok()?;
        Some(Self {
            sequence: entry.sequence,
            kind: entry.entry_kind().ok()?,
            recorded_at: entry.recorded_at,
            settled: entry.settled,
            refers: entry.refers,
            serial,
            previous: entry.previous,
            hash: entry.hash,
            body: STANDARD.encode(&entry.body),
        })
    }

    pub(super) fn entry(&self) -> Option<RawEntry> {
        Some(RawEntry {
            sequence: self.sequence,
            kind: self.kind.code(),
            recorded_at: self.recorded_at,
            refers: self.refers,
            settled: self.settled,
            serial: self.serial.as_ref().map(|serial| serial.as_bytes().to_vec()),
            body: decode(&self.body)?,
            previous: self.previous,
            hash: self.hash,
        })
    }
}

/// How the line of an entry begins. Nearly all lines are such lines, and those are read at a third of the cost: the
/// general form first gathers all members to find the one that says what the line is.
const ENTRY: &[u8] = br#"{"type":"entry","#;

/// The line of an entry, borrowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText<'a> {
    #[serde(rename = "type")]
    _tag: EntryTag,
    sequence: u64,
    kind: EntryKind,
    recorded_at: Timestamp,
    settled: u64,
    refers: Option<u64>,
    serial: Option<SerialNumber>,
    previous: Digest,
    hash: Digest,
    #[serde(borrow)]
    body: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum EntryTag {
    Entry,
}

/// A line, read.
pub(super) enum Read {
    /// `None` when its body or serial cannot be decoded.
    Entry(Option<RawEntry>),
    Other(Line),
}

pub(super) fn read(text: &[u8]) -> Result<Read, serde_json::Error> {
    if !text.starts_with(ENTRY) {
        return Ok(match serde_json::from_slice(text)? {
            Line::Entry(entry) => Read::Entry(entry.entry()),
            other => Read::Other(other),
        });
    }
    let line: EntryText<'_> = serde_json::from_slice(text)?;
    Ok(Read::Entry(decode(&line.body).map(|body| RawEntry {
        sequence: line.sequence,
        kind: line.kind.code(),
        recorded_at: line.recorded_at,
        refers: line.refers,
        settled: line.settled,
        serial: line.serial.map(|serial| serial.as_bytes().to_vec()),
        body,
        previous: line.previous,
        hash: line.hash,
    })))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(super) fn instance_text(instance: &Instance) -> String {
    hex::encode(instance.id)
}

pub(super) fn instance_of(text: &str, created_at: Timestamp) -> Option<Instance> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(Instance { id, created_at })
}
