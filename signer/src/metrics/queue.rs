//! The queue of the policy host, counted when the page is read.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use sealwright_policy_wasm::PolicyHost;

#[derive(Debug)]
pub(super) struct QueueCollector(PolicyHost);

impl QueueCollector {
    pub(super) fn new(host: PolicyHost) -> Self {
        Self(host)
    }
}

impl Collector for QueueCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let waiting = i64::try_from(self.0.queued()).unwrap_or(i64::MAX);
        let metric = encoder.encode_descriptor(
            "sealwright_policy_queue",
            "Decisions that wait for a policy thread",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(waiting).encode(metric)
    }
}
