//! A worker: one thread, one session, one signature at a time, and the repairs.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use flume::Receiver;
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{PoolFailure, SignError};
use crate::{
    error::Error,
    key::KeyHandle,
    metrics::{Metrics, Repair},
    module::{CallError, ModuleSession, SessionKind},
    operation::Operation,
    rv::Class,
    token::Token,
};

/// How often one request is tried: a lost session costs two (the session, then
/// the login that went with it), and others may lose it again in between.
const TRIES: usize = 8;

/// How often one request is tried when the device fails without a reason.
const DEVICE_TRIES: usize = 2;

/// Requests in a row that a device may fail before the pool gives it up.
const FAILURES: usize = 3;

/// A request in the queue.
pub(super) struct Job {
    pub(super) key: KeyHandle,
    pub(super) operation: Operation,
    pub(super) queued: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Vec<u8>, SignError>>,
}

/// What all workers share. The order of the fields matters: who waits for the
/// end of the pool waits for `failure`, and by then the token is let go.
#[derive(Clone)]
pub(super) struct Crew {
    token: Token,
    queue: Receiver<Job>,
    pub(super) metrics: Metrics,
    failure: Arc<watch::Sender<Option<PoolFailure>>>,
    failures: Arc<AtomicUsize>,
}

/// What the monitor sees of a worker.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Since when the worker is with one request.
    busy_since: Mutex<Option<Instant>>,
    /// Set by the monitor: the worker ends as soon as it comes back.
    lost: AtomicBool,
}

impl Watched {
    pub(super) fn busy_since(&self) -> Option<Instant> {
        *self.busy_since.lock()
    }

    /// Gives the worker up, unless it came back meanwhile.
    pub(super) fn give_up(&self, since: Instant) -> bool {
        let busy_since = self.busy_since.lock();
        let stuck = *busy_since == Some(since);
        if stuck {
            self.lost.store(true, Ordering::Release);
        }
        stuck
    }
}

impl Crew {
    pub(super) fn new(
        token: Token,
        queue: Receiver<Job>,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Option<PoolFailure>>) {
        let (failure, failed) = watch::channel(None);
        let crew = Self {
            token,
            queue,
            metrics,
            failure: Arc::new(failure),
            failures: Arc::new(AtomicUsize::new(0)),
        };
        (crew, failed)
    }

    /// Starts one more worker.
    pub(super) fn spawn(&self) -> Option<Arc<Watched>> {
        let watched = Arc::new(Watched::default());
        let worker = Worker {
            crew: self.clone(),
            watched: Arc::clone(&watched),
            session: None,
        };
        match thread::Builder::new()
            .name("hsm-worker".into())
            .spawn(move || worker.run())
        {
            Ok(_) => Some(watched),
            Err(error) => {
                self.fail(PoolFailure::Thread {
                    reason: error.to_string(),
                });
                None
            }
        }
    }

    /// Ends the pool; the first reason stays.
    pub(super) fn fail(&self, failure: PoolFailure) {
        self.failure.send_if_modified(|current| {
            if current.is_some() {
                return false;
            }
            tracing::error!(
                error = &failure as &dyn std::error::Error,
                "the token is given up until a restart"
            );
            *current = Some(failure);
            true
        });
    }

    fn failure(&self) -> Option<PoolFailure> {
        self.failure.borrow().clone()
    }
}

/// A module's answer can make the code around it panic: a length that no memory holds does. A thread
/// that ends so would leave its requests and its place in the pool behind.
fn shielded<T>(sign: impl FnOnce() -> T) -> Result<T, PoolFailure> {
    // What the closure leaves half done is the session; the pool that it belongs to ends with this.
    catch_unwind(AssertUnwindSafe(sign)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        PoolFailure::Panicked {
            reason: text
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default(),
        }
    })
}

struct Worker {
    crew: Crew,
    watched: Arc<Watched>,
    session: Option<ModuleSession>,
}

/// Why one try failed.
enum Trouble {
    Call(CallError),
    Token(Error),
}

impl Worker {
    fn run(mut self) {
        while let Ok(job) = self.crew.queue.recv() {
            self.crew.metrics.queue_depth.dec();
            if self.serve(job) {
                continue;
            }
            // Given up as hung, and replaced.
            break;
        }
        if self.session.take().is_some() {
            self.crew.metrics.sessions.dec();
        }
    }

    /// Serves one request; false when this worker was given up meanwhile.
    fn serve(&mut self, job: Job) -> bool {
        let now = Instant::now();
        if now >= job.deadline || job.reply.is_closed() {
            // Dropped unsigned: nobody waits for it any more.
            self.crew.metrics.expired.inc();
            return true;
        }
        if let Some(failure) = self.crew.failure() {
            let _ = job.reply.send(Err(SignError::Fatal(failure)));
            return true;
        }
        *self.watched.busy_since.lock() = Some(now);
        self.crew.metrics.busy.inc();
        self.crew.metrics.waited(now - job.queued);
        let result = shielded(|| self.sign(&job)).unwrap_or_else(|failure| {
            self.crew.fail(failure.clone());
            Err(SignError::Fatal(failure))
        });
        self.crew.metrics.signed(now.elapsed());
        self.crew.metrics.busy.dec();
        *self.watched.busy_since.lock() = None;
        let _ = job.reply.send(result);
        !self.watched.lost.load(Ordering::Acquire)
    }

    fn sign(&mut self, job: &Job) -> Result<Vec<u8>, SignError> {
        let mut device_tries = 0;
        for _ in 1..TRIES {
            let epoch = self.crew.token.epoch();
            let trouble = match self.attempt(job) {
                Ok(signature) => return self.done(job, signature),
                Err(trouble) => trouble,
            };
            if trouble.class() == Class::Device {
                device_tries += 1;
                if device_tries == DEVICE_TRIES {
                    return Err(self.last(trouble));
                }
            }
            self.repair(epoch, trouble)?;
            if Instant::now() >= job.deadline {
                return Err(SignError::Deadline);
            }
        }
        match self.attempt(job) {
            Ok(signature) => self.done(job, signature),
            Err(trouble) => Err(self.last(trouble)),
        }
    }

    /// An answer that is no signature counts as the device's failure, though
    /// the call went well: a module that answers nonsense is not repaired here.
    fn done(&self, job: &Job, raw: Vec<u8>) -> Result<Vec<u8>, SignError> {
        let reason = match job.operation.finish(raw) {
            Ok(signature) => {
                self.crew.failures.store(0, Ordering::Release);
                return Ok(signature);
            }
            Err(error) => error.to_string(),
        };
        let failures = self.count_failure();
        if failures < FAILURES {
            return Err(SignError::Malformed { reason });
        }
        let failure = PoolFailure::Malformed { failures, reason };
        self.crew.fail(failure.clone());
        Err(SignError::Fatal(failure))
    }

    fn count_failure(&self) -> usize {
        self.crew.failures.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn attempt(&mut self, job: &Job) -> Result<Vec<u8>, Trouble> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = self
                    .crew
                    .token
                    .open_session(SessionKind::ReadOnly)
                    .map_err(Trouble::Call)?;
                self.crew.metrics.sessions.inc();
                session
            }
        };
        let session = self.session.insert(session);
        let key = self
            .crew
            .token
            .resolve(&job.key, session)
            .map_err(Trouble::Token)?;
        let mechanism = job.operation.mechanism();
        session
            .call("C_Sign", |session| {
                session.sign(&mechanism, key.handle, job.operation.input())
            })
            .map_err(Trouble::Call)
    }

    /// Does what the class of the trouble calls for, or says that nothing can
    /// be done.
    fn repair(&mut self, epoch: u64, trouble: Trouble) -> Result<(), SignError> {
        let class = trouble.class();
        // Whatever it was may have left an operation open in the session.
        self.drop_session(&trouble);
        match class {
            Class::Session | Class::Device => Ok(()),
            Class::Login => match self.crew.token.repair_login(epoch) {
                Ok(()) => Ok(()),
                Err(Error::Call { source, .. }) if source.class() == Class::Session => {
                    // Lost again meanwhile: the next try repairs it again.
                    Ok(())
                }
                Err(error @ Error::Call { .. }) => Err(self.last(Trouble::Token(error))),
                Err(error) => Err(self.give_up(error)),
            },
            Class::Pin | Class::Restart | Class::Busy | Class::Refused => Err(self.last(trouble)),
        }
    }

    /// The answer to a request that no further try is made for.
    fn last(&mut self, trouble: Trouble) -> SignError {
        self.drop_session(&trouble);
        let class = trouble.class();
        match (class, trouble) {
            (Class::Refused, Trouble::Call(call)) => SignError::Refused(call),
            (Class::Busy, trouble) => SignError::Unavailable(Arc::new(trouble.into_error())),
            // All repairs were made, and the key is not there.
            (Class::Login, trouble @ Trouble::Token(Error::KeyAbsent { .. })) => {
                self.give_up(trouble.into_error())
            }
            (Class::Pin | Class::Restart, trouble) => self.give_up(trouble.into_error()),
            (Class::Session | Class::Login | Class::Device | Class::Refused, trouble) => self.strike(trouble),
        }
    }

    /// Counts a failure of the device; the last of a row ends the pool.
    fn strike(&self, trouble: Trouble) -> SignError {
        let failures = self.count_failure();
        if failures < FAILURES {
            return SignError::Unavailable(Arc::new(trouble.into_error()));
        }
        let failure = match trouble.into_error() {
            Error::Call { source, .. } => PoolFailure::Device { failures, source },
            other => PoolFailure::Token(Arc::new(other)),
        };
        self.crew.fail(failure.clone());
        SignError::Fatal(failure)
    }

    fn give_up(&self, error: Error) -> SignError {
        let failure = PoolFailure::Token(Arc::new(error));
        self.crew.fail(failure.clone());
        SignError::Fatal(failure)
    }

    fn drop_session(&mut self, trouble: &Trouble) {
        let Some(session) = self.session.take() else {
            return;
        };
        self.crew.metrics.sessions.dec();
        self.crew.metrics.repaired(Repair::Session);
        match trouble.rv() {
            // It is gone in the module: to close it could close another one.
            Some("CKR_SESSION_HANDLE_INVALID" | "CKR_SESSION_CLOSED") => session.forget(),
            _ => drop(session),
        }
    }
}

impl Trouble {
    fn class(&self) -> Class {
        match self {
            Self::Call(call) | Self::Token(Error::Call { source: call, .. }) => call.class(),
            // A key that is not found, or not readable, is the sign of a login
            // that somebody ended; after a repair it is really gone.
            Self::Token(Error::KeyAbsent { .. } | Error::KeyPublic { .. }) => Class::Login,
            Self::Token(_) => Class::Restart,
        }
    }

    fn rv(&self) -> Option<&'static str> {
        match self {
            Self::Call(call) | Self::Token(Error::Call { source: call, .. }) => Some(call.rv()),
            Self::Token(_) => None,
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Call(source) => Error::Call {
                doing: "signing",
                source,
            },
            Self::Token(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_of_the_pool() {
        assert_eq!(shielded(|| 1).unwrap(), 1);
        let length = std::hint::black_box(usize::MAX);
        let failure = shielded(|| vec![0_u8; length].len()).unwrap_err();
        assert!(
            matches!(&failure, PoolFailure::Panicked { reason } if reason.contains("capacity")),
            "{failure}"
        );
        assert!(!failure.is_pin());
    }
}
