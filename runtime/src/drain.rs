//! Stopping in two phases: first gracefully, then, at a deadline, by force.

use std::{future::Future, time::Duration};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{info, warn};

/// Ends all that holds a [`Watcher`].
#[derive(Debug, Default)]
pub struct Drain {
    soft: CancellationToken,
    hard: CancellationToken,
    held: TaskTracker,
}

impl Drain {
    /// Nothing is draining yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For one component; the drain waits until the watcher is dropped.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher {
            soft: self.soft.clone(),
            hard: self.hard.clone(),
            held: self.held.clone(),
            _hold: self.held.token(),
        }
    }

    /// Asks all to end, waits until they have or the deadline is over, then forces them.
    /// Returns whether all ended by themselves.
    pub async fn drain(self, deadline: Duration) -> bool {
        info!(deadline_seconds = deadline.as_secs(), "draining");
        self.soft.cancel();
        self.held.close();
        let graceful = tokio::time::timeout(deadline, self.held.wait()).await.is_ok();
        self.hard.cancel();
        if !graceful {
            warn!(left = self.held.len(), "not everything ended by itself in time");
        }
        graceful
    }
}

/// Held by a component while it must not be cut off.
#[derive(Debug)]
pub struct Watcher {
    soft: CancellationToken,
    hard: CancellationToken,
    held: TaskTracker,
    _hold: TaskTrackerToken,
}

impl Clone for Watcher {
    fn clone(&self) -> Self {
        Self {
            soft: self.soft.clone(),
            hard: self.hard.clone(),
            held: self.held.clone(),
            _hold: self.held.token(),
        }
    }
}

impl Watcher {
    /// Completes when new work must no longer be taken. Cancel-safe.
    pub async fn draining(&self) {
        self.soft.cancelled().await;
    }

    /// Completes when what is left must be dropped. Cancel-safe.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Cancelled when the drain begins. Holding the token holds nothing up.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.soft.clone()
    }
}

/// Runs a component whose future ends by itself once `watcher.draining()` does, and drops it
/// when the drain is forced. `None`: it was dropped.
pub async fn run_with_drain<F, T>(component: &str, watcher: Watcher, run: F) -> Option<T>
where
    F: Future<Output = T>,
{
    tokio::select! {
        done = run => Some(done),
        () = watcher.forced() => {
            warn!(component, "cut off");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_those_who_end_by_themselves() {
        let drain = Drain::new();
        let watcher = drain.watcher();
        let inner = watcher.clone();
        let task = tokio::spawn(run_with_drain("polite", watcher, async move {
            inner.draining().await;
            7
        }));
        assert!(drain.drain(Duration::from_secs(5)).await);
        assert_eq!(task.await.unwrap(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_off_the_rest_at_the_deadline() {
        let drain = Drain::new();
        let task = tokio::spawn(run_with_drain(
            "stuck",
            drain.watcher(),
            std::future::pending::<()>(),
        ));
        assert!(!drain.drain(Duration::from_secs(5)).await);
        assert_eq!(task.await.unwrap(), None);
    }
}
