//! What a connection has earned, and what it holds: whether it may stay, how much a stranger may ask
//! on it, how many bytes its requests keep in memory, and whether it takes its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls in progress, on one connection, of services that ask for no credentials.
pub(crate) const OPEN_CALLS: usize = 16;

/// Shared by a connection and the requests that come over it.
#[derive(Debug)]
pub struct Standing {
    number: u64,
    /// Whoever was authenticated last, as a hash; 0 while nobody was.
    caller: AtomicU64,
    open_calls: Arc<Semaphore>,
    held: AtomicUsize,
    unsent: AtomicUsize,
    sent: AtomicUsize,
}

impl Default for Standing {
    fn default() -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        Self {
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
            caller: AtomicU64::new(0),
            open_calls: Arc::new(Semaphore::new(OPEN_CALLS)),
            held: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        }
    }
}

impl Standing {
    /// The connection's own number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A caller was authenticated: the connection may stay.
    pub(crate) fn vouch(&self, caller: u64) {
        let caller = caller.max(1);
        // Read first: on the hot path the line stays shared between processors.
        if self.caller.load(Ordering::Relaxed) != caller {
            self.caller.store(caller, Ordering::Relaxed);
        }
    }

    /// Whoever was authenticated last on this connection.
    pub(crate) fn caller(&self) -> Option<u64> {
        Some(self.caller.load(Ordering::Relaxed)).filter(|caller| *caller != 0)
    }

    /// Whether a caller was ever authenticated on this connection.
    pub(crate) fn is_known(&self) -> bool {
        self.caller().is_some()
    }

    /// A place for one call without credentials; `None` when the connection has used up its own.
    pub(crate) fn open_call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.open_calls).try_acquire_owned().ok()
    }

    /// Bytes that its requests hold.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A request holds more.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A request holds it no more.
    pub(crate) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An answer is ready to be sent, until what is returned is dropped.
    pub(crate) fn answer(self: &Arc<Self>) -> Unsent {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        Unsent(Arc::clone(self))
    }

    /// Answers that wait to be sent, and the number of those that were.
    pub(super) fn answers(&self) -> (usize, usize) {
        (
            self.unsent.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }
}

/// An answer that waits until its peer takes it.
#[derive(Debug)]
pub(crate) struct Unsent(Arc<Standing>);

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.unsent.fetch_sub(1, Ordering::Relaxed);
        self.0.sent.fetch_add(1, Ordering::Relaxed);
    }
}
