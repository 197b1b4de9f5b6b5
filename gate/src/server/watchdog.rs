//! A plain thread that ends the process when nothing else can.
//!
//! PKCS#11 has no time-out, a C module may take a lock and keep it, and a runtime whose
//! workers are all stuck answers nobody. The watchdog shares nothing with what it watches
//! but two counters: it aborts the process, without running what the module registered
//! for an orderly exit, and the supervisor starts another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

/// How often the runtime must show that it lives, and how often that is looked at.
const BEAT: Duration = Duration::from_millis(500);

/// How long the runtime may show nothing.
const RUNTIME_STALL: Duration = Duration::from_secs(20);

/// How long the process may take to end once the gate has.
const EXIT_STALL: Duration = Duration::from_secs(5);

/// How long when it ended for a fault: a hung module waits for nobody.
const FAULT_STALL: Duration = Duration::from_secs(1);

/// Stands for "not ending" among the milliseconds that an end may take.
const LIVING: u64 = u64::MAX;

#[derive(Debug)]
struct Signs {
    beats: AtomicU64,
    /// Milliseconds that are left to end in.
    ending: AtomicU64,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            beats: AtomicU64::new(0),
            ending: AtomicU64::new(LIVING),
        }
    }
}

/// Keeps the heart beating until [`Watchdog::end`].
#[derive(Debug)]
pub(super) struct Watchdog {
    signs: Arc<Signs>,
    heart: JoinHandle<()>,
}

impl Watchdog {
    /// Starts the thread, and the task it watches, in the current runtime.
    pub(super) fn start() -> std::io::Result<Self> {
        let signs = Arc::new(Signs::default());
        let watched = Arc::clone(&signs);
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(&watched, RUNTIME_STALL, BEAT, |why| abort(why)))?;
        let beating = Arc::clone(&signs);
        let heart = tokio::spawn(async move {
            loop {
                beating.beats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        });
        Ok(Self { signs, heart })
    }

    /// From now on the process has a few seconds to end; one, after a fault.
    pub(super) fn end(self, fault: bool) {
        let limit = if fault { FAULT_STALL } else { EXIT_STALL };
        let limit = u64::try_from(limit.as_millis()).unwrap_or(0);
        self.signs.ending.store(limit, Ordering::Relaxed);
        self.heart.abort();
    }
}

/// Returns (after `act`) when the watched party showed no life for too long.
fn watch(signs: &Signs, runtime_stall: Duration, beat: Duration, act: impl Fn(&'static str)) {
    let mut seen = signs.beats.load(Ordering::Relaxed);
    let mut silent = Duration::ZERO;
    let mut ending = Duration::ZERO;
    loop {
        std::thread::sleep(beat);
        let limit = signs.ending.load(Ordering::Relaxed);
        if limit != LIVING {
            ending += beat;
            if ending >= Duration::from_millis(limit) {
                return act("the gate could not end in time");
            }
            continue;
        }
        let beats = signs.beats.load(Ordering::Relaxed);
        if beats == seen {
            silent += beat;
        } else {
            (seen, silent) = (beats, Duration::ZERO);
        }
        if silent >= runtime_stall {
            return act("the gate's runtime stands still");
        }
    }
}

/// Ends the process at once: no destructor, no exit handler of the module runs.
fn abort(why: &'static str) -> ! {
    tracing::error!(why, "the gate aborts itself");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn verdict(signs: &Signs) -> &'static str {
        let said = RefCell::new("");
        let instant = Duration::from_nanos(1);
        watch(signs, instant, instant, |why| *said.borrow_mut() = why);
        said.into_inner()
    }

    #[test]
    fn silence_and_a_slow_end_are_both_fatal() {
        let signs = Signs::default();
        assert_eq!(verdict(&signs), "the gate's runtime stands still");
        signs.ending.store(0, Ordering::Relaxed);
        assert_eq!(verdict(&signs), "the gate could not end in time");
    }
}
