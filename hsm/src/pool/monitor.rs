//! The monitor: starts the workers, and replaces those that hang.

use std::{sync::Arc, thread, time::Duration};

use flume::{Receiver, RecvTimeoutError};

use super::{
    PoolConfig, PoolFailure,
    worker::{Crew, Watched},
};

pub(super) struct Monitor {
    crew: Crew,
    workers: Vec<Arc<Watched>>,
    deadline: Duration,
    /// Replacements that may still be made.
    left: usize,
    replaced: usize,
}

impl Monitor {
    /// Starts the workers and a thread that watches them until `stopped` is
    /// disconnected.
    pub(super) fn start(crew: Crew, config: PoolConfig, stopped: Receiver<()>) {
        let workers = (0..config.sessions).filter_map(|_| crew.spawn()).collect();
        let monitor = Self {
            crew: crew.clone(),
            workers,
            deadline: config.deadline,
            left: config.sessions,
            replaced: 0,
        };
        let thread = thread::Builder::new()
            .name("hsm-monitor".into())
            .spawn(move || monitor.watch(&stopped));
        if let Err(error) = thread {
            crew.fail(PoolFailure::Thread {
                reason: error.to_string(),
            });
        }
    }

    fn watch(mut self, stopped: &Receiver<()>) {
        let pause = (self.deadline / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            if !self.look() {
                break;
            }
        }
    }

    /// Replaces every worker that hangs; false when none may be replaced.
    fn look(&mut self) -> bool {
        let mut kept = Vec::with_capacity(self.workers.len());
        for worker in std::mem::take(&mut self.workers) {
            let hangs = worker
                .busy_since()
                .filter(|since| since.elapsed() > self.deadline)
                .is_some_and(|since| worker.give_up(since));
            if !hangs {
                kept.push(worker);
                continue;
            }
            if self.left == 0 {
                self.crew.fail(PoolFailure::Hung {
                    replaced: self.replaced,
                });
                return false;
            }
            self.left -= 1;
            self.replaced += 1;
            self.crew.metrics.replaced.inc();
            tracing::warn!(left = self.left, "a PKCS#11 call hangs; its worker is replaced");
            kept.extend(self.crew.spawn());
        }
        self.workers = kept;
        true
    }
}
