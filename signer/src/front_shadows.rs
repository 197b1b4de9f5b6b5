//! Revisions that somebody runs in shadow at this front alone, for a while.
//!
//! What it is: a short list in memory, beside the policy set in force. It ends with the front's process, and each
//! entry with its time. A switch of the set leaves it alone: what such a shadow says is compared with whatever
//! decided the same request, so it stays comparable under each set.
//!
//! What it is not: a part of what decides, or of a record. The invariant: nothing here is ever among
//! [`Deciders`](crate::sets::Deciders), from which decisions and evidence are made; it is asked after the outcome is
//! there, on a thread of its own ([`ShadowLane::Front`](sealwright_policy_wasm::ShadowLane)).

mod counts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sealwright_identity::{Digest, SharedClock, SpiffeId, Timestamp};
use sealwright_policy_wasm::{Difference, Observation, Policy, ShadowLane};
use sealwright_statement::Sealed;
use sealwright_statement::policy::Revision;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Span, info};

use crate::metrics::Metrics;
use crate::service::Sampler;
use counts::Counts;

/// How long a shadow runs when nobody says.
pub(crate) const DEFAULT_DURATION: Duration = Duration::from_secs(60 * 60);
/// How long it may run.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Log lines a second about requests on which shadows differ: one person could have the log filled otherwise.
const LINES_PER_SECOND: u32 = 10;
/// Names that metrics tell apart; series of a process are never taken back.
const MAX_NAMES: usize = 64;
/// What all other names are counted under. No policy can be called so.
const OTHER_NAMES: &str = "(other)";

/// The shadows of this front. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct FrontShadows(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    clock: SharedClock,
    metrics: Metrics,
    lines: Sampler,
    names: Mutex<BTreeSet<String>>,
    running: RwLock<Vec<Arc<FrontShadow>>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct FrontShadow {
    pub(crate) revision: Sealed<Revision>,
    pub(crate) asked_by: SpiffeId,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) counts: Arc<Counts>,
    policy: Arc<Policy>,
    /// By a clock that nobody sets.
    ends: Instant,
    stopped: CancellationToken,
}

/// As many run as may.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// None may.
    #[error("this front runs no shadows but those of the set: policy_host.front_shadows is 0")]
    None,
    /// All places are taken.
    #[error(
        "{0} revisions run in shadow at this front, as many as policy_host.front_shadows allows: stop one \
         (sealwright policy shadow REVISION --stop), or wait until one ends"
    )]
    Taken(usize),
}

impl FrontShadows {
    /// None yet, and never more than `most`.
    pub(crate) fn new(most: usize, clock: SharedClock, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            most,
            clock,
            metrics,
            lines: Sampler::new(LINES_PER_SECOND),
            names: Mutex::default(),
            running: RwLock::default(),
        }))
    }

    /// How many may run at a time.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// Whether there is a place for that revision; one that runs already has its own.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn has_place(&self, revision: Digest) -> Result<(), NoPlace> {
        self.sweep();
        self.place_among(&self.0.running.read(), revision)
    }

    /// Runs a revision in shadow for so long. One that runs already goes on, with what was counted and a new end.
    ///
    /// # Errors
    /// When there is no place.
    pub(crate) fn start(
        &self,
        revision: Sealed<Revision>,
        policy: Arc<Policy>,
        asked_by: SpiffeId,
        duration: Duration,
    ) -> Result<Arc<FrontShadow>, NoPlace> {
        self.sweep();
        let digest = revision.digest();
        let now = self.0.clock.now();
        let mut running = self.0.running.write();
        self.place_among(&running, digest)?;
        let before = take(&mut running, digest);
        let shadow = Arc::new(FrontShadow {
            since: before.as_ref().map_or(now, |before| before.since),
            counts: before
                .map(|before| Arc::clone(&before.counts))
                .unwrap_or_default(),
            until: now.saturating_add(duration),
            ends: Instant::now() + duration,
            stopped: CancellationToken::new(),
            revision,
            policy,
            asked_by,
        });
        running.push(Arc::clone(&shadow));
        drop(running);
        tokio::spawn(self.clone().end_in_time(shadow.ends, shadow.stopped.clone()));
        Ok(shadow)
    }

    /// Ends a shadow before its time.
    pub(crate) fn stop(&self, revision: Digest) -> Option<Arc<FrontShadow>> {
        self.sweep();
        take(&mut self.0.running.write(), revision)
    }

    /// Those that run.
    pub(crate) fn list(&self) -> Vec<Arc<FrontShadow>> {
        self.sweep();
        self.0.running.read().clone()
    }

    /// Those whose scope has certificates of these SPIFFE IDs by that issuer in it.
    pub(crate) fn about(&self, issuer: &str, ids: &[SpiffeId]) -> Vec<Arc<FrontShadow>> {
        let running = self.0.running.read();
        if running.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let covers =
            |shadow: &&Arc<FrontShadow>| shadow.ends > now && shadow.revision.scope.covers(issuer, ids);
        running.iter().filter(covers).cloned().collect()
    }

    /// Counts what shadows said of one request, in the order in which they were asked, and logs some of it.
    pub(crate) fn said(&self, shadows: &[Arc<FrontShadow>], observations: Vec<Observation>, request: &Span) {
        for (shadow, observation) in shadows.iter().zip(observations) {
            let Observation {
                evaluation,
                difference,
            } = observation;
            shadow.counts.add(difference);
            let policy = self.name(&evaluation.name);
            self.0
                .metrics
                .shadowed(ShadowLane::Front, &policy, difference.as_str());
            if difference == Difference::Same {
                continue;
            }
            let Some(left_out) = self.0.lines.admit() else {
                continue;
            };
            let (policy, verdict) = (&evaluation.name, evaluation.verdict);
            let code = evaluation.denial.as_ref().map(|denial| denial.code.as_str());
            let (revision, asked_by) = (shadow.revision.digest(), &shadow.asked_by);
            request.in_scope(|| {
                info!(policy, %revision, %asked_by, %verdict, code, %difference, left_out, "a shadow of this front differs");
            });
        }
    }

    /// Too many requests wait: these were not asked.
    pub(crate) fn left_out(&self, shadows: &[Arc<FrontShadow>]) {
        self.0.metrics.shadows_left_out(ShadowLane::Front);
        for shadow in shadows {
            shadow.counts.leave_out();
        }
    }

    /// What metrics call a policy.
    fn name(&self, policy: &str) -> String {
        let mut names = self.0.names.lock();
        if !names.contains(policy) {
            if names.len() >= MAX_NAMES {
                return OTHER_NAMES.to_owned();
            }
            names.insert(policy.to_owned());
        }
        policy.to_owned()
    }

    fn place_among(&self, running: &[Arc<FrontShadow>], revision: Digest) -> Result<(), NoPlace> {
        match self.0.most {
            0 => Err(NoPlace::None),
            most if running.len() < most => Ok(()),
            _ if running.iter().any(|one| one.revision.digest() == revision) => Ok(()),
            most => Err(NoPlace::Taken(most)),
        }
    }

    /// Gives the code of an ended one back, and says that it ended.
    async fn end_in_time(self, ends: Instant, stopped: CancellationToken) {
        tokio::select! {
            () = sleep_until(ends) => self.sweep(),
            () = stopped.cancelled() => {}
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        let mut running = self.0.running.write();
        running.retain(|shadow| {
            let runs = shadow.ends > now;
            if !runs {
                let (policy, revision) = (&shadow.revision.policy, shadow.revision.digest());
                info!(%policy, %revision, asked_by = %shadow.asked_by, "a shadow of this front has ended");
            }
            runs
        });
    }
}

impl FrontShadow {
    /// Its code.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }
}

fn take(running: &mut Vec<Arc<FrontShadow>>, revision: Digest) -> Option<Arc<FrontShadow>> {
    let at = running
        .iter()
        .position(|shadow| shadow.revision.digest() == revision)?;
    let taken = running.remove(at);
    taken.stopped.cancel();
    Some(taken)
}

#[cfg(test)]
mod tests;
