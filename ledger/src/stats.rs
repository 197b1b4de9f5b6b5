//! Counters of the write side, for metrics; and why nothing can be written now, if so.

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::writer::statements::Tagged;

/// Counters since the ledger was opened.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    records: AtomicU64,
    commits: AtomicU64,
    body_bytes: AtomicU64,
    commit_micros: AtomicU64,
    turned_away: AtomicU64,
    trouble: RwLock<Option<String>>,
}

/// A reading of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsReading {
    /// Entries written.
    pub records: u64,
    /// Transactions, one sync each.
    pub commits: u64,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// Microseconds spent in transactions.
    pub commit_micros: u64,
    /// Entries that were not written.
    pub turned_away: u64,
}

impl Stats {
    pub(crate) fn committed(&self, batch: &[Tagged], took: Duration) {
        let bytes: usize = batch.iter().map(|tagged| tagged.entry.body.len()).sum();
        add(&self.records, batch.len());
        add(&self.commits, 1);
        add(&self.body_bytes, bytes);
        self.commit_micros
            .fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn turned_away(&self) {
        add(&self.turned_away, 1);
    }

    /// Why the last write failed, until one succeeds.
    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.read().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn read(&self) -> StatsReading {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsReading {
            records: read(&self.records),
            commits: read(&self.commits),
            body_bytes: read(&self.body_bytes),
            commit_micros: read(&self.commit_micros),
            turned_away: read(&self.turned_away),
        }
    }
}

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(u64::try_from(number).unwrap_or(0), Ordering::Relaxed);
}
