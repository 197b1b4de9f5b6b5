//! What a shadow came to: how often it differed, and how.

use std::sync::atomic::{AtomicU64, Ordering};

use sealwright_policy_wasm::Difference;

/// Counters that only grow.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    same: AtomicU64,
    denies: AtomicU64,
    allows: AtomicU64,
    narrows: AtomicU64,
    aborted: AtomicU64,
    not_compared: AtomicU64,
    left_out: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, difference: Difference) {
        self.counter(difference).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it differed so.
    pub(crate) fn of(&self, difference: Difference) -> u64 {
        self.counter(difference).load(Ordering::Relaxed)
    }

    /// How often it was not asked.
    pub(crate) fn times_left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn counter(&self, difference: Difference) -> &AtomicU64 {
        match difference {
            Difference::Same => &self.same,
            Difference::Denies => &self.denies,
            Difference::Allows => &self.allows,
            Difference::Narrows => &self.narrows,
            Difference::Aborted => &self.aborted,
            Difference::NotCompared => &self.not_compared,
        }
    }
}
