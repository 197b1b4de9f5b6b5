//! The bytes that all requests together may hold in memory, and each connection's share of them.
//!
//! A connection may hold as much as is still free: one takes a half, two take a third each, and some
//! of it is always left for another.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::acceptor::Standing;

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
    holder: Arc<Standing>,
}

impl Budget {
    pub(super) fn new(bytes: usize, held: Gauge) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
            held,
        }
    }

    /// Charges a request of a connection, whose length is not known yet.
    pub(super) fn open(&self, holder: &Arc<Standing>) -> Option<Charge> {
        self.charge(BASE_CHARGE, holder)
    }

    /// Charges a message of a call.
    pub(super) fn charge(&self, bytes: usize, holder: &Arc<Standing>) -> Option<Charge> {
        let permit = self.take(bytes, holder)?;
        Some(Charge {
            permit,
            budget: self.clone(),
            holder: Arc::clone(holder),
        })
    }

    fn take(&self, bytes: usize, holder: &Standing) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(bytes).ok()?;
        if holder.held().saturating_add(bytes) > self.bytes.available_permits() {
            return None;
        }
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(count).ok()?;
        self.held.inc_by(i64::from(count));
        holder.hold(bytes);
        Some(permit)
    }
}

impl Charge {
    /// The connection that it belongs to.
    pub(super) fn holder(&self) -> &Arc<Standing> {
        &self.holder
    }

    /// Makes the charge at least `bytes`; `false` when that does not fit the budget.
    pub(super) fn raise(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.permit.num_permits());
        if missing == 0 {
            return true;
        }
        match self.budget.take(missing, &self.holder) {
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
        let bytes = self.permit.num_permits();
        self.holder.release(bytes);
        self.budget.held.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_refused_above_the_bound_and_given_back() {
        let held = Gauge::default();
        let budget = Budget::new(4 * BASE_CHARGE + 100, held.clone());
        let mut charges: Vec<_> = (0..4).map_while(|_| budget.open(&Arc::default())).collect();
        assert_eq!(charges.len(), 4);
        assert!(budget.open(&Arc::default()).is_none());
        charges.truncate(3);
        assert!(charges[0].raise(BASE_CHARGE + 100));
        assert!(!charges[0].raise(2 * BASE_CHARGE + 101));
        assert_eq!(held.get(), i64::try_from(3 * BASE_CHARGE + 100).unwrap());
        drop(charges);
        assert_eq!(held.get(), 0);
        assert!(budget.open(&Arc::default()).is_some());
    }

    #[test]
    fn one_connection_takes_a_half_and_two_a_third_each() {
        let budget = Budget::new(60 * BASE_CHARGE, Gauge::default());
        let [one, two, three]: [Arc<Standing>; 3] = Default::default();
        let fill = |holder| std::iter::from_fn(|| budget.open(holder)).collect::<Vec<_>>();
        let mut first = fill(&one);
        assert_eq!(first.len(), 30);
        assert_eq!(fill(&two).len(), 15);
        assert!(!first[0].raise(BASE_CHARGE + 1));
        drop(first);
        assert_eq!(one.held(), 0);
        let (first, second) = (fill(&two), fill(&three));
        assert_eq!((first.len(), second.len()), (30, 15));
        assert!(budget.open(&one).is_some());
    }
}
