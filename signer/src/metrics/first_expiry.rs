//! The outage budget: how long until the first certificate ends, if signing stopped now.
//!
//! A workload renews about half-way through its certificate's life. A certificate that is past
//! that was renewed, or nobody needs it any more: it does not count. The others are remembered by
//! the minute in which they are due, so the memory is bounded by the longest life and not by the
//! number of certificates. What was issued before the start of the front is not known here.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use sealwright_identity::{SharedClock, Timestamp, Validity};

/// For each minute, the first end of the certificates that are due in it.
#[derive(Debug, Default)]
pub(super) struct FirstExpiry(Mutex<BTreeMap<i64, Timestamp>>);

impl FirstExpiry {
    pub(super) fn issued(&self, validity: Validity) {
        let due = validity.not_before().saturating_add(validity.duration() / 2);
        let mut minutes = self.0.lock();
        let gone = minute(validity.not_before());
        while minutes.first_key_value().is_some_and(|(due, _)| *due < gone) {
            minutes.pop_first();
        }
        let end = validity.not_after();
        let first = minutes.entry(minute(due)).or_insert(end);
        *first = end.min(*first);
    }

    fn left(&self, now: Timestamp) -> Option<Duration> {
        let minutes = self.0.lock();
        let ends = minutes.range(minute(now)..).map(|(_, end)| *end);
        Some(ends.min()?.saturating_since(now))
    }
}

fn minute(time: Timestamp) -> i64 {
    time.unix_seconds().div_euclid(60)
}

#[derive(Debug)]
pub(super) struct FirstExpiryCollector {
    pub(super) certificates: Arc<FirstExpiry>,
    pub(super) clock: SharedClock,
}

impl Collector for FirstExpiryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(left) = self.certificates.left(self.clock.now()) else {
            return Ok(());
        };
        let metric = encoder.encode_descriptor(
            "sealwright_time_to_first_expiry_seconds",
            "Until the first certificate ends, of those issued since the start and not yet due for renewal",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(left.as_secs_f64()).encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn the_first_end_counts_until_its_renewal_is_due() {
        let certificates = FirstExpiry::default();
        assert_eq!(certificates.left(at(0)), None);
        for (begin, end) in [(0, 7200), (0, 3600), (0, 3600 * 24)] {
            certificates.issued(Validity::new(at(begin), at(end)).unwrap());
        }
        assert_eq!(certificates.left(at(0)), Some(Duration::from_secs(3600)));
        // The hour's certificate was due after half an hour.
        assert_eq!(
            certificates.left(at(1860)),
            Some(Duration::from_secs(7200 - 1860))
        );
        assert_eq!(certificates.left(at(3600 * 13)), None);
        certificates.issued(Validity::new(at(3660), at(7260)).unwrap());
        assert_eq!(certificates.0.lock().len(), 2);
    }
}
