//! What one identity may ask for in a while, over all its connections and its replicas.
//!
//! Off by default: fairness does not need it (that is the turnstile's), a budget for each tenant
//! does. A refusal is recorded, but a flood of refusals is no flood of writes: the ledger gets the
//! first of an identity in a while, with the number of those left out since the last one.

mod buckets;

use std::time::Duration;

use sealwright_identity::SharedClock;
use sealwright_proto::gate::{Denial, RecordDenial};
use tokio::time::Instant;
use tracing::{info, warn};

use super::context::RequestContext;
use super::status::{RequestError, chain};
use crate::authn::Caller;
use crate::authz::unread_evidence;
use crate::ca::{ANSWER_MARGIN, Gate};
use crate::config::IdentityRateConfig;
use crate::metrics::Metrics;

use buckets::{Buckets, Taken};

/// What the ledger and the client call it.
pub(super) const RATE: &str = "RATE";

/// Holds callers to their rate.
#[derive(Debug)]
pub struct IdentityRate {
    buckets: Buckets,
    config: IdentityRateConfig,
    gate: Gate,
    clock: SharedClock,
    metrics: Metrics,
}

impl IdentityRate {
    /// A rate whose refusals are recorded through this gate.
    pub fn new(config: IdentityRateConfig, gate: Gate, clock: SharedClock, metrics: Metrics) -> Self {
        Self {
            buckets: Buckets::new(config.interval(), config.burst),
            config,
            gate,
            clock,
            metrics,
        }
    }

    /// Takes one certificate from the caller's bucket.
    ///
    /// # Errors
    /// When it is empty, with the time after which it is not.
    pub(super) async fn take(&self, caller: &Caller, context: &RequestContext) -> Result<(), RequestError> {
        // A caller has at least one identity.
        let Some(identity) = caller.identities().first() else {
            return Ok(());
        };
        match self.buckets.take(identity.as_str(), Instant::now()) {
            Taken::Yes => Ok(()),
            Taken::No { retry_after, record } => {
                self.metrics.rate_refused(record.is_some());
                if let Some(left_out) = record {
                    self.record(caller, context, left_out).await;
                }
                Err(RequestError::RateLimited { retry_after })
            }
        }
    }

    /// Whatever comes of it, the caller is refused: a ledger that is away makes no certificate.
    async fn record(&self, caller: &Caller, context: &RequestContext, left_out: u64) {
        let deadline = context.deadline;
        let deadline = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        let record = RecordDenial {
            // Refused before the message was read: neither the issuer nor the CSR is known.
            issuer: String::new(),
            csr: Vec::new(),
            evidence: Some(unread_evidence(caller, context, self.clock.now())),
            denial: Some(self.denial(left_out)),
        };
        match self.gate.client().record_denial(record, deadline).await {
            Ok(recorded) => info!(
                target: "audit",
                sequence = recorded.sequence,
                code = RATE,
                left_out,
                "a request was denied"
            ),
            Err(error) => {
                self.metrics.denial_unrecorded();
                warn!(error = chain(&error), left_out, "a refusal could not be recorded");
            }
        }
    }

    fn denial(&self, left_out: u64) -> Denial {
        let IdentityRateConfig {
            certificates_per_second: rate,
            burst,
        } = self.config;
        Denial {
            policy: String::new(),
            code: RATE.to_owned(),
            message: format!(
                "more than {rate} certificates a second beyond a burst of {burst}; {left_out} more refusals of \
                 this identity since the last one recorded"
            ),
            field: "caller".to_owned(),
            hint: "come back after the delay, or have server.identity_rate raised".to_owned(),
        }
    }
}

impl IdentityRateConfig {
    /// The time in which a bucket gains one certificate.
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.certificates_per_second)
    }
}
