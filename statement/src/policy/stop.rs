//! Canaries that stop by themselves: what counts for one, when it is enough, and what decides from then on.
//!
//! What counts is a sum over the records since the set took effect, so that gate and auditor come to the same, in
//! whatever order requests were answered. A stop takes a canary out and puts nothing in: the enforcing revision of its
//! name, which the same quorum signed, decides for everybody again.

use std::collections::BTreeSet;

use sealwright_identity::Digest;
use serde::Serialize;

use super::enforcing::{Revisions, bucket};
use super::set::{Canary, Mode, Set, StopBounds};

/// What a canary came to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CanaryCounts {
    /// How often it was asked in its bucket.
    pub decisions: u64,
    /// How often it denied; a policy that traps or runs out of fuel denies.
    pub denied: u64,
    /// How often it was aborted.
    pub aborted: u64,
}

/// What a canary said in one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// It allowed.
    Allowed,
    /// It denied.
    Denied,
    /// It came to no end.
    Aborted,
}

impl CanaryVerdict {
    /// From the word in a record; `None` for a word that is none.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "allow" => Some(Self::Allowed),
            "deny" => Some(Self::Denied),
            "aborted" => Some(Self::Aborted),
            _ => None,
        }
    }
}

impl CanaryCounts {
    /// One more decision.
    pub const fn add(&mut self, verdict: CanaryVerdict) {
        self.decisions = self.decisions.saturating_add(1);
        match verdict {
            CanaryVerdict::Allowed => {}
            CanaryVerdict::Denied => self.denied = self.denied.saturating_add(1),
            CanaryVerdict::Aborted => self.aborted = self.aborted.saturating_add(1),
        }
    }
}

impl StopBounds {
    /// Whether a canary that came to this is stopped: after enough decisions, the share of denied or of aborted ones is
    /// above its bound.
    #[must_use]
    pub fn are_exceeded(&self, counts: &CanaryCounts) -> bool {
        let above = |part: u64, bound: u16| {
            u128::from(part) * 10_000 > u128::from(bound) * u128::from(counts.decisions)
        };
        counts.decisions >= self.decisions
            && (above(counts.denied, self.denied) || above(counts.aborted, self.aborted))
    }
}

impl Set {
    /// The canaries that the set's bounds are for; none in a set without bounds.
    pub fn bounded(&self) -> impl Iterator<Item = (Digest, &Canary)> {
        let entries = self.entries.iter().filter(|_| self.stop.is_some());
        entries.filter_map(|entry| match &entry.mode {
            Mode::Canary(canary) => Some((entry.revision, canary)),
            Mode::Enforce | Mode::Shadow => None,
        })
    }

    /// What decides once these canaries were stopped. It is no statement: nobody signs it.
    #[must_use]
    pub fn without(&self, stopped: &BTreeSet<Digest>) -> Self {
        let mut effective = self.clone();
        effective
            .entries
            .retain(|entry| !matches!(entry.mode, Mode::Canary(_)) || !stopped.contains(&entry.revision));
        effective
    }

    /// What one record counts for: each bounded canary that was asked, where one of these identities is in its bucket.
    ///
    /// `asked` are the revisions with their verdicts as the evidence names them, `identities` as the record does. The
    /// record must be of this set, and of a time at which exactly `stopped` were.
    pub fn counted<'a>(
        &self,
        revisions: &Revisions,
        stopped: &BTreeSet<Digest>,
        identities: &[String],
        asked: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<(Digest, CanaryVerdict)> {
        let mut counted = Vec::new();
        for (revision, verdict) in asked {
            let Ok(revision) = revision.parse::<Digest>() else {
                continue;
            };
            let canary = self.bounded().find(|(canary, _)| *canary == revision);
            let (Some((_, canary)), Some(verdict)) = (canary, CanaryVerdict::from_word(verdict)) else {
                continue;
            };
            let again = counted.iter().any(|(counted, _)| *counted == revision);
            let drawn = revisions.get(&revision).is_some_and(|known| {
                let mut ids = identities.iter();
                ids.any(|id| bucket(&known.policy, &canary.salt, id) < canary.hundredths)
            });
            if drawn && !again && !stopped.contains(&revision) {
                counted.push((revision, verdict));
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{canary, entry, id, revision, revisions, set};
    use crate::policy::{bucket, enforcing};

    fn counts(decisions: u64, denied: u64, aborted: u64) -> CanaryCounts {
        CanaryCounts {
            decisions,
            denied,
            aborted,
        }
    }

    #[test]
    fn a_bound_is_exceeded_above_its_share_and_after_enough_decisions() {
        let bounds = StopBounds {
            decisions: 200,
            denied: 500,
            aborted: 0,
        };
        for (counts, expected) in [
            (counts(199, 199, 0), false),
            (counts(200, 10, 0), false),
            (counts(200, 11, 0), true),
            (counts(200, 0, 1), true),
            (counts(1_000, 50, 0), false),
            (counts(u64::MAX, u64::MAX, 0), true),
            (counts(0, 0, 0), false),
        ] {
            assert_eq!(bounds.are_exceeded(&counts), expected, "{counts:?}");
        }
        // 100 percent is a bound that nothing exceeds.
        let never = StopBounds {
            decisions: 1,
            denied: 10_000,
            aborted: 10_000,
        };
        assert!(!never.are_exceeded(&counts(u64::MAX, u64::MAX, u64::MAX)));
    }

    #[test]
    fn a_stopped_canary_is_absent_and_the_enforcing_revision_decides() {
        let (old, new) = (revision("baseline", b"old"), revision("baseline", b"new"));
        let all = revisions([old.clone(), new.clone()]);
        let canary = entry(&new, canary(10_000));
        let (stopped, nobody) = (BTreeSet::from([canary.revision]), BTreeSet::new());
        let entries = vec![entry(&old, Mode::Enforce), canary];
        let mut set = set(2, Some(Digest::of(b"set")), Digest::of(b"roster"), entries);
        let web = [id("/ns/a/sa/web")];
        let decides = |set: &Set| enforcing(set, &all, "default", &web).unwrap()[0].module;
        assert_eq!(decides(&set), new.module);
        assert_eq!(decides(&set.without(&nobody)), new.module);
        assert_eq!(decides(&set.without(&stopped)), old.module);
        // Without bounds nothing counts; with them, who was asked in the bucket does, once.
        let revision = set.entries[1].revision.to_string();
        let names = [web[0].to_string()];
        let asked = || [(&*revision, "deny"), (&*revision, "deny"), ("x", "deny")].into_iter();
        assert!(set.counted(&all, &nobody, &names, asked()).is_empty());
        set.stop = Some(StopBounds {
            decisions: 1,
            denied: 0,
            aborted: 0,
        });
        let counted = set.counted(&all, &nobody, &names, asked());
        assert_eq!(counted, [(set.entries[1].revision, CanaryVerdict::Denied)]);
        assert!(set.counted(&all, &stopped, &names, asked()).is_empty());
    }

    #[test]
    fn who_is_not_in_the_bucket_does_not_count() {
        let (old, new) = (revision("baseline", b"old"), revision("baseline", b"new"));
        let all = revisions([old.clone(), new.clone()]);
        let entries = vec![entry(&old, Mode::Enforce), entry(&new, canary(5_000))];
        let mut set = set(2, Some(Digest::of(b"set")), Digest::of(b"roster"), entries);
        set.stop = Some(StopBounds {
            decisions: 1,
            denied: 0,
            aborted: 0,
        });
        let canary = set.entries[1].revision.to_string();
        for n in 0..50 {
            let name = format!("spiffe://cluster.local/ns/a/sa/w{n}");
            let inside = bucket(&new.policy, b"01234567", &name) < 5_000;
            let asked = [(&*canary, "allow")].into_iter();
            let counted = set.counted(&all, &BTreeSet::new(), &[name], asked);
            assert_eq!(counted.len(), usize::from(inside));
        }
    }
}
