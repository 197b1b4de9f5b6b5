//! What canaries came to before this start: counted again from the records since their set took effect.
//!
//! Beside the serving, since there may be many records. Until it is done no bound is judged; what is decided meanwhile
//! is counted as ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealwright_identity::Digest;
use sealwright_ledger::{Body, EntryKind, LedgerReader, RawEntry, ReadError};
use sealwright_statement::Sealed;
use sealwright_statement::policy::{Revisions, Set};
use tracing::info;

use super::super::history::History;
use super::{Counters, Known};

/// Entries that are read at once.
const PIECE: u32 = 256;

/// Records that were there at the start.
#[derive(Debug)]
pub(in crate::server::policies) struct Uncounted {
    set: Sealed<Set>,
    revisions: Revisions,
    counters: Arc<Counters>,
    /// The last entry that is to be counted.
    until: u64,
    /// Up to here it was counted.
    counted: u64,
    /// What was stopped up to there.
    stopped: BTreeSet<Digest>,
}

impl Uncounted {
    /// Of the set in force; `None` where nothing is bounded.
    pub(in crate::server::policies) fn of(history: &History, until: u64) -> Option<Self> {
        let active = history.active()?;
        Some(Self {
            set: active.set.clone(),
            revisions: history.revisions_of(&active.set),
            counters: Arc::clone(active.counters.as_ref()?),
            until,
            counted: active.sequence,
            stopped: BTreeSet::new(),
        })
    }

    /// The set that it is about.
    pub(super) fn number(&self) -> u64 {
        self.set.number
    }

    /// Counts the next of them; true when there are no more. A failure counts none of them.
    pub(super) async fn piece(&mut self, reader: &LedgerReader) -> Result<bool, ReadError> {
        if self.counted >= self.until {
            return Ok(true);
        }
        let piece = reader.entries_after(self.counted, PIECE).await?;
        let until = self.until;
        for raw in piece.iter().take_while(|raw| raw.sequence <= until) {
            self.entry(raw);
        }
        self.counted = piece.last().map_or(self.until, |last| last.sequence);
        let all = self.counted >= self.until;
        if all {
            info!(
                number = self.set.number,
                "what canaries came to before this start is counted"
            );
        }
        Ok(all)
    }

    fn entry(&mut self, raw: &RawEntry) {
        match raw.entry_kind() {
            Ok(EntryKind::Decision | EntryKind::Denied | EntryKind::Policy) => {}
            _ => return,
        }
        match raw.body() {
            Ok(Body::Decision(record)) => {
                let known = Known {
                    set: &self.set,
                    revisions: &self.revisions,
                    stopped: &self.stopped,
                };
                self.counters
                    .count(&known.tally_of(&record.identities, &record.evidence));
            }
            Ok(Body::Policy(change)) => {
                self.stopped.extend(change.stopped.map(|stop| stop.revision));
            }
            _ => {}
        }
    }
}
