//! Pruning: taking old entries out of the ledger once an export has them, so that what stays is verified as before.
//!
//! # What goes and what stays
//!
//! What goes is a whole prefix of the chain, of the entries about requests: decisions, certificates, denials, refusals,
//! failures. What is not about a request never goes: starts, changes of what decides, ceremonies, blobs (modules, settings,
//! statements, reports, sources, chains, engine profiles, transcripts) and prunings.
//!
//! # How it stays verifiable
//!
//! A pruning is an entry of the chain itself, written *before* anything goes. It names the last entry that goes with its
//! hash, from which the rest of the chain is verified on; the entries before it that stay, by one digest over their
//! sequences and hashes; the serials of the decisions that go, by another (they are kept in the table `removed`, so that
//! a serial is decided on once, for ever); and the exports that hold what goes, by the SHA-256 of their files.
//!
//! What it is not: a licence by itself. [`PrunePlan`] is the only way to such an entry, and it is made only when the
//! exports were read whole, follow each other without a gap, and hold every entry that goes as the ledger has it; when
//! no decision that goes is open; and when no certificate that goes is still valid.
//!
//! # When it is cut short
//!
//! Entries go in ascending order, some at a time, each time in one transaction with their names and serials. Whatever is
//! left of them still leads up to the hash that the entry names, and is verified; the next pruning first takes it away.

mod cover;
mod error;
mod plan;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    chain::Head,
    entry::{Appended, EntryKind},
    error::Error,
    ledger::Ledger,
    verify::Progress,
};
pub use error::{Needed, PruneError};
pub use plan::{PrunePlan, PruneWish};
use sealwright_identity::{Digest, Timestamp};

/// Entries that are read at once.
const CHUNK: u32 = 512;

const KEPT: &[u8] = b"sealwright/ledger/kept/v1\0";
const SERIALS: &[u8] = b"sealwright/ledger/serials/v1\0";

/// The entry that says what was pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneEntry {
    /// The last entry that went. The chain is verified from here on.
    pub last: Head,
    /// The time that was asked for: what was recorded before it went.
    pub before: Timestamp,
    /// The entries up to [`Self::last`] that stay.
    pub kept: Tally,
    /// The serials of the decisions that this pruning took.
    pub serials: Tally,
    /// The OS user who did it.
    pub by: String,
    /// The exports that hold what this pruning took, in the order of the chain.
    pub exports: Vec<PrunedExport>,
}

/// How many, and a digest over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The digest.
    pub digest: Digest,
}

/// An export that holds entries which were pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedExport {
    /// What the file was called.
    pub name: String,
    /// SHA-256 of the file.
    pub file: Digest,
    /// The entry before its first.
    pub after: Head,
    /// Its last entry.
    pub head: Head,
}

/// A pruning as it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruning {
    /// Its entry.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub entry: PruneEntry,
}

/// What a pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// Its entry; `None` when only what an earlier one had left was taken away.
    pub recorded: Option<Head>,
    /// Entries that went.
    pub removed: u64,
}

impl Ledger {
    /// Does what was planned: takes away what an earlier pruning left, writes the entry, and takes away what goes.
    /// Cut short anywhere, it can be planned and done again.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the ledger is no longer as it was planned; as for [`Self::append`].
    pub async fn prune(
        &self,
        plan: PrunePlan,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<PruneReport, Error> {
        let total = plan.leftover + plan.goes;
        let mut removed = self.remove(0, total, progress).await?;
        let recorded = match plan.entry {
            None => None,
            Some(entry) => {
                let Appended { sequence, hash, .. } = self.record_pruning(&entry).await?;
                progress(Progress {
                    entries: removed,
                    total,
                });
                removed = self.remove(removed, total, progress).await?;
                Some(Head { sequence, hash })
            }
        };
        Ok(PruneReport { recorded, removed })
    }

    async fn remove(
        &self,
        before: u64,
        total: u64,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<u64, Error> {
        let (mut after, mut removed) = (0, before);
        while let Some(piece) = self.remove_pruned(after).await? {
            after = piece.last;
            removed += piece.entries;
            progress(Progress {
                entries: removed,
                total,
            });
        }
        Ok(removed)
    }
}

/// Whether entries of a kind stay when all around them goes: what is not about a request.
pub(crate) const fn stays(kind: EntryKind) -> bool {
    match kind {
        EntryKind::Start | EntryKind::Blob | EntryKind::Policy | EntryKind::Ceremony | EntryKind::Prune => {
            true
        }
        EntryKind::Decision
        | EntryKind::Certificate
        | EntryKind::Denied
        | EntryKind::Refused
        | EntryKind::Failed
        | EntryKind::Unreleased => false,
    }
}

/// The kinds that go, as SQL has them.
pub(crate) const GOES: &str = "(2, 3, 4, 5, 6, 7)";

/// Adds up to a [`Tally`].
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    hash: Sha256,
    count: u64,
}

impl Sum {
    /// Of entries that stay.
    pub(crate) fn kept() -> Self {
        Self::of(KEPT)
    }

    /// Of serials.
    pub(crate) fn serials() -> Self {
        Self::of(SERIALS)
    }

    fn of(what: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(what);
        Self { hash, count: 0 }
    }

    pub(crate) fn add_kept(&mut self, entry: Head) {
        self.hash.update(entry.sequence.to_be_bytes());
        self.hash.update(entry.hash.as_bytes());
        self.count += 1;
    }

    pub(crate) fn add_serial(&mut self, sequence: u64, serial: &[u8]) {
        self.hash.update(sequence.to_be_bytes());
        self.hash
            .update(u64::try_from(serial.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.hash.update(serial);
        self.count += 1;
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            count: self.count,
            digest: Digest::from_bytes(self.hash.clone().finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_told_alike_in_both_languages() {
        for kind in EntryKind::ALL {
            let goes = GOES
                .trim_matches(['(', ')'])
                .split(", ")
                .any(|code| code.parse() == Ok(kind.code()));
            assert_eq!(goes, !stays(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_sum_has_one_reading() {
        let mut one = Sum::serials();
        one.add_serial(1, &[2, 3]);
        let mut other = Sum::serials();
        other.add_serial(1, &[2]);
        assert_ne!(one.tally(), other.tally());
        assert_ne!(Sum::serials().tally(), Sum::kept().tally());
    }
}
