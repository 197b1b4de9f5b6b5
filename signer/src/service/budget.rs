//! The bytes that all requests together may hold in memory.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a request is charged before its length is known: its headers and one HTTP/2 frame.
pub(super) const BASE_CHARGE: usize = 8 << 10;

/// A bound on memory; nobody waits for it, whoever does not fit is sent away.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    held: Gauge,
}

/// Bytes charged to one request, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    permit: OwnedSemaphorePermit,
    budget: Budget,
}

impl Budget {
    pub(super) fn new(bytes: usize, held: Gauge) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            held,
        }
    }

    /// Charges a request whose length is not known yet.
    pub(super) fn open(&self) -> Option<Charge> {
        self.charge(BASE_CHARGE)
    }

    /// Charges a message of a call.
    pub(super) fn charge(&self, bytes: usize) -> Option<Charge> {
        let permit = self.take(bytes)?;
        Some(Charge {
            permit,
            budget: self.clone(),
        })
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(count).ok()?;
        self.held.inc_by(i64::from(count));
        Some(permit)
    }
}

impl Charge {
    /// Makes the charge at least `bytes`; `false` when that does not fit the budget.
    pub(super) fn raise(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.permit.num_permits());
        if missing == 0 {
            return true;
        }
        match self.budget.take(missing) {
            Some(more) => {
                self.permit.merge(more);
                true
            }
            None => false,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = i64::try_from(self.permit.num_permits()).unwrap_or(i64::MAX);
        self.budget.held.dec_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_refused_above_the_bound_and_given_back() {
        let held = Gauge::default();
        let budget = Budget::new(2 * BASE_CHARGE + 100, held.clone());
        let mut first = budget.open().unwrap();
        let second = budget.open().unwrap();
        assert!(budget.open().is_none());
        assert!(first.raise(BASE_CHARGE + 100));
        assert!(!first.raise(BASE_CHARGE + 101));
        assert_eq!(held.get(), i64::try_from(2 * BASE_CHARGE + 100).unwrap());
        drop((first, second));
        assert_eq!(held.get(), 0);
        assert!(budget.open().is_some());
    }
}
