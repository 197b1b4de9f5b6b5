//! The names and the help of the metrics.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use sealwright_identity::SharedClock;
use sealwright_policy_wasm::ShadowLane;

use super::Metrics;
use super::expiry::ExpiryCollector;
use super::first_expiry::FirstExpiryCollector;
use super::labels::{
    HandshakeFailure, OriginLabel, Overload, ReasonLabel, RecordedLabel, Refused, ResultLabel, SignError,
    Stage, StageLabel,
};

impl Metrics {
    pub(super) fn register_istio(&self, registry: &mut Registry, clock: SharedClock) {
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

    pub(super) fn register_own(&self, registry: &mut Registry, clock: SharedClock) {
        registry.register_collector(Box::new(FirstExpiryCollector {
            certificates: Arc::clone(&self.first_expiry),
            clock,
        }));
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
            "sealwright_policy_shadows",
            "Verdicts of shadows, by how they differ from what was decided",
            self.shadows.clone(),
        );
        registry.register(
            "sealwright_policy_shadows_left_out",
            "Requests whose shadows were not asked, because too many waited",
            self.shadows_left_out.clone(),
        );
        registry.register(
            "sealwright_policy_decided_again",
            "Requests decided once more, because another policy set had come into force",
            self.decided_again.clone(),
        );
        registry.register(
            "sealwright_policy_execution_seconds",
            "Time that a policy thread worked on one decision, waiting not included",
            self.policy_execution.clone(),
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
            "sealwright_connections_unauthenticated",
            "Connections closed because nobody was authenticated on them in time",
            self.strangers.clone(),
        );
        registry.register(
            "sealwright_connections_stalled",
            "Connections closed because their peers took none of the answers that waited for them",
            self.stalls.clone(),
        );
        registry.register(
            "sealwright_buffered_bytes",
            "Bytes of requests held in memory, as counted against their bound",
            self.buffered_bytes.clone(),
        );
        registry.register(
            "sealwright_signing_calls",
            "Open calls of the signing service",
            self.signing_calls.clone(),
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
        registry.register(
            "sealwright_rate_refusals",
            "Requests refused because their identity asked too often, and whether the ledger has this one",
            self.rate_refusals.clone(),
        );
        registry.register(
            "sealwright_overload_refusals",
            "Requests refused because there were too many",
            self.overloads.clone(),
        );
    }

    pub(super) fn create_known_labels(&self) {
        for stage in Stage::ALL {
            drop(self.stages.get_or_create(&StageLabel {
                stage: stage.as_str(),
            }));
        }
        for error in ["CSR_ERROR", "TTL_ERROR", "CERT_GEN_ERROR", "CA_NOT_READY"] {
            drop(self.sign_err_count.get_or_create(&SignError { error }));
        }
        for reason in [
            HandshakeFailure::Timeout,
            HandshakeFailure::Tls,
            HandshakeFailure::Io,
        ] {
            drop(self.handshake_failures.get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            }));
        }
        for reason in [Refused::Limit, Refused::NoCertificate] {
            drop(self.refused.get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            }));
        }
        for reason in [Overload::Bytes, Overload::Queue] {
            drop(self.overloads.get_or_create(&ReasonLabel {
                reason: reason.as_str(),
            }));
        }
        for lane in [ShadowLane::Set, ShadowLane::Front] {
            let origin = lane.as_str();
            drop(self.shadows_left_out.get_or_create(&OriginLabel { origin }));
        }
        for recorded in ["yes", "no"] {
            drop(self.rate_refusals.get_or_create(&RecordedLabel { recorded }));
        }
        for result in ["ok", "error"] {
            drop(self.reloads.get_or_create(&ResultLabel { result }));
        }
    }
}
