//! What a connection has earned: whether it may stay, and how much a stranger may ask on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls in progress, on one connection, of services that ask for no credentials.
pub(crate) const OPEN_CALLS: usize = 16;

/// Shared by a connection and the requests that come over it.
#[derive(Debug)]
pub struct Standing {
    known: AtomicBool,
    open_calls: Arc<Semaphore>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            known: AtomicBool::new(false),
            open_calls: Arc::new(Semaphore::new(OPEN_CALLS)),
        }
    }
}

impl Standing {
    /// A caller was authenticated: the connection may stay.
    pub(crate) fn vouch(&self) {
        // Read first: on the hot path the line stays shared between processors.
        if !self.is_known() {
            self.known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a caller was ever authenticated on this connection.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// A place for one call without credentials; `None` when the connection has used up its own.
    pub(crate) fn open_call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.open_calls).try_acquire_owned().ok()
    }
}
