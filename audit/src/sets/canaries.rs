//! Whether canaries were stopped when they had to be: their decisions counted again, record by record.
//!
//! Counts are those of all records of a set, so they can be compared only where every record since the set took effect
//! was read. What a stop says of itself is held against the set's bounds in any case.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use prost::Message as _;
use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{CanaryStop, DecisionEntry, PolicyEntry};
use sealwright_proto::gate::Evidence;
use sealwright_statement::policy::{CanaryCounts, Revisions, Set};

use super::wrong;
use crate::problem::{Problem, shown};

/// How long a canary may decide on after its bound was exceeded: what was asked already, and a gate that starts.
const MAX_LATE: Duration = Duration::from_secs(60);

/// A canary that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The entry.
    pub sequence: u64,
    /// The gate's time.
    pub at: Timestamp,
    /// What it had come to, as the entry says.
    pub counts: CanaryCounts,
}

/// The bounded canaries of one set.
#[derive(Clone, Debug, Default)]
pub(super) struct Canaries {
    stopped: BTreeMap<Digest, Stopped>,
    /// What they come to, where every record of the set is read.
    counts: Option<BTreeMap<Digest, CanaryCounts>>,
    /// Since when a bound is exceeded.
    exceeded: BTreeMap<Digest, Timestamp>,
    told: BTreeSet<Digest>,
}

impl Canaries {
    /// Of a set that takes effect; `read` says that its records will be.
    pub(super) fn new(set: &Set, read: bool) -> Self {
        let bounded = set.bounded().map(|(canary, _)| (canary, CanaryCounts::default()));
        Self {
            counts: read.then(|| bounded.collect()),
            ..Self::default()
        }
    }

    pub(super) const fn stopped(&self) -> &BTreeMap<Digest, Stopped> {
        &self.stopped
    }

    /// Whether counts can be compared.
    pub(super) const fn are_counted(&self) -> bool {
        self.counts.is_some()
    }

    /// A stop takes effect, if it is one that the bounds ask for.
    pub(super) fn stop(&mut self, sequence: u64, entry: &PolicyEntry, set: &Set) -> Result<(), Problem> {
        let stop = entry
            .stopped
            .ok_or_else(|| wrong("it stops a canary and names none"))?;
        let canary = stop.revision;
        if entry.approvals != 0 || entry.seeded || !entry.brings.is_empty() {
            return Err(wrong("a stop brings nothing in, and nobody agrees to it"));
        }
        if !set.bounded().any(|(bounded, _)| bounded == canary) {
            return Err(wrong(&format!(
                "{canary} is no canary that set {} has bounds for",
                set.number
            )));
        }
        if self.stopped.contains_key(&canary) {
            return Err(wrong(&format!("the canary {canary} was stopped already")));
        }
        let counts = said(&stop);
        if !set.stop.is_some_and(|bounds| bounds.are_exceeded(&counts)) {
            return Err(wrong(&format!(
                "the bounds of set {} do not stop a canary at {}",
                set.number,
                in_words(&counts)
            )));
        }
        if let Some(found) = self.counts.as_ref().and_then(|counts| counts.get(&canary))
            && *found != counts
        {
            return Err(wrong(&format!(
                "it says of the canary {canary}: {}; the records have {}",
                in_words(&counts),
                in_words(found)
            )));
        }
        let at = entry.judged_at;
        self.stopped.insert(canary, Stopped { sequence, at, counts });
        Ok(())
    }

    /// A certificate that was decided on, or a denial.
    ///
    /// # Errors
    /// When a canary should have been stopped before it; once for each.
    pub(super) fn record(
        &mut self,
        set: &Set,
        revisions: &Revisions,
        record: &DecisionEntry,
        at: Timestamp,
    ) -> Result<(), Problem> {
        let Some(counts) = self.counts.as_mut().filter(|counts| !counts.is_empty()) else {
            return Ok(());
        };
        // What cannot be read is a finding of its own, and the gate counted nothing either.
        let evidence = Evidence::decode(record.evidence.as_slice()).unwrap_or_default();
        let Some(decision) = evidence.decision else {
            return Ok(());
        };
        let stopped: BTreeSet<Digest> = self.stopped.keys().copied().collect();
        if decision.set_number != set.number || usize::try_from(decision.stops).ok() != Some(stopped.len()) {
            return Ok(());
        }
        let asked = decision.policies.iter();
        let asked = asked.map(|policy| (policy.revision.as_str(), policy.verdict.as_str()));
        let mut outcome = Ok(());
        for (canary, verdict) in set.counted(revisions, &stopped, &record.identities, asked) {
            let Some(counts) = counts.get_mut(&canary) else {
                continue;
            };
            counts.add(verdict);
            if !set.stop.is_some_and(|bounds| bounds.are_exceeded(counts)) {
                self.exceeded.remove(&canary);
                continue;
            }
            let since = *self.exceeded.entry(canary).or_insert(at);
            if at.saturating_since(since) > MAX_LATE && self.told.insert(canary) {
                let text = format!(
                    "the canary {canary} of set {} decides on, and its bounds are exceeded since {since}: {}",
                    set.number,
                    in_words(counts)
                );
                outcome = Err(Problem::Stop(shown(&text)));
            }
        }
        outcome
    }
}

const fn said(stop: &CanaryStop) -> CanaryCounts {
    CanaryCounts {
        decisions: stop.decisions,
        denied: stop.denied,
        aborted: stop.aborted,
    }
}

fn in_words(counts: &CanaryCounts) -> String {
    format!(
        "{} decisions, {} denied, {} aborted",
        counts.decisions, counts.denied, counts.aborted
    )
}
