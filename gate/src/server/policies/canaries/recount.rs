//! What canaries came to before this start: counted again from the records since their set took effect.
//!
//! Beside the serving, since there may be many records. Until it is done no bound is judged; what is decided meanwhile
//! is counted as ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
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
    progress: Mutex<Progress>,
}

/// How far it has come.
#[derive(Clone, Debug)]
struct Progress {
    sequence: u64,
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
            progress: Mutex::new(Progress {
                sequence: active.sequence,
                stopped: BTreeSet::new(),
            }),
        })
    }

    /// Counts them; goes on where an earlier attempt failed.
    pub(super) async fn count(&self, reader: &LedgerReader) -> Result<(), ReadError> {
        let mut progress = self.progress.lock().clone();
        let first = progress.sequence;
        while progress.sequence < self.until {
            let piece = reader.entries_after(progress.sequence, PIECE).await?;
            let Some(last) = piece.last() else { break };
            let after = last.sequence;
            for raw in piece.iter().take_while(|raw| raw.sequence <= self.until) {
                self.entry(raw, &mut progress.stopped);
            }
            progress.sequence = after;
            *self.progress.lock() = progress.clone();
            tokio::task::yield_now().await;
        }
        if first < self.until {
            info!(
                number = self.set.number,
                "what canaries came to before this start is counted"
            );
        }
        Ok(())
    }

    fn entry(&self, raw: &RawEntry, stopped: &mut BTreeSet<Digest>) {
        match raw.entry_kind() {
            Ok(EntryKind::Decision | EntryKind::Denied | EntryKind::Policy) => {}
            _ => return,
        }
        match raw.body() {
            Ok(Body::Decision(record)) => {
                let known = Known {
                    set: &self.set,
                    revisions: &self.revisions,
                    stopped,
                };
                self.counters
                    .count(&known.tally_of(&record.identities, &record.evidence));
            }
            Ok(Body::Policy(change)) => stopped.extend(change.stopped.map(|stop| stop.revision)),
            _ => {}
        }
    }
}
