//! What a policy's decisions cost of late, and so the lane they take.
//!
//! Fuel bounds one decision, but a policy that burns all of it takes a thousand times the processor
//! of an honest one. Such a policy gets a lane of its own, so that the requests of others do not
//! wait behind it. The lane changes when a verdict comes, never which.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    process::setpriority_process,
    time::{ClockId, clock_gettime},
};

/// Processor time of one decision above which a policy is dear; an honest one takes tens of
/// microseconds.
const DEAR: Duration = Duration::from_millis(2);
/// The part of the remembered cost that each cheaper decision takes away.
const FORGIVENESS: u64 = 8;
/// The slow lane's place behind everything else of the process, as `nice` counts.
const NICENESS: i32 = 10;

/// Nanoseconds of processor time: the dearest decision, less a part for each cheaper one since.
#[derive(Debug, Default)]
pub(crate) struct Cost(AtomicU64);

impl Cost {
    /// Does the work, and remembers what it took: its time, or its fuel where that says more. Fuel
    /// knows nothing of memory that is filled in one instruction, and time nothing of a fast machine.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T, fuel: impl FnOnce(&T) -> u64) -> T {
        let before = thread_time();
        let result = work();
        let took = thread_time().saturating_sub(before);
        self.remember(took.max(Duration::from_nanos(fuel(&result))));
        result
    }

    /// Whether the policy belongs in the slow lane.
    pub(crate) fn is_dear(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) > DEAR.as_nanos()
    }

    pub(crate) fn remember(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.load(Ordering::Relaxed);
        // Two threads may overwrite each other: what is lost is one decision's word.
        self.0
            .store(took.max(before - before / FORGIVENESS), Ordering::Relaxed);
    }
}

/// Puts the calling thread behind the others of the process; without the right to, it stays.
pub(crate) fn yield_to_others() {
    let _as_before = setpriority_process(None, NICENESS);
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dear_decision_is_remembered_until_enough_cheap_ones_came() {
        let cost = Cost::default();
        cost.remember(DEAR);
        assert!(!cost.is_dear());
        cost.remember(DEAR * 2);
        assert!(cost.is_dear());
        cost.remember(Duration::ZERO);
        assert!(cost.is_dear());
        (0..8).for_each(|_| cost.remember(Duration::ZERO));
        assert!(!cost.is_dear());
    }
}
