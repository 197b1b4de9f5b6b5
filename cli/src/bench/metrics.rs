//! The signer's own figures, read from its `/metrics`: the time that policies run.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde::Serialize;

use crate::failure::{Class, Failure, OrFail};

const DECISIONS: &str = "sealwright_policy_execution_seconds";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A histogram: how many decisions ran at most so many seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DecisionTimes {
    /// Upper bounds in ascending order, each with the count up to it.
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

/// Microseconds of one decision, waiting not included.
#[derive(Debug, Serialize)]
pub(super) struct DecisionTime {
    /// Interpolated in its bucket.
    pub(super) p50: f64,
    pub(super) mean: f64,
}

impl DecisionTimes {
    /// Reads them from `http://HOST:PORT`.
    pub(super) fn read(http: &str) -> Result<Self, Failure> {
        let page = page(http).or_fail_doing(Class::Unavailable, "cannot read the signer's metrics")?;
        Ok(Self::parse(&page))
    }

    pub(super) fn since(mut self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().map(|(_, count)| *count);
        for ((_, count), before) in self.buckets.iter_mut().zip(before) {
            *count -= before;
        }
        self.sum -= earlier.sum;
        self.count -= earlier.count;
        self
    }

    pub(super) fn summary(&self) -> Option<DecisionTime> {
        if self.count <= 0.0 {
            return None;
        }
        let half = self.count / 2.0;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= half {
                // In the last bucket there is nothing to interpolate to.
                let width = if bound.is_finite() { bound - low } else { 0.0 };
                let share = (half - below) / (count - below).max(1.0);
                return Some(DecisionTime {
                    p50: (low + width * share) * 1e6,
                    mean: self.sum / self.count * 1e6,
                });
            }
            (low, below) = (bound, count);
        }
        None
    }

    fn parse(page: &str) -> Self {
        let mut times = Self::default();
        for line in page.lines() {
            let Some((name, value)) = line.split_once(' ') else {
                continue;
            };
            let (Some(rest), Ok(value)) = (name.strip_prefix(DECISIONS), value.trim().parse::<f64>()) else {
                continue;
            };
            if let Some(bound) = rest.strip_prefix("_bucket{le=\"") {
                let bound = bound.trim_end_matches("\"}").parse().unwrap_or(f64::INFINITY);
                times.buckets.push((bound, value));
            } else if rest == "_sum" {
                times.sum = value;
            } else if rest == "_count" {
                times.count = value;
            }
        }
        times
    }
}

fn page(http: &str) -> std::io::Result<String> {
    let address = http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
HTTP/1.1 200 OK\r\n\r
# TYPE sealwright_policy_execution_seconds histogram
sealwright_policy_execution_seconds_sum 0.004
sealwright_policy_execution_seconds_count 100
sealwright_policy_execution_seconds_bucket{le=\"0.00002\"} 0
sealwright_policy_execution_seconds_bucket{le=\"0.00004\"} 100
sealwright_policy_execution_seconds_bucket{le=\"+Inf\"} 100
";

    #[test]
    fn the_median_is_interpolated() {
        let times = DecisionTimes::parse(PAGE);
        let summary = times.clone().since(&DecisionTimes::default()).summary().unwrap();
        assert!((summary.p50 - 30.0).abs() < 1e-6, "{summary:?}");
        assert!((summary.mean - 40.0).abs() < 1e-6, "{summary:?}");
        assert!(times.clone().since(&times).summary().is_none());
    }
}
