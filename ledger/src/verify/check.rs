//! The rules that entries obey one after another: shared by the verification of a database and of an export.

use std::collections::BTreeMap;

use sealwright_identity::Digest;

use super::Problem;
use crate::{
    body::{BlobRef, Body},
    chain::{Head, RawEntry, identity_tags},
    entry::EntryKind,
};

/// Follows a chain.
#[derive(Debug)]
pub(crate) struct ChainCheck {
    next: u64,
    previous: Option<Digest>,
    first: u64,
    /// Open decisions and their to-be-signed bytes.
    open: BTreeMap<u64, Vec<u8>>,
}

/// What an entry asks to be looked at elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) blob: Option<BlobRef>,
    pub(crate) tags: Vec<i64>,
    /// The entry's body, if it can be read.
    pub(crate) body: Option<Body>,
}

/// An entry whose neighbours are gone: what can be said of its body.
pub(crate) fn alone(entry: &RawEntry, problems: &mut Vec<Problem>) -> Seen {
    match entry.body() {
        Ok(body) => Seen {
            blob: match &body {
                Body::Blob(blob) => Some(*blob),
                _ => None,
            },
            body: Some(body),
            ..Seen::default()
        },
        Err(error) => {
            problems.push(Problem::Body(error));
            Seen::default()
        }
    }
}

/// Several times as many decisions as a ledger lets wait: more, and a file is made to fill the memory of its reader.
const MAX_OPEN: usize = 1 << 17;

impl ChainCheck {
    /// Begins after an entry (or at the genesis).
    pub(crate) fn after(head: Head) -> Self {
        let next = head.sequence.saturating_add(1);
        Self {
            next,
            previous: Some(head.hash),
            first: next,
            open: BTreeMap::new(),
        }
    }

    pub(crate) fn open_decisions(&self) -> usize {
        self.open.len()
    }

    /// The entry at this place could not be read: the link to the next one is not known.
    pub(crate) fn skip(&mut self, sequence: Option<u64>) {
        self.next = sequence.unwrap_or(self.next).saturating_add(1);
        self.previous = None;
    }

    /// Looks at the next entry.
    pub(crate) fn next(&mut self, entry: &RawEntry, problems: &mut Vec<Problem>) -> Seen {
        if entry.sequence != self.next {
            problems.push(Problem::Gap { expected: self.next });
        } else if self.previous.is_some_and(|previous| previous != entry.previous) {
            problems.push(Problem::Link);
        }
        if entry.computed_hash() != entry.hash {
            problems.push(Problem::Hash);
        }
        self.next = entry.sequence.saturating_add(1);
        self.previous = Some(entry.hash);
        match (entry.entry_kind(), entry.body()) {
            (Ok(kind), Ok(body)) => self.content(entry, kind, body, problems),
            (Err(error), _) | (_, Err(error)) => {
                problems.push(Problem::Body(error));
                Seen::default()
            }
        }
    }

    fn content(
        &mut self,
        entry: &RawEntry,
        kind: EntryKind,
        body: Body,
        problems: &mut Vec<Problem>,
    ) -> Seen {
        if entry.serial.is_some() != (kind == EntryKind::Decision) || entry.refers.is_some() != kind.settles()
        {
            problems.push(Problem::Shape);
        }
        let mut seen = Seen::default();
        if let Some(decision) = entry.refers {
            self.settle(decision, &body, problems);
        }
        match &body {
            Body::Decision(decision) => {
                seen.tags = identity_tags(&decision.identities);
                if kind == EntryKind::Decision {
                    if self.open.len() >= MAX_OPEN {
                        problems.push(Problem::TooManyOpen);
                        self.open.clear();
                    }
                    self.open.insert(entry.sequence, decision.tbs.clone());
                }
            }
            Body::Blob(blob) => seen.blob = Some(*blob),
            _ => {}
        }
        seen.body = Some(body);
        // In a part of a chain, decisions before its begin may be open too.
        let oldest = self
            .open
            .first_key_value()
            .map_or(self.next, |(oldest, _)| *oldest);
        if self.first == 1 && entry.settled != oldest || entry.settled > oldest {
            problems.push(Problem::Settled { expected: oldest });
        }
        seen
    }

    fn settle(&mut self, decision: u64, body: &Body, problems: &mut Vec<Problem>) {
        match (self.open.remove(&decision), body) {
            (None, _) if decision < self.first => {}
            (None, _) => problems.push(Problem::NotOpen { decision }),
            (Some(tbs), Body::Certificate(part)) if part.certificate(&tbs).is_none() => {
                problems.push(Problem::Certificate { decision });
            }
            _ => {}
        }
    }
}
