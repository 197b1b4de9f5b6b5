//! The policy host: threads on which policies decide.
//!
//! Decisions are CPU work of a guest, so they never run on an async worker.
//! The queues are bounded; a request that nobody waits for any more is dropped
//! from them unexecuted. Policies that burn processor time have a queue and a
//! thread apart (`lane`), so that others do not wait behind them. So do those
//! that only watch (`shadow`), and requests that nobody made (`explain`).

mod explain;
mod shadow;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use flume::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

pub use self::shadow::{Difference, Observation, ShadowLane};
use self::{explain::Question, shadow::Watch};
use crate::{
    AbortReason, Decision, Denial, Engine, Narrowing, Outcome, Policy, PolicyInput, combine, decision::code,
    lane,
};

/// How long [`PolicyHost::decide`] waits.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// A worker's stack, in bytes: the stack of WebAssembly and ample space around.
const STACK_BYTES: usize = 2 << 20;

/// The size of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Threads that decide.
    pub threads: usize,
    /// Requests that may wait.
    pub queue: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            threads: thread::available_parallelism().map_or(2, usize::from),
            queue: 1024,
        }
    }
}

/// Decides requests. Cheap to clone; its threads end with the last clone.
#[derive(Clone, Debug)]
pub struct PolicyHost {
    engine: Engine,
    queue: Sender<Job>,
    slow: Sender<Job>,
    shadows: Sender<Watch>,
    front_shadows: Sender<Watch>,
    questions: Sender<Question>,
}

pub(crate) struct Job {
    policies: Vec<Arc<Policy>>,
    input: Arc<PolicyInput>,
    span: tracing::Span,
    answer: oneshot::Sender<Decision>,
}

impl Job {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

impl PolicyHost {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a size is zero or the system refuses a thread.
    pub fn start(engine: Engine, config: HostConfig) -> Result<Self, HostError> {
        if config.threads == 0 || config.queue == 0 {
            return Err(HostError::Size(config));
        }
        let (queue, jobs) = bounded(config.queue);
        for number in 0..config.threads {
            let jobs = jobs.clone();
            spawn(format!("policy-{number}"), move || work(&jobs))?;
        }
        let (slow, jobs) = bounded(config.queue);
        spawn("policy-slow".to_owned(), move || {
            lane::yield_to_others();
            work(&jobs);
        })?;
        let (questions, asked) = bounded(explain::QUEUE);
        spawn("policy-explain".to_owned(), move || {
            lane::yield_to_others();
            explain::work(&asked);
        })?;
        Ok(Self {
            engine,
            queue,
            slow,
            questions,
            shadows: shadow_lane("policy-shadow")?,
            front_shadows: shadow_lane("policy-trial")?,
        })
    }

    /// A host whose queues nobody works on: the first, and the slow one. It has none for shadows.
    #[cfg(test)]
    pub(crate) fn idle(engine: Engine, queue: usize) -> (Self, Receiver<Job>, Receiver<Job>) {
        let (slow, slow_jobs) = bounded(queue);
        let (queue, jobs) = bounded(queue);
        let host = Self {
            engine,
            queue,
            slow,
            shadows: bounded(0).0,
            front_shadows: bounded(0).0,
            questions: bounded(0).0,
        };
        (host, jobs, slow_jobs)
    }

    /// The engine that policies for this host are loaded with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Requests that wait now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len() + self.slow.len()
    }

    /// Asks all policies within [`DEFAULT_DEADLINE`].
    pub async fn decide(&self, policies: &[Arc<Policy>], input: impl Into<Arc<PolicyInput>>) -> Decision {
        self.decide_within(policies, input, DEFAULT_DEADLINE).await
    }

    /// Asks all policies, in order, until one does not allow. Each sees the
    /// same input. No policies: denied. When this future is dropped, or the
    /// deadline passes, a request that still waits is not executed.
    pub async fn decide_within(
        &self,
        policies: &[Arc<Policy>],
        input: impl Into<Arc<PolicyInput>>,
        deadline: Duration,
    ) -> Decision {
        let refused = |input: &PolicyInput, reason| Decision {
            outcome: Outcome::Aborted { policy: None, reason },
            evaluations: Vec::new(),
            input_json: input.canonical(),
            decided_at: input.decided_at,
            executed: Duration::ZERO,
        };
        let input = input.into();
        // What is answered when the worker's answer does not come.
        let backup = Arc::clone(&input);
        let (answer, decision) = oneshot::channel();
        let job = Job {
            policies: policies.to_vec(),
            input,
            span: tracing::Span::current(),
            answer,
        };
        let dear = policies.iter().any(|policy| policy.is_dear());
        let lane = if dear { &self.slow } else { &self.queue };
        match lane.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => return refused(&job.input, AbortReason::QueueFull),
            Err(TrySendError::Disconnected(job)) => {
                return refused(&job.input, AbortReason::Stopped);
            }
        }
        match tokio::time::timeout(deadline, decision).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_)) => refused(&backup, AbortReason::Stopped),
            Err(_) => refused(&backup, AbortReason::Deadline),
        }
    }
}

impl PolicyHost {
    /// Asks policies that only watch, some time after a decision on the same input was reached, and
    /// hands what they said to `report`, on their thread. Whether there was room for them: when
    /// there was not they are not asked.
    pub fn watch(
        &self,
        lane: ShadowLane,
        policies: Vec<Arc<Policy>>,
        input: Arc<PolicyInput>,
        decision: &Decision,
        report: impl FnOnce(Vec<Observation>) + Send + 'static,
    ) -> bool {
        let watch = Watch::new(policies, input, decision, Box::new(report));
        let lane = match lane {
            ShadowLane::Set => &self.shadows,
            ShadowLane::Front => &self.front_shadows,
        };
        lane.try_send(watch).is_ok()
    }
}

fn shadow_lane(name: &str) -> Result<Sender<Watch>, HostError> {
    let (lane, watches) = bounded(shadow::QUEUE);
    spawn(name.to_owned(), move || {
        lane::yield_to_others();
        shadow::work(&watches);
    })?;
    Ok(lane)
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<(), HostError> {
    thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map(drop)
        .map_err(HostError::Thread)
}

fn work(jobs: &Receiver<Job>) {
    for job in jobs.iter() {
        if job.is_abandoned() {
            continue;
        }
        // A panic here would be a fault of ours or of wasmtime; it must not
        // take the worker away from the requests behind.
        let started = tokio::time::Instant::now();
        let decision = catch_unwind(AssertUnwindSafe(|| {
            job.span
                .in_scope(|| decide(&job.policies, &job.input, || !job.is_abandoned()))
        }));
        match decision {
            // Nobody waits any more: nothing to tell.
            Ok(decision) => drop(job.answer.send(Decision {
                executed: started.elapsed(),
                ..decision
            })),
            Err(_) => tracing::error!("a policy worker panicked"),
        }
    }
}

/// The decision of all policies; the part of the host that is pure.
pub(crate) fn decide(
    policies: &[Arc<Policy>],
    input: &PolicyInput,
    waited_for: impl Fn() -> bool,
) -> Decision {
    let mut decision = Decision {
        outcome: Outcome::Allow(Narrowing::default()),
        evaluations: Vec::with_capacity(policies.len()),
        input_json: input.canonical(),
        decided_at: input.decided_at,
        executed: Duration::ZERO,
    };
    if let Some(denial) = refuse_unasked(policies, input) {
        decision.outcome = Outcome::Deny(denial);
        return decision;
    }
    let record = input.to_wit();
    let mut granted = Narrowing::default();
    for policy in policies {
        if !waited_for() {
            decision.outcome = Outcome::Aborted {
                policy: None,
                reason: AbortReason::Deadline,
            };
            return decision;
        }
        let evaluation = policy.evaluate_measured(input, &record);
        let step = match (&evaluation.narrowing, &evaluation.denial) {
            (Some(narrowing), _) => {
                combine::intersect(std::mem::take(&mut granted), narrowing, policy.name())
                    .map_err(Outcome::Deny)
            }
            (None, Some(denial)) => Err(Outcome::Deny(denial.clone())),
            (None, None) => Err(Outcome::Aborted {
                policy: Some(policy.name().to_owned()),
                reason: evaluation.aborted.unwrap_or(AbortReason::Instantiation),
            }),
        };
        decision.evaluations.push(evaluation);
        match step {
            Ok(narrowing) => granted = narrowing,
            Err(outcome) => {
                decision.outcome = outcome;
                return decision;
            }
        }
    }
    decision.outcome = Outcome::Allow(granted);
    decision
}

/// Refusals for which no policy has to be asked.
fn refuse_unasked(policies: &[Arc<Policy>], input: &PolicyInput) -> Option<Denial> {
    if policies.is_empty() {
        return Some(combine::fault(
            "",
            code::NO_POLICY,
            "no policy is in scope for this issuer",
        ));
    }
    let error = input.check().err()?;
    Some(combine::fault("", code::INPUT_INVALID, error.to_string()))
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No threads, or no queue.
    #[error("the policy host needs at least one thread and a queue of one, not {0:?}")]
    Size(HostConfig),
    /// The system refused a thread.
    #[error("a policy thread did not start")]
    Thread(#[source] std::io::Error),
}
