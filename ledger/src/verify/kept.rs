//! An end of the chain that was kept elsewhere, and whether the ledger still has it.
//!
//! It is not believed to have been pruned because a pruning says so: whoever wrote the whole chain anew writes prunings,
//! too. That the entry went is a finding of its own, which says where to look.

use super::{Problem, pruned::Before};
use crate::chain::Head;

/// A head that is looked for.
#[derive(Debug)]
pub(super) struct Kept {
    /// `None` once it was met, or where none was kept.
    wanted: Option<Head>,
    /// Whether a row has its sequence.
    has_row: bool,
}

impl Kept {
    pub(super) fn new(wanted: Option<Head>) -> Self {
        Self {
            wanted,
            has_row: false,
        }
    }

    /// A row is there, whatever is in it.
    pub(super) fn row(&mut self, sequence: Option<u64>) {
        self.has_row |= self
            .wanted
            .is_some_and(|wanted| sequence == Some(wanted.sequence));
    }

    /// The chain was here.
    pub(super) fn meet(&mut self, head: Head) {
        if self.wanted == Some(head) {
            self.wanted = None;
        }
    }

    /// Once all was seen: what it means that it was not met.
    pub(super) fn missing(&self, before: Option<&Before>) -> Option<Problem> {
        let sequence = self.wanted?.sequence;
        let by = before
            .filter(|_| !self.has_row)
            .and_then(|before| before.took(sequence));
        Some(match by {
            Some(by) => Problem::HeadPruned { sequence, by },
            None => Problem::Earlier { sequence },
        })
    }
}
