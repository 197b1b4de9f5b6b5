//! Canaries that stop by themselves: counts what they come to, and writes down that one is stopped.
//!
//! A request counts while it holds what is in force, once its record is on disk. A stop takes hold of the same for
//! itself, so that the counts in its entry are those of exactly the records before it. Whoever reads the ledger comes
//! to the same ([`sealwright_statement::policy::Set::counted`]).

mod recount;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message as _;
use sealwright_identity::Digest;
use sealwright_ledger::{CanaryStop, PolicyEntry, PolicyEvent, ReadError};
use sealwright_proto::gate::{Decision, Evidence};
use sealwright_runtime::Chain;
use sealwright_statement::policy::{CanaryCounts, CanaryVerdict, Revisions, Set, StopBounds};
use tokio::sync::Notify;
use tracing::{error, warn};

use super::Policies;
use super::error::PoliciesError;
pub(super) use recount::Uncounted;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// What the bounded canaries of one set come to.
#[derive(Debug)]
pub(super) struct Counters {
    bounds: StopBounds,
    canaries: Vec<Counter>,
    exceeded: Arc<Notify>,
}

#[derive(Debug)]
struct Counter {
    revision: Digest,
    decisions: AtomicU64,
    denied: AtomicU64,
    aborted: AtomicU64,
}

/// What one record counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Tally(Vec<(Digest, CanaryVerdict)>);

/// By what a record is judged to count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) set: &'a Set,
    pub(super) revisions: &'a Revisions,
    pub(super) stopped: &'a BTreeSet<Digest>,
}

impl Counters {
    /// `None` where the set bounds no canary.
    pub(super) fn of(set: &Set, exceeded: &Arc<Notify>) -> Option<Arc<Self>> {
        let bounds = set.stop?;
        let canaries: Vec<Counter> = set
            .bounded()
            .map(|(revision, _)| Counter::new(revision))
            .collect();
        if canaries.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            bounds,
            canaries,
            exceeded: Arc::clone(exceeded),
        }))
    }

    pub(super) fn count(&self, tally: &Tally) {
        for (revision, verdict) in &tally.0 {
            let Some(counter) = self.canaries.iter().find(|one| one.revision == *revision) else {
                continue;
            };
            match verdict {
                CanaryVerdict::Allowed => {}
                CanaryVerdict::Denied => add_one(&counter.denied),
                CanaryVerdict::Aborted => add_one(&counter.aborted),
            }
            add_one(&counter.decisions);
            if self.bounds.are_exceeded(&counter.read()) {
                self.exceeded.notify_one();
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Digest, CanaryCounts)> {
        self.canaries.iter().map(|one| (one.revision, one.read()))
    }

    /// Those that are above a bound.
    pub(super) fn exceeded(&self) -> impl Iterator<Item = (Digest, CanaryCounts)> {
        self.all().filter(|(_, counts)| self.bounds.are_exceeded(counts))
    }
}

impl Counter {
    fn new(revision: Digest) -> Self {
        Self {
            revision,
            decisions: AtomicU64::default(),
            denied: AtomicU64::default(),
            aborted: AtomicU64::default(),
        }
    }

    fn read(&self) -> CanaryCounts {
        CanaryCounts {
            decisions: self.decisions.load(Ordering::Acquire),
            denied: self.denied.load(Ordering::Acquire),
            aborted: self.aborted.load(Ordering::Acquire),
        }
    }
}

/// Adds to a count that whoever holds what is in force for itself reads whole.
fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::AcqRel);
}

impl Tally {
    pub(in crate::server) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Known<'_> {
    /// What a record of this evidence counts for.
    pub(super) fn tally(&self, identities: &[String], decision: Option<&Decision>) -> Tally {
        let stops = u32::try_from(self.stopped.len()).unwrap_or(u32::MAX);
        let decision =
            decision.filter(|decision| decision.set_number == self.set.number && decision.stops == stops);
        let Some(decision) = decision else {
            return Tally::default();
        };
        let asked = decision.policies.iter();
        let asked = asked.map(|policy| (policy.revision.as_str(), policy.verdict.as_str()));
        Tally(self.set.counted(self.revisions, self.stopped, identities, asked))
    }

    /// The same of a record as it was written.
    fn tally_of(&self, identities: &[String], evidence: &[u8]) -> Tally {
        // What is cut, or cannot be read, was not counted either.
        let evidence = Evidence::decode(evidence).unwrap_or_default();
        self.tally(identities, evidence.decision.as_ref())
    }
}

impl Policies {
    /// Stops canaries when their bounds are exceeded; never returns.
    pub(in crate::server) async fn keep_canaries(&self, stopped: impl Fn()) {
        let exceeded = self.history.lock().await.exceeded();
        let uncounted = self.uncounted.lock().take();
        if let Some(uncounted) = uncounted {
            self.count_again(uncounted).await;
        }
        loop {
            if let Err(error) = self.stop_exceeded(&stopped).await {
                error!(error = %Chain(&error), "a canary could not be stopped; it is tried again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            exceeded.notified().await;
        }
    }

    /// Counts what was there at the start. Given up when another set is in force: what is left says nothing of that one.
    async fn count_again(&self, mut uncounted: Uncounted) {
        while self.in_force.read().await.number() == uncounted.number() {
            match uncounted.piece(self.ledger.reader()).await {
                Ok(true) => break,
                Ok(false) => tokio::task::yield_now().await,
                Err(error) => {
                    self.cannot_count(&error);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        *self.not_counted.lock() = None;
    }

    /// Says so once, and in the status for as long as it is so.
    fn cannot_count(&self, error: &ReadError) {
        let text = Chain(error).to_string();
        let mut not_counted = self.not_counted.lock();
        if not_counted.as_ref() != Some(&text) {
            error!(error = %text, "what canaries came to before the start cannot be counted; it is tried again");
            *not_counted = Some(text);
        }
    }

    /// What is to be known of the set in force although it does not speak against issuing.
    pub(in crate::server) fn notice(&self) -> Option<String> {
        let not_counted = self.not_counted.lock();
        not_counted.as_ref().map(|why| {
            format!("policies: the canaries of the set in force stop by no bound, since earlier records cannot be counted: {why}")
        })
    }

    async fn stop_exceeded(&self, stopped: &impl Fn()) -> Result<(), PoliciesError> {
        let mut history = self.history.lock().await;
        if history.due().is_empty() {
            return Ok(());
        }
        // Whatever was checked is recorded and counted before this is held.
        let mut in_force = self.in_force.write().await;
        let Some(set) = history.active().map(|active| active.set.digest()) else {
            return Ok(());
        };
        for (canary, counts) in history.due() {
            let entry = PolicyEntry {
                event: PolicyEvent::Stop,
                number: history.number(),
                statement: set,
                judged_at: self.clock.now(),
                approvals: 0,
                seeded: false,
                brings: Vec::new(),
                stopped: Some(CanaryStop {
                    revision: canary,
                    decisions: counts.decisions,
                    denied: counts.denied,
                    aborted: counts.aborted,
                }),
            };
            let mut next = history.clone();
            next.stop(canary, entry.judged_at);
            next.count(entry.statement, &entry.brings);
            let fresh = next.in_force(self.deployment);
            self.ledger.policy(&entry).await?;
            *in_force = fresh;
            *history = next;
            stopped();
            warn!(
                number = entry.number, %canary, counts.decisions, counts.denied, counts.aborted,
                "a canary was stopped by the bounds of its set; the enforcing revision decides"
            );
        }
        drop(in_force);
        self.raise_mark(&history);
        Ok(())
    }
}
