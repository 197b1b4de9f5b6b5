//! The queues of the policy host and before the work, counted when the page is read.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sealwright_policy_wasm::{CodeOrigins, PolicyHost};

use crate::service::Admission;

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
        ConstGauge::new(waiting).encode(metric)?;
        let mut family = encoder.encode_descriptor(
            "sealwright_policy_code",
            "Components whose code was kept, compiled, or refused because its file was not as it was written",
            None,
            MetricType::Counter,
        )?;
        let CodeOrigins {
            kept,
            compiled,
            refused,
        } = self.0.engine().code_origins();
        for (origin, number) in [("kept", kept), ("compiled", compiled), ("refused", refused)] {
            let labels = [("origin", origin)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(number).encode(metric)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct LoadCollector(Admission);

impl LoadCollector {
    pub(super) fn new(admission: Admission) -> Self {
        Self(admission)
    }
}

impl Collector for LoadCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (working, waiting) = self.0.load();
        for (name, help, number) in [
            (
                "sealwright_requests_in_work",
                "Certificate requests in work",
                working,
            ),
            (
                "sealwright_requests_waiting",
                "Certificate requests that wait for their turn",
                waiting,
            ),
        ] {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(number).encode(metric)?;
        }
        Ok(())
    }
}
