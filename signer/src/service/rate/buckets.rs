//! Token buckets of identities, in a table that never grows.
//!
//! A bucket is one point in time: when it will be full again (the generic cell rate algorithm).
//! One whose time is past is full, says nothing, and may be forgotten. Each identity belongs to one
//! small set of the table. Where all of a set are in debt, a newcomer takes the place of the least
//! indebted and inherits its debt: nobody gets a fresh bucket by having others push the old one out,
//! and the most indebted are never pushed out at all. Places in the table depend on a random seed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::service::sampler::Sampler;

/// 65,536 places, 1.6 MB.
const SETS: usize = 1 << 13;
const WAYS: usize = 8;
/// Of one identity no more than one refusal is recorded in this time.
pub(super) const RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// Of all identities together no more refusals are recorded in a second.
const RECORDS_PER_SECOND: u32 = 20;

/// Whether there was one to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken.
    Yes,
    /// There was none.
    No {
        /// After this there is one, if nobody else takes it.
        retry_after: Duration,
        /// To be recorded, with so many that were left out since the last record.
        record: Option<u64>,
    },
}

/// The buckets of all identities.
#[derive(Debug)]
pub(super) struct Buckets {
    /// Nanoseconds for one certificate.
    interval: u64,
    /// The debt of an empty bucket, in nanoseconds.
    depth: u64,
    /// Times are counted from here.
    base: Instant,
    seed: RandomState,
    sets: Box<[Mutex<Set>]>,
    records: Sampler,
}

type Set = [Bucket; WAYS];

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Whose it is; 0 at first, when it is full and thus as good as anybody's.
    identity: u64,
    /// When it is full again, in nanoseconds.
    full_at: u64,
    /// When its last refusal was recorded, in nanoseconds.
    recorded_at: Option<u64>,
    /// Refusals since.
    left_out: u32,
}

impl Buckets {
    /// Buckets that hold `burst` and gain one in each `interval`.
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        let interval = nanoseconds(interval).max(1);
        Self {
            interval,
            depth: interval.saturating_mul(burst.max(1).into()),
            base: Instant::now(),
            seed: RandomState::new(),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            records: Sampler::new(RECORDS_PER_SECOND),
        }
    }

    /// Takes one from an identity's bucket.
    pub(super) fn take(&self, identity: &str, now: Instant) -> Taken {
        let hash = self.seed.hash_one(identity);
        let index = usize::try_from(hash % SETS as u64).unwrap_or_default();
        let Some(set) = self.sets.get(index) else {
            // There are as many sets as the remainder has values.
            return Taken::Yes;
        };
        let time = nanoseconds(now.saturating_duration_since(self.base));
        let mut set = set.lock();
        let Some(bucket) = find(&mut set, hash) else {
            return Taken::Yes;
        };
        let full_at = bucket.full_at.max(time).saturating_add(self.interval);
        match (full_at - time).checked_sub(self.depth) {
            None | Some(0) => {
                bucket.full_at = full_at;
                Taken::Yes
            }
            Some(excess) => Taken::No {
                retry_after: Duration::from_nanos(excess),
                record: bucket.refuse(time, || self.records.admit_at(now).is_some()),
            },
        }
    }
}

/// The identity's bucket, else the fullest one with all that is owed.
fn find(set: &mut Set, identity: u64) -> Option<&mut Bucket> {
    let at = set.iter().position(|bucket| bucket.identity == identity);
    if let Some(at) = at {
        return set.get_mut(at);
    }
    let fullest = set.iter_mut().min_by_key(|bucket| bucket.full_at)?;
    *fullest = Bucket {
        identity,
        full_at: fullest.full_at,
        recorded_at: None,
        left_out: 0,
    };
    Some(fullest)
}

impl Bucket {
    /// Counts a refusal; what was left out, when this one is to be recorded.
    fn refuse(&mut self, time: u64, admitted: impl FnOnce() -> bool) -> Option<u64> {
        let rested = |at: u64| time.saturating_sub(at) >= nanoseconds(RECORD_INTERVAL);
        if self.recorded_at.is_none_or(rested) && admitted() {
            self.recorded_at = Some(time);
            return Some(std::mem::take(&mut self.left_out).into());
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Five a second, a burst of twenty.
    fn buckets() -> (Buckets, Instant) {
        let buckets = Buckets::new(SECOND / 5, 20);
        let base = buckets.base;
        (buckets, base)
    }

    fn delay(taken: Taken) -> Duration {
        match taken {
            Taken::No { retry_after, .. } => retry_after,
            Taken::Yes => panic!("it was there"),
        }
    }

    fn empty(buckets: &Buckets, identity: &str, now: Instant) -> usize {
        (0..1000)
            .take_while(|_| buckets.take(identity, now) == Taken::Yes)
            .count()
    }

    #[test]
    fn a_burst_then_the_rate_and_the_delay_is_exact() {
        let (buckets, start) = buckets();
        assert_eq!(empty(&buckets, "a", start), 20);
        assert_eq!(delay(buckets.take("a", start)), SECOND / 5);
        let half = start + SECOND / 10;
        assert_eq!(delay(buckets.take("a", half)), SECOND / 10);
        let nearly = start + SECOND / 5 - Duration::from_nanos(1);
        assert_eq!(delay(buckets.take("a", nearly)), Duration::from_nanos(1));
        assert_eq!(buckets.take("a", start + SECOND / 5), Taken::Yes);
        assert_eq!(delay(buckets.take("a", start + SECOND / 5)), SECOND / 5);
        // Another's is its own, and a rested one is no more than full.
        assert_eq!(empty(&buckets, "b", start), 20);
        assert_eq!(empty(&buckets, "a", start + 3600 * SECOND), 20);
    }

    #[test]
    fn a_bucket_of_one_allows_one_at_a_time() {
        let buckets = Buckets::new(2 * SECOND, 1);
        let start = buckets.base;
        assert_eq!(empty(&buckets, "a", start), 1);
        assert_eq!(delay(buckets.take("a", start + SECOND)), SECOND);
        assert_eq!(empty(&buckets, "a", start + 2 * SECOND), 1);
    }

    #[test]
    fn a_flood_of_refusals_is_one_record_with_the_number_of_the_others() {
        let (buckets, start) = buckets();
        empty(&buckets, "a", start);
        // The one that emptied it was refused, and is the one to be recorded.
        let records = |now: Instant| {
            let taken = (0..1000).map(|_| buckets.take("a", now));
            taken
                .filter_map(|taken| match taken {
                    Taken::No { record, .. } => record,
                    Taken::Yes => None,
                })
                .collect::<Vec<_>>()
        };
        assert!(records(start).is_empty());
        assert!(records(start + RECORD_INTERVAL - Duration::from_nanos(1)).is_empty());
        // Twenty of the second thousand were allowed.
        assert_eq!(records(start + 2 * RECORD_INTERVAL), [1980]);
    }

    #[test]
    fn many_identities_at_once_are_few_records() {
        let buckets = Buckets::new(SECOND, 1);
        let start = buckets.base;
        let recorded = (0..1000).filter(|number| {
            let identity = number.to_string();
            buckets.take(&identity, start);
            matches!(buckets.take(&identity, start), Taken::No { record: Some(_), .. })
        });
        assert_eq!(recorded.count(), RECORDS_PER_SECOND as usize);
    }

    #[test]
    fn a_million_identities_leave_the_table_as_large_and_the_greedy_in_debt() {
        // So slow that nothing is forgotten for being full.
        let buckets = Buckets::new(100 * SECOND, 20);
        let now = buckets.base;
        assert_eq!(empty(&buckets, "greedy", now), 20);
        for number in 0..1_000_000 {
            buckets.take(&number.to_string(), now);
        }
        assert!(matches!(buckets.take("greedy", now), Taken::No { .. }));
        assert_eq!(buckets.sets.len(), SETS);
        assert!(size_of::<Mutex<Set>>() * SETS < 4 << 20);
    }

    #[test]
    fn idle_identities_are_forgotten_and_newcomers_find_full_buckets() {
        let (buckets, start) = buckets();
        for number in 0..1_000_000u32 {
            // 20,000 a second, each of which owes for a fifth of a second.
            let now = start + SECOND * number / 20_000;
            assert_eq!(buckets.take(&number.to_string(), now), Taken::Yes);
        }
        let now = start + 60 * SECOND;
        assert_eq!(empty(&buckets, "newcomer", now), 20);
    }

    #[test]
    fn who_was_pushed_out_comes_back_no_richer() {
        let mut set = Set::default();
        for identity in 1..=8 {
            find(&mut set, identity).unwrap().full_at = 100 + identity;
        }
        // 1 owes the least, and makes place for 9, which owes as much from the start.
        assert_eq!(find(&mut set, 9).unwrap().full_at, 101);
        find(&mut set, 9).unwrap().full_at = 200;
        // 1 comes back for 2, and has what 2 had.
        assert_eq!(find(&mut set, 1).unwrap().full_at, 102);
        assert!(set.iter().any(|bucket| bucket.identity == 8));
    }
}
