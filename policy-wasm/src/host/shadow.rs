//! Policies that only watch: asked after the answer, on a thread apart, and never heard.
//!
//! A shadow cannot change, delay or fail a request: it gets a copy of the input once the outcome is
//! there, waits in a bounded queue of its own, and is left out when that is full.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use flume::Receiver;

use crate::{Decision, Evaluation, Narrowing, Outcome, Policy, PolicyInput, Verdict};

/// Requests whose shadows may wait, in each lane.
pub(super) const QUEUE: usize = 64;

/// Who wants shadows asked. Each has a thread and a queue of its own, so that what one person may start
/// takes nothing away from what a quorum agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowLane {
    /// The policy set in force.
    Set,
    /// Somebody, at this host alone.
    Front,
}

impl ShadowLane {
    /// Its word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Front => "front",
        }
    }
}

/// The shadows of one request.
pub(crate) struct Watch {
    policies: Vec<Arc<Policy>>,
    input: Arc<PolicyInput>,
    decided: Decided,
    report: Box<dyn FnOnce(Vec<Observation>) + Send>,
}

/// What one shadow said, beside what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What it said.
    pub evaluation: Evaluation,
    /// How that differs.
    pub difference: Difference,
}

/// How a shadow differs from the revision of its name that decided; or, where none of its name was
/// asked, how the outcome would differ with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Difference {
    /// Not at all.
    Same,
    /// It denies what was allowed.
    Denies,
    /// It allows what the other denied.
    Allows,
    /// Both allow, and it leaves another part of the ceiling.
    Narrows,
    /// It came to no verdict.
    Aborted,
    /// Another policy denied, so there is nothing to compare with.
    NotCompared,
}

impl Difference {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Same,
        Self::Denies,
        Self::Allows,
        Self::Narrows,
        Self::Aborted,
        Self::NotCompared,
    ];

    /// Its word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Denies => "denies",
            Self::Allows => "allows",
            Self::Narrows => "narrows",
            Self::Aborted => "aborted",
            Self::NotCompared => "not_compared",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What of a decision shadows are compared with.
struct Decided {
    allowed: bool,
    evaluations: Vec<(String, Verdict, Option<Narrowing>)>,
}

impl Watch {
    pub(super) fn new(
        policies: Vec<Arc<Policy>>,
        input: Arc<PolicyInput>,
        decision: &Decision,
        report: Box<dyn FnOnce(Vec<Observation>) + Send>,
    ) -> Self {
        let evaluations = decision
            .evaluations
            .iter()
            .filter(|one| policies.iter().any(|policy| policy.name() == one.name))
            .map(|one| (one.name.clone(), one.verdict, one.narrowing.clone()))
            .collect();
        let allowed = matches!(decision.outcome, Outcome::Allow(_));
        Self {
            policies,
            input,
            decided: Decided { allowed, evaluations },
            report,
        }
    }
}

pub(super) fn work(watches: &Receiver<Watch>) {
    for watch in watches.iter() {
        let Watch {
            policies,
            input,
            decided,
            report,
        } = watch;
        let watched = catch_unwind(AssertUnwindSafe(|| {
            let record = input.to_wit();
            let observe = |policy: &Arc<Policy>| {
                let evaluation = policy.evaluate_measured(&input, &record);
                Observation {
                    difference: decided.differs(&evaluation),
                    evaluation,
                }
            };
            report(policies.iter().map(observe).collect());
        }));
        if watched.is_err() {
            tracing::error!("a shadow worker panicked");
        }
    }
}

impl Decided {
    fn differs(&self, shadow: &Evaluation) -> Difference {
        if shadow.verdict == Verdict::Aborted {
            return Difference::Aborted;
        }
        let same_name = self.evaluations.iter().find(|(name, ..)| *name == shadow.name);
        let (verdict, narrowing) = match same_name {
            Some((_, verdict, narrowing)) => (*verdict, narrowing.clone()),
            // As if a policy that leaves everything had been in its place.
            None if self.allowed => (Verdict::Allow, Some(Narrowing::default())),
            None => return Difference::NotCompared,
        };
        match (shadow.verdict, verdict) {
            (Verdict::Allow, Verdict::Allow) if shadow.narrowing == narrowing => Difference::Same,
            (Verdict::Allow, Verdict::Allow) => Difference::Narrows,
            (Verdict::Deny, Verdict::Deny) => Difference::Same,
            (Verdict::Deny, Verdict::Allow) => Difference::Denies,
            (Verdict::Allow, Verdict::Deny) => Difference::Allows,
            (_, Verdict::Aborted) | (Verdict::Aborted, _) => Difference::NotCompared,
        }
    }
}
