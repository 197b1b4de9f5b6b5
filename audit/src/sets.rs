//! What decided, and who had agreed: the policy entries of a ledger, judged again one after another.
//!
//! The judgement is the statement crate's, on the signatures that the entries bring in; nothing that an entry says of
//! itself is believed. A change that does not hold is a problem at its entry and takes no effect here: what was
//! decided under it is then contradicted by what is in force.
//!
//! What it cannot know is whether the first roster is the one that the deployment began with: who reads has to bring
//! its digest, as the trust anchors of certificates.

mod canaries;
mod in_force;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{DecisionEntry, PolicyEntry, PolicyEvent};
use sealwright_runtime::Chain;
use sealwright_statement::policy::{
    self, Case, Name, Pushers, Restorable, Revision, Revisions, Revocation, Roster, Set, Verdict,
};
use sealwright_statement::{Envelope, Sealed, Signed, Statement};

use self::canaries::Canaries;
pub use self::canaries::Stopped;
pub(crate) use self::in_force::{Due, InForce};
use crate::problem::{Problem, shown};

/// How far the time of a judgement may lie from the record's.
const MAX_APART: Duration = Duration::from_secs(5 * 60);

/// Reads the blob with an armoured statement.
pub type ReadStatement<'a> = &'a dyn Fn(Digest) -> Result<Vec<u8>, Problem>;

/// A policy set that took effect.
#[derive(Clone, Debug)]
pub struct Activated {
    /// The set.
    pub set: Sealed<Set>,
    /// The entry by which it took effect.
    pub sequence: u64,
    /// The gate's time when it judged the set.
    pub judged_at: Timestamp,
    /// When the next set took effect.
    pub until: Option<Timestamp>,
    /// Who agreed, and who did and does not count.
    pub verdict: Verdict,
    /// The roster by which it was judged.
    pub roster: Digest,
    /// Made from the configuration of a rehearsal.
    pub seeded: bool,
    canaries: Canaries,
}

impl Activated {
    /// The canaries that its bounds stopped.
    #[must_use]
    pub const fn stopped(&self) -> &BTreeMap<Digest, Stopped> {
        self.canaries.stopped()
    }

    /// How many people agreed.
    #[must_use]
    pub fn approvals(&self) -> u32 {
        u32::try_from(self.verdict.counted.len()).unwrap_or(u32::MAX)
    }
}

/// All that ever decided, as far as the entries were read.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// The sequence of the last entry.
    last: u64,
    roster: Option<Sealed<Roster>>,
    first_roster: Option<Digest>,
    activated: BTreeMap<u64, Activated>,
    revisions: Revisions,
    pushers: Pushers,
    revoked: BTreeSet<Digest>,
    /// Whether a policy entry was read.
    began: bool,
    /// Made when a decision asks for it, and anew after each change that took effect.
    in_force: Option<Arc<InForce>>,
    /// Every record from here on is handed over to be counted.
    counts: bool,
}

/// What an entry brings in.
struct Brought {
    own: Envelope,
    revisions: Vec<Signed<Revision>>,
    roster: Option<Signed<Roster>>,
}

impl Sets {
    /// A policy entry.
    ///
    /// A set is judged for the deployment that it names: that this was the one that issued is for each record to show.
    ///
    /// # Errors
    /// When what it says took effect could not have; then it does not here.
    pub fn apply(
        &mut self,
        sequence: u64,
        recorded_at: Timestamp,
        entry: &PolicyEntry,
        read: ReadStatement<'_>,
    ) -> Result<(), Problem> {
        let applied = self.take(sequence, recorded_at, entry, read);
        self.last = self.last.max(sequence);
        // Also a change that does not hold says that policies are no longer the configuration's.
        self.began = true;
        if applied.is_ok() {
            self.in_force = None;
        }
        applied
    }

    /// From now on every record is handed over ([`Self::record`]).
    pub(crate) fn count_records(&mut self) {
        self.counts = true;
    }

    /// Whether what the canaries of the set in force come to is known.
    pub(crate) fn are_canaries_counted(&self) -> bool {
        let active = self.activated.last_key_value();
        active.is_none_or(|(_, active)| active.canaries.are_counted())
    }

    /// Whether the set in force has canaries that may have to be stopped.
    pub(crate) fn has_bounded_canaries(&self) -> bool {
        let active = self.activated.last_key_value();
        active.is_some_and(|(_, active)| active.set.bounded().next().is_some())
    }

    /// A certificate that was decided on, or a denial, after what was applied.
    ///
    /// # Errors
    /// When a canary should have been stopped before it.
    pub(crate) fn record(&mut self, record: &DecisionEntry, at: Timestamp) -> Result<(), Problem> {
        let Some(mut active) = self.activated.last_entry() else {
            return Ok(());
        };
        let active = active.get_mut();
        active.canaries.record(&active.set, &self.revisions, record, at)
    }

    /// The digest of the first roster: whoever trusts nobody compares it with the one that they know.
    #[must_use]
    pub const fn first_roster(&self) -> Option<Digest> {
        self.first_roster
    }

    /// The set of this number, if one took effect.
    #[must_use]
    pub fn activated(&self, number: u64) -> Option<&Activated> {
        self.activated.get(&number)
    }

    /// Every set that took effect, by number.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Activated> {
        self.activated.values()
    }

    /// A revision that a set brought in.
    #[must_use]
    pub fn revision(&self, digest: &Digest) -> Option<&Sealed<Revision>> {
        self.revisions.get(digest)
    }

    /// Who pushed a revision, by the roster that was in force when it came in.
    pub fn pushers(&self, revision: &Digest) -> impl Iterator<Item = &Name> {
        self.pushers.get(revision).into_iter().flatten()
    }

    /// The revisions that were revoked.
    #[must_use]
    pub const fn revoked(&self) -> &BTreeSet<Digest> {
        &self.revoked
    }

    /// What requests meet now; `None` where no policy entry was read.
    pub(crate) fn in_force(&mut self) -> Option<Arc<InForce>> {
        if self.began && self.in_force.is_none() {
            self.in_force = Some(Arc::new(InForce::of(self)));
        }
        self.in_force.clone()
    }

    fn take(
        &mut self,
        sequence: u64,
        recorded_at: Timestamp,
        entry: &PolicyEntry,
        read: ReadStatement<'_>,
    ) -> Result<(), Problem> {
        if sequence <= self.last {
            return Err(wrong("it does not follow the policy entry before it"));
        }
        let apart = entry
            .judged_at
            .saturating_since(recorded_at)
            .max(recorded_at.saturating_since(entry.judged_at));
        if apart > MAX_APART {
            return Err(wrong(&format!(
                "it was judged at {}, and recorded at {recorded_at}",
                entry.judged_at
            )));
        }
        if entry.event == PolicyEvent::Stop {
            return self.stop(sequence, entry);
        }
        let mut brought = Brought::read(entry, read)?;
        match entry.event {
            PolicyEvent::Stop => Ok(()),
            PolicyEvent::Roster => self.begin(entry, open(brought.own)?),
            PolicyEvent::Set => {
                let set: Signed<Set> = open(brought.own.clone())?;
                let fresh = self.take_in(&mut brought.revisions)?;
                let activated = self.set(sequence, entry, &set, &brought);
                if activated.is_err() {
                    for digest in fresh {
                        self.revisions.remove(&digest);
                        self.pushers.remove(&digest);
                    }
                }
                activated
            }
            PolicyEvent::Revocation => self.revocation(entry, &open(brought.own.clone())?, &brought),
        }
    }

    fn stop(&mut self, sequence: u64, entry: &PolicyEntry) -> Result<(), Problem> {
        let mut active = self
            .activated
            .last_entry()
            .ok_or_else(|| wrong("no set was in force before it"))?;
        let active = active.get_mut();
        if entry.number != active.set.number || entry.statement != active.set.digest() {
            return Err(wrong(&format!(
                "it stops a canary of set {}, and {} is in force",
                entry.number, active.set.number
            )));
        }
        active.canaries.stop(sequence, entry, &active.set)
    }

    fn begin(&mut self, entry: &PolicyEntry, roster: Signed<Roster>) -> Result<(), Problem> {
        if self.roster.is_some() {
            return Err(wrong("a roster was there before it"));
        }
        if entry.number != 0 || entry.approvals != 0 {
            return Err(wrong("nobody can have agreed to the first roster"));
        }
        self.first_roster = Some(roster.statement.digest());
        self.roster = Some(roster.statement);
        Ok(())
    }

    fn set(
        &mut self,
        sequence: u64,
        entry: &PolicyEntry,
        set: &Signed<Set>,
        brought: &Brought,
    ) -> Result<(), Problem> {
        let roster = self.roster.as_ref().ok_or_else(no_roster)?;
        let case = self.case(
            roster,
            brought,
            set.statement.deployment,
            set.statement.restores,
            entry,
        );
        let approved =
            policy::judge_recorded(set, &case).map_err(|error| wrong(&Chain(&error).to_string()))?;
        let activated = Activated {
            canaries: Canaries::new(&approved.set().statement, self.counts),
            set: approved.set().statement.clone(),
            sequence,
            judged_at: entry.judged_at,
            until: None,
            verdict: approved.verdict().clone(),
            roster: roster.digest(),
            seeded: entry.seeded,
        };
        recorded(entry, activated.set.number, &activated.verdict)?;
        if entry.seeded && roster.threshold > 0 {
            return Err(wrong("a configuration decides nothing where people must agree"));
        }
        if let Some(next) = &brought.roster {
            self.roster = Some(next.statement.clone());
        }
        if let Some(mut last) = self.activated.last_entry() {
            last.get_mut().until = Some(entry.judged_at);
        }
        self.activated.insert(activated.set.number, activated);
        Ok(())
    }

    fn revocation(
        &mut self,
        entry: &PolicyEntry,
        revocation: &Signed<Revocation>,
        brought: &Brought,
    ) -> Result<(), Problem> {
        let roster = self.roster.as_ref().ok_or_else(no_roster)?;
        let case = self.case(roster, brought, revocation.statement.deployment, None, entry);
        let approved =
            policy::judge_revocation(revocation, &case).map_err(|error| wrong(&Chain(&error).to_string()))?;
        let number = self.activated.last_key_value().map_or(0, |(number, _)| *number);
        recorded(entry, number, approved.verdict())?;
        self.revoked.insert(approved.revocation().statement.revision);
        Ok(())
    }

    /// Adds revisions with their pushers; returns those that were not there.
    fn take_in(&mut self, revisions: &mut Vec<Signed<Revision>>) -> Result<Vec<Digest>, Problem> {
        let roster = self.roster.as_ref().ok_or_else(no_roster)?;
        let mut pushed = Vec::new();
        for revision in revisions.drain(..) {
            let digest = revision.statement.digest();
            if !self.revisions.contains_key(&digest) {
                let people =
                    policy::pushers(&revision, roster).map_err(|error| wrong(&Chain(&error).to_string()))?;
                pushed.push((digest, revision.statement, people));
            }
        }
        let mut fresh = Vec::with_capacity(pushed.len());
        for (digest, revision, people) in pushed {
            self.revisions.insert(digest, revision);
            self.pushers.insert(digest, people);
            fresh.push(digest);
        }
        Ok(fresh)
    }

    /// A rehearsal is a ledger that began as one: no later roster can have the threshold 0.
    fn case<'a>(
        &'a self,
        roster: &'a Sealed<Roster>,
        brought: &'a Brought,
        deployment: Digest,
        restores: Option<u64>,
        entry: &PolicyEntry,
    ) -> Case<'a> {
        let old = restores.and_then(|number| self.activated.get(&number));
        Case {
            deployment,
            rehearsal: roster.threshold == 0,
            previous: self.activated.last_key_value().map(|(_, active)| &active.set),
            roster,
            next_roster: brought.roster.as_ref().map(|roster| &roster.statement),
            revisions: &self.revisions,
            pushers: &self.pushers,
            revoked: &self.revoked,
            restorable: old.map(|old| Restorable {
                set: &old.set,
                until: old.until.unwrap_or(entry.judged_at),
            }),
            now: entry.judged_at,
        }
    }
}

impl Brought {
    fn read(entry: &PolicyEntry, read: ReadStatement<'_>) -> Result<Self, Problem> {
        let mut own = None;
        let (mut revisions, mut roster) = (Vec::new(), None);
        for place in &entry.brings {
            let text = String::from_utf8(read(place.blob)?).map_err(|_| wrong("a statement is not text"))?;
            let envelope = Envelope::parse(&text).map_err(|error| wrong(&Chain(&error).to_string()))?;
            if envelope.digest() != place.statement {
                return Err(wrong("a statement has another digest than it says"));
            }
            if place.statement == entry.statement {
                own = Some(envelope);
            } else if envelope.kind() == Revision::TYPE {
                revisions.push(open(envelope)?);
            } else if roster.replace(open(envelope)?).is_some() {
                return Err(wrong("it brings in two rosters"));
            }
        }
        Ok(Self {
            own: own.ok_or_else(|| wrong("it does not bring in its own statement"))?,
            revisions,
            roster,
        })
    }
}

/// Whether an entry says of a change what was found.
fn recorded(entry: &PolicyEntry, number: u64, verdict: &Verdict) -> Result<(), Problem> {
    if entry.number != number {
        return Err(wrong(&format!(
            "it says that set {} is in force, and that is {number}",
            entry.number
        )));
    }
    if u64::try_from(verdict.counted.len()).ok() != Some(u64::from(entry.approvals)) {
        return Err(wrong(&format!(
            "{} people agreed, and {} were recorded",
            verdict.counted.len(),
            entry.approvals
        )));
    }
    Ok(())
}

fn open<T: Statement>(envelope: Envelope) -> Result<Signed<T>, Problem> {
    envelope.open().map_err(|error| wrong(&Chain(&error).to_string()))
}

fn no_roster() -> Problem {
    wrong("no roster was there before it")
}

fn wrong(what: &str) -> Problem {
    Problem::Change(shown(what))
}
