//! What the front counts: Istio's CA metrics under Istio's exact names, and our own beside them.
//!
//! Istio's exporter appends no `_total`, the library appends it to every counter. Its counters are
//! therefore plain counters here: the names on the page stay those that dashboards already ask for.

mod expiry;
mod first_expiry;
mod labels;
mod queue;
mod registration;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sealwright_identity::{SharedClock, Validity};
use sealwright_policy_wasm::{PolicyHost, ShadowLane};
use sealwright_runtime::metrics::PlainCounter;
use tokio::time::Instant;

use crate::service::Admission;
use expiry::Expiries;
pub use expiry::IssuerExpiry;
use first_expiry::FirstExpiry;
use labels::{
    CodeLabel, ExecutionBuckets, IssuerLabel, LatencyBuckets, OriginLabel, ReasonLabel, RecordedLabel,
    ResultLabel, ShadowLabel, SignError, StageLabel, VerdictLabel,
};
pub use labels::{HandshakeFailure, Overload, Refused, Stage};

/// The front's metrics: a handle that is cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    csr_count: PlainCounter,
    authentication_failure_count: PlainCounter,
    sign_err_count: Family<SignError, PlainCounter>,
    success_count: PlainCounter,
    expiries: Arc<Expiries>,
    first_expiry: Arc<FirstExpiry>,

    stages: Family<StageLabel, Histogram, LatencyBuckets>,
    requests: Family<CodeLabel, Counter>,
    verdicts: Family<VerdictLabel, Counter>,
    shadows: Family<ShadowLabel, Counter>,
    shadows_left_out: Family<OriginLabel, Counter>,
    decided_again: Counter,
    plaintext: Counter,
    handshake_failures: Family<ReasonLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    connections: Gauge,
    strangers: Counter,
    stalls: Counter,
    buffered_bytes: Gauge,
    signing_calls: Gauge,
    policy_execution: Histogram,
    clamped: Family<IssuerLabel, Counter>,
    unrecorded_denials: Counter,
    reloads: Family<ResultLabel, Counter>,
    rate_refusals: Family<RecordedLabel, Counter>,
    overloads: Family<ReasonLabel, Counter>,
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
            first_expiry: Arc::default(),
            stages: Family::new_with_constructor(LatencyBuckets),
            requests: Family::default(),
            verdicts: Family::default(),
            shadows: Family::default(),
            shadows_left_out: Family::default(),
            decided_again: Counter::default(),
            plaintext: Counter::default(),
            handshake_failures: Family::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            strangers: Counter::default(),
            stalls: Counter::default(),
            buffered_bytes: Gauge::default(),
            signing_calls: Gauge::default(),
            policy_execution: ExecutionBuckets.new_metric(),
            clamped: Family::default(),
            unrecorded_denials: Counter::default(),
            reloads: Family::default(),
            rate_refusals: Family::default(),
            overloads: Family::default(),
        };
        metrics.register_istio(registry, Arc::clone(&clock));
        metrics.register_own(registry, clock);
        metrics.create_known_labels();
        metrics
    }

    /// Shows how many decisions wait for a policy thread.
    pub fn watch_policy_queue(&self, registry: &sealwright_runtime::metrics::Metrics, host: PolicyHost) {
        registry.register(|r| r.register_collector(Box::new(queue::QueueCollector::new(host))));
    }

    /// Shows how many requests are in work, and how many wait for that.
    pub fn watch_load(&self, registry: &sealwright_runtime::metrics::Metrics, admission: Admission) {
        registry.register(|r| r.register_collector(Box::new(queue::LoadCollector::new(admission))));
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

    /// The gate issued a certificate that is valid then.
    pub fn certified(&self, validity: Validity) {
        self.first_expiry.issued(validity);
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

    /// A shadow came to a verdict, which differs so from what was decided.
    pub fn shadowed(&self, lane: ShadowLane, policy: &str, difference: &'static str) {
        let label = ShadowLabel {
            policy: policy.to_owned(),
            difference,
            origin: lane.as_str(),
        };
        self.shadows.get_or_create(&label).inc();
    }

    /// The shadows of one request were not asked: too many wait.
    pub fn shadows_left_out(&self, lane: ShadowLane) {
        let origin = lane.as_str();
        self.shadows_left_out.get_or_create(&OriginLabel { origin }).inc();
    }

    /// A request was decided once more, because another policy set had come into force.
    pub fn decided_again(&self) {
        self.decided_again.inc();
    }

    /// A policy thread worked on one decision for so long.
    pub fn policies_executed(&self, time: Duration) {
        self.policy_execution.observe(time.as_secs_f64());
    }

    /// A connection spoke something other than TLS.
    pub fn plaintext_connection(&self) {
        self.plaintext.inc();
    }

    /// A handshake failed.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshake_failures
            .get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            })
            .inc();
    }

    /// A connection was closed before its handshake.
    pub fn connection_refused(&self, reason: Refused) {
        self.refused
            .get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            })
            .inc();
    }

    /// The gauge of open connections.
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Counts connections that were closed because nobody was authenticated on them in time.
    pub fn strangers(&self) -> &Counter {
        &self.strangers
    }

    /// Counts connections that were closed because their peers took none of their answers.
    pub fn stalls(&self) -> &Counter {
        &self.stalls
    }

    /// The gauge of request bytes held in memory.
    pub fn buffered_bytes(&self) -> &Gauge {
        &self.buffered_bytes
    }

    /// Counts an open call with many requests until the returned value is dropped.
    pub fn signing_call(&self) -> Held {
        self.signing_calls.inc();
        Held(self.signing_calls.clone())
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

    /// An identity was refused for asking too often; not every refusal is recorded.
    pub fn rate_refused(&self, recorded: bool) {
        let recorded = if recorded { "yes" } else { "no" };
        self.rate_refusals
            .get_or_create(&RecordedLabel { recorded })
            .inc();
    }

    /// A request was refused because there were too many.
    pub fn overloaded(&self, reason: Overload) {
        let reason = reason.as_str();
        self.overloads.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Sets when roots and chains end, for all issuers at once.
    pub fn set_expiries(&self, issuers: Vec<IssuerExpiry>) {
        self.expiries.set(issuers);
    }

    /// Measures a stage until the returned value is dropped, so that a cancelled request counts.
    pub fn time(&self, stage: Stage) -> StageTimer {
        StageTimer {
            histogram: self.stages.get_or_create_owned(&StageLabel {
                stage: stage.as_str(),
            }),
            start: Instant::now(),
        }
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
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
