//! What the ledger's entries come to, one after another.
//!
//! Everything is judged here again, whether it was just uploaded or lies in the ledger for years: a set takes effect
//! only by [`History::apply`], whose [`Approved`] only the judgement makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{CanaryStop, StatementRef};
use sealwright_statement::policy::{
    self, Approved, ApprovedRevocation, CanaryCounts, Case, Pushers, QuorumError, Restorable, Revision,
    Revisions, Revocation, Roster, Set, Verdict,
};
use sealwright_statement::{Sealed, Signed};

use tokio::sync::Notify;

use super::canaries::Counters;
use super::high_water::Standing;
use super::in_force::InForce;

/// What a set brings in besides itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Brought {
    /// Revisions that no set named before.
    pub(super) revisions: Vec<Signed<Revision>>,
    /// The roster that it names, when it is another than the one in force.
    pub(super) roster: Option<Signed<Roster>>,
}

/// A set that took effect.
#[derive(Clone, Debug)]
pub(super) struct Activated {
    pub(super) set: Sealed<Set>,
    pub(super) at: Timestamp,
    pub(super) until: Option<Timestamp>,
    pub(super) approvals: u32,
    pub(super) seeded: bool,
    /// The entry by which it took effect, where it was read from the ledger.
    pub(super) sequence: u64,
    /// What its bounded canaries come to. The same for as long as it is in force.
    pub(super) counters: Option<Arc<Counters>>,
    pub(super) stops: BTreeMap<Digest, Timestamp>,
}

/// All that ever decided.
#[derive(Clone, Debug)]
pub(super) struct History {
    roster: Sealed<Roster>,
    /// By number; the last is in force.
    sets: BTreeMap<u64, Activated>,
    revisions: Revisions,
    pushers: Pushers,
    revoked: BTreeSet<Digest>,
    /// From a statement to the blob with its armoured file.
    blobs: BTreeMap<Digest, Digest>,
    standing: Standing,
    /// Woken when a bound may be exceeded.
    exceeded: Arc<Notify>,
}

/// In which surroundings something is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    pub(super) deployment: Digest,
    pub(super) rehearsal: bool,
    pub(super) now: Timestamp,
}

impl History {
    /// Nothing decides yet; these people may agree on what does.
    pub(super) fn begin(roster: Sealed<Roster>) -> Self {
        Self {
            standing: Standing {
                changes: 0,
                number: 0,
                statement: roster.digest(),
            },
            roster,
            sets: BTreeMap::new(),
            revisions: Revisions::new(),
            pushers: Pushers::new(),
            revoked: BTreeSet::new(),
            blobs: BTreeMap::new(),
            exceeded: Arc::default(),
        }
    }

    /// Woken when a bound may be exceeded.
    pub(super) fn exceeded(&self) -> Arc<Notify> {
        Arc::clone(&self.exceeded)
    }

    pub(super) const fn roster(&self) -> &Sealed<Roster> {
        &self.roster
    }

    pub(super) fn active(&self) -> Option<&Activated> {
        self.sets.last_key_value().map(|(_, active)| active)
    }

    pub(super) fn number(&self) -> u64 {
        self.sets.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// How far it has come.
    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn sets(&self) -> impl DoubleEndedIterator<Item = &Activated> {
        self.sets.values()
    }

    pub(super) const fn revoked(&self) -> &BTreeSet<Digest> {
        &self.revoked
    }

    pub(super) fn knows(&self, revision: &Digest) -> bool {
        self.revisions.contains_key(revision)
    }

    /// The revisions that a set names.
    pub(super) fn revisions_of(&self, set: &Set) -> Revisions {
        let named = set.entries.iter().map(|entry| entry.revision);
        named
            .filter_map(|digest| Some((digest, self.revisions.get(&digest)?.clone())))
            .collect()
    }

    /// The blob with a statement's armoured file.
    pub(super) fn blob_of(&self, statement: &Digest) -> Option<Digest> {
        self.blobs.get(statement).copied()
    }

    /// What requests meet.
    pub(super) fn in_force(&self, deployment: Digest) -> InForce {
        let approvals = self.sets.iter().map(|(number, set)| (*number, set.approvals));
        let revisions = self.active().map(|active| self.revisions_of(&active.set));
        InForce::new(
            self.active(),
            deployment,
            revisions.unwrap_or_default(),
            &self.revoked,
            approvals.collect(),
        )
    }

    /// Whether a set may take effect.
    pub(super) fn judge(
        &mut self,
        set: &Signed<Set>,
        brought: &Brought,
        around: Surroundings,
    ) -> Result<Approved, QuorumError> {
        self.with(set, brought, around, policy::judge)
    }

    /// As [`Self::judge`], of a set that took effect already.
    pub(super) fn judge_recorded(
        &mut self,
        set: &Signed<Set>,
        brought: &Brought,
        around: Surroundings,
    ) -> Result<Approved, QuorumError> {
        self.with(set, brought, around, policy::judge_recorded)
    }

    /// How a set stands, whether or not enough agreed yet.
    pub(super) fn assess(
        &mut self,
        set: &Signed<Set>,
        brought: &Brought,
        around: Surroundings,
    ) -> Result<Verdict, QuorumError> {
        self.with(set, brought, around, policy::assess)
    }

    /// How a set stands that was signed ahead: over `next`, which is not in force yet.
    pub(super) fn assess_ahead(
        &self,
        set: &Signed<Set>,
        next: &Sealed<Set>,
        around: Surroundings,
    ) -> Result<Verdict, QuorumError> {
        let brought = Brought::default();
        let case = Case {
            previous: Some(next),
            ..self.case(&brought, set.statement.restores, around)
        };
        policy::assess(set, &case)
    }

    fn with<T>(
        &mut self,
        set: &Signed<Set>,
        brought: &Brought,
        around: Surroundings,
        judge: impl FnOnce(&Signed<Set>, &Case<'_>) -> Result<T, QuorumError>,
    ) -> Result<T, QuorumError> {
        let fresh = self.take_in(brought)?;
        let outcome = judge(set, &self.case(brought, set.statement.restores, around));
        for digest in fresh {
            self.revisions.remove(&digest);
            self.pushers.remove(&digest);
        }
        outcome
    }

    /// Whether a revocation may take effect.
    pub(super) fn judge_revocation(
        &self,
        revocation: &Signed<Revocation>,
        around: Surroundings,
    ) -> Result<ApprovedRevocation, QuorumError> {
        policy::judge_revocation(revocation, &self.case(&Brought::default(), None, around))
    }

    /// The set is in force.
    pub(super) fn apply(
        &mut self,
        approved: &Approved,
        brought: &Brought,
        at: Timestamp,
        seeded: bool,
    ) -> Result<(), QuorumError> {
        self.take_in(brought)?;
        if let Some(roster) = &brought.roster {
            self.roster = roster.statement.clone();
        }
        if let Some(mut last) = self.sets.last_entry() {
            last.get_mut().until = Some(at);
        }
        let set = approved.set().statement.clone();
        let counters = Counters::of(&set, &self.exceeded);
        self.sets.insert(
            set.number,
            Activated {
                set,
                at,
                until: None,
                approvals: u32::try_from(approved.verdict().counted.len()).unwrap_or(u32::MAX),
                seeded,
                sequence: 0,
                counters,
                stops: BTreeMap::new(),
            },
        );
        Ok(())
    }

    /// Where the entry of the set in force lies.
    pub(super) fn placed(&mut self, sequence: u64) {
        if let Some(mut active) = self.sets.last_entry() {
            active.get_mut().sequence = sequence;
        }
    }

    /// The canaries of the set in force whose bounds are exceeded, with what they came to.
    pub(super) fn due(&self) -> Vec<(Digest, CanaryCounts)> {
        let Some(active) = self.active() else {
            return Vec::new();
        };
        let counters = active.counters.iter().flat_map(|counters| counters.exceeded());
        let running = counters.filter(|(canary, _)| !active.stops.contains_key(canary));
        running.collect()
    }

    /// Whether a stop is one that the set in force asks for.
    pub(super) fn may_stop(&self, set: Digest, stop: &CanaryStop) -> bool {
        let counts = counts_of(stop);
        self.active().is_some_and(|active| {
            active.set.digest() == set
                && active.set.bounded().any(|(canary, _)| canary == stop.revision)
                && active.set.stop.is_some_and(|bounds| bounds.are_exceeded(&counts))
                && !active.stops.contains_key(&stop.revision)
        })
    }

    /// The canary decides nothing from now on.
    pub(super) fn stop(&mut self, canary: Digest, at: Timestamp) {
        if let Some(mut active) = self.sets.last_entry() {
            active.get_mut().stops.insert(canary, at);
        }
    }

    /// The revision is gone for ever.
    pub(super) fn revoke(&mut self, approved: &ApprovedRevocation) {
        self.revoked.insert(approved.revocation().statement.revision);
    }

    /// An entry took effect: counts it, and keeps in mind where its statements lie.
    pub(super) fn count(&mut self, statement: Digest, brings: &[StatementRef]) {
        self.standing = Standing {
            changes: self.standing.changes + 1,
            number: self.number(),
            statement,
        };
        self.blobs
            .extend(brings.iter().map(|brought| (brought.statement, brought.blob)));
    }

    /// Adds revisions with their pushers; returns those that were not there.
    fn take_in(&mut self, brought: &Brought) -> Result<Vec<Digest>, QuorumError> {
        let mut pushed = Vec::new();
        for revision in &brought.revisions {
            let digest = revision.statement.digest();
            if !self.revisions.contains_key(&digest) {
                pushed.push((digest, revision, policy::pushers(revision, &self.roster)?));
            }
        }
        let mut fresh = Vec::new();
        for (digest, revision, people) in pushed {
            self.revisions.insert(digest, revision.statement.clone());
            self.pushers.insert(digest, people);
            fresh.push(digest);
        }
        Ok(fresh)
    }

    fn case<'a>(&'a self, brought: &'a Brought, restores: Option<u64>, around: Surroundings) -> Case<'a> {
        let old = restores.and_then(|number| self.sets.get(&number));
        Case {
            deployment: around.deployment,
            // Once people must agree, the mark does not let them out again.
            rehearsal: around.rehearsal && self.roster.threshold == 0,
            previous: self.active().map(|active| &active.set),
            roster: &self.roster,
            next_roster: brought.roster.as_ref().map(|roster| &roster.statement),
            revisions: &self.revisions,
            pushers: &self.pushers,
            revoked: &self.revoked,
            restorable: old.map(|old| Restorable {
                set: &old.set,
                until: old.until.unwrap_or(around.now),
            }),
            now: around.now,
        }
    }
}

const fn counts_of(stop: &CanaryStop) -> CanaryCounts {
    CanaryCounts {
        decisions: stop.decisions,
        denied: stop.denied,
        aborted: stop.aborted,
    }
}
