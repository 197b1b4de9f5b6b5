//! Times of many requests, and which of them say something.

use std::time::Duration;

use serde::Serialize;

/// Times, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

/// Milliseconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Latencies {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Milliseconds within which so many of a hundred were answered.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0
            .get(rank)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }

    pub(super) fn summary(&self) -> Latency {
        Latency {
            p50: self.percentile(50),
            p90: self.percentile(90),
            p99: self.percentile(99),
            max: self.percentile(100),
        }
    }
}

impl Latency {
    pub(super) fn text(&self) -> String {
        let Self { p50, p90, p99, max } = self;
        format!("p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  max {max:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let measured = |count: u64| Latencies::of((1..=count).rev().map(Duration::from_millis).collect());
        let hundred = measured(100);
        assert_eq!(hundred.percentile(50), 50.0);
        assert_eq!(hundred.percentile(99), 99.0);
        assert_eq!(hundred.percentile(100), 100.0);
        assert_eq!(measured(1).percentile(50), 1.0);
        assert_eq!(measured(0).percentile(99), 0.0);
    }
}
