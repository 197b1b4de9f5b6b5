//! Signatures, from any number of tasks, on a few threads with a session each.
//!
//! A PKCS#11 call blocks and has no time limit, so it never runs on an async
//! worker. Requests wait in a bounded queue; each has a deadline, and one that
//! is past it when its turn comes is dropped unsigned. A worker that stays in
//! one call for longer than the pool's deadline is taken for lost and replaced,
//! at most as many times as there are workers. After that, and after anything
//! that a session cannot repair, the pool fails for good: every request gets
//! [`SignError::Fatal`], [`SessionPool::failed`] returns, and the process that
//! owns the pool is expected to end.

mod failure;
mod monitor;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

use flume::{Sender, TrySendError, bounded};
use parking_lot::Mutex;
use sealwright_x509::{SignatureAlgorithm, verify_signature};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

pub use self::failure::{PoolFailure, SignError};
use self::{
    monitor::Monitor,
    worker::{Crew, Job},
};
use crate::{
    config::TokenConfig,
    key::KeyHandle,
    metrics::Metrics,
    operation::Operation,
    signable::{Probe, Signable},
    token::Token,
};

/// How a pool works; see [`TokenConfig`] for the meaning of each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolConfig {
    /// Worker threads; at least one.
    pub sessions: usize,
    /// Requests that may wait; at least one.
    pub queue: usize,
    /// Longest time of one signature, waiting included.
    pub deadline: Duration,
}

impl From<&TokenConfig> for PoolConfig {
    fn from(config: &TokenConfig) -> Self {
        Self {
            sessions: config.sessions,
            queue: config.queue,
            deadline: config.deadline,
        }
    }
}

/// The pool. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct SessionPool(Arc<Inner>);

struct Inner {
    open: Mutex<Option<Open>>,
    failure: watch::Receiver<Option<PoolFailure>>,
    /// The number of the token that is signed with.
    token: u64,
    config: PoolConfig,
    metrics: Metrics,
}

/// The ends of the channels that keep the threads going.
struct Open {
    jobs: Sender<Job>,
    /// Ends the monitor when it is dropped.
    _stop: Sender<()>,
}

impl SessionPool {
    /// Starts the workers. Their sessions are opened by the first request.
    pub fn start(token: Token, config: PoolConfig, metrics: Metrics) -> Self {
        let config = PoolConfig {
            sessions: config.sessions.max(1),
            queue: config.queue.max(1),
            ..config
        };
        let (jobs, queue) = bounded(config.queue);
        let (stop, stopped) = bounded(0);
        let number = token.number();
        let (crew, failure) = Crew::new(token, queue, metrics.clone());
        Monitor::start(crew, config, stopped);
        Self(Arc::new(Inner {
            open: Mutex::new(Some(Open { jobs, _stop: stop })),
            failure,
            token: number,
            config,
            metrics,
        }))
    }

    /// Signs within `deadline`, which counts from now and is capped by the
    /// pool's own. The answer is as X.509 holds it: DER for ECDSA.
    ///
    /// It is not verified here: who asks does that, with another code.
    ///
    /// # Errors
    /// See [`SignError`]. After [`SignError::Deadline`] the token may have
    /// made the signature all the same.
    pub async fn sign(
        &self,
        key: &KeyHandle,
        what: Signable,
        deadline: Duration,
    ) -> Result<Vec<u8>, SignError> {
        let result = self.submit(key, &what, deadline).await;
        self.0.metrics.answered(match &result {
            Ok(_) => "ok",
            Err(error) => error.code(),
        });
        result
    }

    /// Signs a probe with the health key and verifies the answer: the only
    /// health check that says anything, as a session that is lost in the token
    /// still reports itself logged in.
    ///
    /// # Errors
    /// As [`SessionPool::sign`], and [`SignError::Unverified`].
    pub async fn probe(&self, key: &KeyHandle, deadline: Duration) -> Result<(), SignError> {
        let probe = Probe::new();
        let signature = self.sign(key, Signable::Probe(probe.clone()), deadline).await?;
        let algorithm = SignatureAlgorithm::for_ca_key(key.key_type());
        verify_signature(key.spki_der(), algorithm, probe.message(), &signature)
            .map_err(|_| SignError::Unverified)
    }

    /// Waits until the pool has failed for good; for ever, if it never does.
    pub async fn failed(&self) -> PoolFailure {
        let mut failure = self.0.failure.clone();
        // The sender lives in the workers: when they are gone without a word,
        // the pool is being dropped.
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Why the pool has failed, if it has.
    pub fn failure(&self) -> Option<PoolFailure> {
        self.0.failure.borrow().clone()
    }

    /// Requests that wait for a worker now.
    pub fn queue_depth(&self) -> usize {
        let open = self.0.open.lock();
        open.as_ref().map_or(0, |open| open.jobs.len())
    }

    /// Ends the pool in order: takes no more requests, serves those that wait,
    /// and answers whether all threads have ended within `limit`.
    ///
    /// A process should not exit before: a module that is torn down while one
    /// of its functions runs crashes, and the exit code with it. When the
    /// answer is no, a call hangs, and only an abort ends the process safely.
    pub async fn close(&self, limit: Duration) -> bool {
        drop(self.0.open.lock().take());
        let mut failure = self.0.failure.clone();
        // Each thread holds the sender, and drops it after its token.
        let ended = async { while failure.changed().await.is_ok() {} };
        timeout(limit, ended).await.is_ok()
    }

    async fn submit(
        &self,
        key: &KeyHandle,
        what: &Signable,
        deadline: Duration,
    ) -> Result<Vec<u8>, SignError> {
        if let Some(failure) = self.failure() {
            return Err(SignError::Fatal(failure));
        }
        // Its number would name another object in this token.
        if key.token() != self.0.token {
            return Err(SignError::ForeignKey);
        }
        let queued = Instant::now();
        let deadline = queued + deadline.min(self.0.config.deadline);
        let (reply, answer) = oneshot::channel();
        let job = Job {
            key: key.clone(),
            operation: prepare(key, what)?,
            queued,
            deadline,
            reply,
        };
        self.enqueue(job)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            // A worker dropped the request: past its deadline, or given up.
            Ok(Err(_)) => Err(self.failure().map_or(SignError::Deadline, SignError::Fatal)),
            Err(_) => Err(SignError::Deadline),
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), SignError> {
        let open = self.0.open.lock();
        let Some(open) = open.as_ref() else {
            return Err(SignError::Fatal(PoolFailure::Stopped));
        };
        self.0.metrics.queue_depth.inc();
        open.jobs.try_send(job).map_err(|error| {
            self.0.metrics.queue_depth.dec();
            match error {
                TrySendError::Full(_) => SignError::Overloaded {
                    queue: self.0.config.queue,
                },
                TrySendError::Disconnected(_) => SignError::Fatal(PoolFailure::Stopped),
            }
        })
    }
}

impl fmt::Debug for SessionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPool")
            .field("config", &self.0.config)
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

fn prepare(key: &KeyHandle, what: &Signable) -> Result<Operation, SignError> {
    if what.purpose() != key.purpose() {
        return Err(SignError::Purpose);
    }
    let able = SignatureAlgorithm::for_ca_key(key.key_type());
    if what.algorithm().is_some_and(|wanted| wanted != able) {
        return Err(SignError::Algorithm {
            key_type: key.key_type(),
        });
    }
    Operation::new(key.key_type(), what.message()).map_err(|error| SignError::Unsupported {
        reason: error.to_string(),
    })
}
