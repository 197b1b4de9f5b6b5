//! When roots and issuing chains end. The seconds that are left are worked out when the page is read.

use std::fmt::Error;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use sealwright_identity::{SharedClock, Timestamp};

/// When one issuer's chain and roots end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerExpiry {
    /// The issuer's configured name.
    pub issuer: String,
    /// The earliest end of its chain.
    pub chain: Timestamp,
    /// The earliest end of its roots.
    pub root: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Expiries(RwLock<Vec<IssuerExpiry>>);

impl Expiries {
    pub(super) fn set(&self, issuers: Vec<IssuerExpiry>) {
        *self.0.write() = issuers;
    }
}

#[derive(Debug)]
pub(super) struct ExpiryCollector {
    expiries: std::sync::Arc<Expiries>,
    clock: SharedClock,
}

impl ExpiryCollector {
    pub(super) fn new(expiries: std::sync::Arc<Expiries>, clock: SharedClock) -> Self {
        Self { expiries, clock }
    }
}

impl Collector for ExpiryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let expiries = self.expiries.0.read();
        let now = self.clock.now().unix_seconds();
        let ends: [(&str, &str, Option<i64>); 2] = [
            (
                "citadel_server_root_cert",
                "root",
                expiries.iter().map(|e| e.root.unix_seconds()).min(),
            ),
            (
                "citadel_server_cert_chain",
                "certificate chain",
                expiries.iter().map(|e| e.chain.unix_seconds()).min(),
            ),
        ];
        for (prefix, what, end) in ends {
            let Some(end) = end else { continue };
            gauge(
                &mut encoder,
                &format!("{prefix}_expiry_timestamp"),
                &format!("Unix time at which the first {what} to end ends"),
                end,
            )?;
            gauge(
                &mut encoder,
                &format!("{prefix}_expiry_seconds"),
                &format!("Seconds until the first {what} to end ends"),
                end.saturating_sub(now),
            )?;
        }
        if expiries.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "sealwright_issuer_expiry_timestamp",
            "Unix time at which an issuer's chain ends",
            None,
            MetricType::Gauge,
        )?;
        for expiry in expiries.iter() {
            let labels = [("issuer", expiry.issuer.as_str())];
            ConstGauge::new(expiry.chain.unix_seconds()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
