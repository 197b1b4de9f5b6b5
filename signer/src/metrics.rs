//! What the front counts: Istio's CA metrics under Istio's exact names, and our own beside them.
//!
//! Istio's exporter appends no `_total`, the library appends it to every counter. Its counters are
//! therefore plain counters here: the names on the page stay those that dashboards already ask for.

mod expiry;
mod queue;

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sealwright_identity::SharedClock;
use sealwright_policy_wasm::PolicyHost;
use sealwright_runtime::metrics::PlainCounter;
use tokio::time::Instant;

pub use expiry::IssuerExpiry;
use expiry::{Expiries, ExpiryCollector};

/// A part of one request whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Stage {
    /// Checking the credentials.
    Authenticate,
    /// Reading the message.
    Body,
    /// Parsing the CSR and verifying its own signature.
    Csr,
    /// The native ceiling and the policies.
    Authorize,
    /// Building and linting the bytes to be signed.
    Prepare,
    /// Recorded, signed and verified by the gate.
    Gate,
    /// From the headers to the answer.
    Total,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Authenticate,
        Self::Body,
        Self::Csr,
        Self::Authorize,
        Self::Prepare,
        Self::Gate,
        Self::Total,
    ];
}

/// Why a TLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum HandshakeFailure {
    /// Not finished before the deadline.
    Timeout,
    /// Refused by TLS: version, certificate, or plain nonsense.
    Tls,
    /// The connection broke.
    Io,
}

/// Why a connection was closed before its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Refused {
    /// As many connections as allowed are open.
    Limit,
    /// There is no serving certificate yet.
    NoCertificate,
}

/// Label `error` of `citadel_server_csr_sign_err_count`, in Istio's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignError {
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabel {
    reason: HandshakeFailure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    reason: Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    policy: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct LatencyBuckets;

impl MetricConstructor<Histogram> for LatencyBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            5.0, 10.0,
        ])
    }
}

/// The front's metrics: a handle that is cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    csr_count: PlainCounter,
    authentication_failure_count: PlainCounter,
    sign_err_count: Family<SignError, PlainCounter>,
    success_count: PlainCounter,
    expiries: Arc<Expiries>,

    stages: Family<StageLabel, Histogram, LatencyBuckets>,
    requests: Family<CodeLabel, Counter>,
    verdicts: Family<VerdictLabel, Counter>,
    plaintext: Counter,
    handshake_failures: Family<HandshakeLabel, Counter>,
    refused: Family<RefusedLabel, Counter>,
    connections: Gauge,
    buffered_bytes: Gauge,
    clamped: Family<IssuerLabel, Counter>,
    unrecorded_denials: Counter,
    reloads: Family<ResultLabel, Counter>,
}

impl Metrics {
    /// Registers every metric, with each label value that is known beforehand at zero.
    pub fn register(registry: &mut Registry, clock: SharedClock) -> Self {
        let metrics = Self {
            csr_count: PlainCounter::default(),
            authentication_failure_count: PlainCounter::default(),
            sign_err_count: Family::default(),
            success_count: PlainCounter::default(),
            expiries: Arc::default(),
            stages: Family::new_with_constructor(LatencyBuckets),
            requests: Family::default(),
            verdicts: Family::default(),
            plaintext: Counter::default(),
            handshake_failures: Family::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            buffered_bytes: Gauge::default(),
            clamped: Family::default(),
            unrecorded_denials: Counter::default(),
            reloads: Family::default(),
        };
        metrics.register_istio(registry, clock);
        metrics.register_own(registry);
        metrics.create_known_labels();
        metrics
    }

    fn register_istio(&self, registry: &mut Registry, clock: SharedClock) {
        let counters = [
            (
                "citadel_server_csr_count",
                "Certificate requests received",
                &self.csr_count,
            ),
            (
                "citadel_server_authentication_failure_count",
                "Requests whose caller could not be authenticated",
                &self.authentication_failure_count,
            ),
            (
                "citadel_server_success_cert_issuance_count",
                "Certificates issued",
                &self.success_count,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "citadel_server_csr_sign_err_count",
            "Requests that were authenticated and not signed, by kind of error",
            self.sign_err_count.clone(),
        );
        registry.register_collector(Box::new(ExpiryCollector::new(Arc::clone(&self.expiries), clock)));
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register(
            "sealwright_request_stage_seconds",
            "Time spent in each part of a certificate request",
            self.stages.clone(),
        );
        registry.register(
            "sealwright_requests",
            "Certificate requests answered, by gRPC status",
            self.requests.clone(),
        );
        registry.register(
            "sealwright_policy_verdicts",
            "Verdicts, by policy",
            self.verdicts.clone(),
        );
        registry.register(
            "sealwright_plaintext_connections",
            "Connections closed because they did not begin with a TLS handshake",
            self.plaintext.clone(),
        );
        registry.register(
            "sealwright_tls_handshake_failures",
            "TLS handshakes that failed",
            self.handshake_failures.clone(),
        );
        registry.register(
            "sealwright_connections_refused",
            "Connections closed before their handshake",
            self.refused.clone(),
        );
        registry.register(
            "sealwright_connections",
            "Open connections, handshakes included",
            self.connections.clone(),
        );
        registry.register(
            "sealwright_buffered_bytes",
            "Bytes of requests held in memory, as counted against their bound",
            self.buffered_bytes.clone(),
        );
        registry.register(
            "sealwright_lifetime_clamped",
            "Leaves whose life was cut below half of what was asked, by the issuer's end",
            self.clamped.clone(),
        );
        registry.register(
            "sealwright_denials_unrecorded",
            "Denials that the gate could not record, and that were answered as unavailable",
            self.unrecorded_denials.clone(),
        );
        registry.register(
            "sealwright_reloads",
            "Reloads of issuers and trust",
            self.reloads.clone(),
        );
    }

    fn create_known_labels(&self) {
        for stage in Stage::ALL {
            drop(self.stages.get_or_create(&StageLabel { stage }));
        }
        for error in ["CSR_ERROR", "TTL_ERROR", "CERT_GEN_ERROR", "CA_NOT_READY"] {
            drop(self.sign_err_count.get_or_create(&SignError { error }));
        }
        for reason in [
            HandshakeFailure::Timeout,
            HandshakeFailure::Tls,
            HandshakeFailure::Io,
        ] {
            drop(self.handshake_failures.get_or_create(&HandshakeLabel { reason }));
        }
        for reason in [Refused::Limit, Refused::NoCertificate] {
            drop(self.refused.get_or_create(&RefusedLabel { reason }));
        }
        for result in ["ok", "error"] {
            drop(self.reloads.get_or_create(&ResultLabel { result }));
        }
    }

    /// Shows how many decisions wait for a policy thread.
    pub fn watch_policy_queue(&self, registry: &sealwright_runtime::metrics::Metrics, host: PolicyHost) {
        registry.register(|r| r.register_collector(Box::new(queue::QueueCollector::new(host))));
    }

    /// A certificate request arrived.
    pub fn csr_received(&self) {
        self.csr_count.inc();
    }

    /// A caller could not be authenticated.
    pub fn authentication_failed(&self) {
        self.authentication_failure_count.inc();
    }

    /// An authenticated request was not signed; `error` is Istio's word for the kind.
    pub fn sign_failed(&self, error: &'static str) {
        self.sign_err_count.get_or_create(&SignError { error }).inc();
    }

    /// A certificate left the front.
    pub fn issued(&self) {
        self.success_count.inc();
    }

    /// A certificate request was answered with this gRPC status.
    pub fn answered(&self, method: &'static str, code: &'static str) {
        self.requests.get_or_create(&CodeLabel { method, code }).inc();
    }

    /// One policy came to a verdict: "allow", "deny" or "aborted".
    pub fn verdict(&self, policy: &str, verdict: &'static str) {
        let policy = policy.to_owned();
        self.verdicts
            .get_or_create(&VerdictLabel { policy, verdict })
            .inc();
    }

    /// A connection spoke something other than TLS.
    pub fn plaintext_connection(&self) {
        self.plaintext.inc();
    }

    /// A handshake failed.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshake_failures
            .get_or_create(&HandshakeLabel { reason })
            .inc();
    }

    /// A connection was closed before its handshake.
    pub fn connection_refused(&self, reason: Refused) {
        self.refused.get_or_create(&RefusedLabel { reason }).inc();
    }

    /// The gauge of open connections.
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// The gauge of request bytes held in memory.
    pub fn buffered_bytes(&self) -> &Gauge {
        &self.buffered_bytes
    }

    /// A leaf's life was cut below half of what was asked.
    pub fn clamped(&self, issuer: &str) {
        let issuer = issuer.to_owned();
        self.clamped.get_or_create(&IssuerLabel { issuer }).inc();
    }

    /// The gate could not record a denial.
    pub fn denial_unrecorded(&self) {
        self.unrecorded_denials.inc();
    }

    /// Issuers and trust were reloaded, or kept because of an error.
    pub fn reloaded(&self, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
    }

    /// Sets when roots and chains end, for all issuers at once.
    pub fn set_expiries(&self, issuers: Vec<IssuerExpiry>) {
        self.expiries.set(issuers);
    }

    /// Measures a stage until the returned value is dropped, so that a cancelled request counts.
    pub fn time(&self, stage: Stage) -> StageTimer {
        StageTimer {
            histogram: self.stages.get_or_create_owned(&StageLabel { stage }),
            start: Instant::now(),
        }
    }
}

/// Records the time of a stage when it is dropped.
#[derive(Debug)]
pub struct StageTimer {
    histogram: Histogram,
    start: Instant,
}

impl Drop for StageTimer {
    fn drop(&mut self) {
        self.histogram.observe(self.start.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
