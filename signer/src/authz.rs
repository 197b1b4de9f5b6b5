//! Whether a caller may have what it asks for: the native ceiling first, then the policies.
//!
//! The ceiling is what no policy can lift: the issuer, who may use it, the key, the longest life,
//! the names. A policy narrows what is left. Its result is a [`Grant`], which only this module can
//! make and which can be spent once.
//!
//! A denial of an authenticated caller is in the ledger before the caller hears of it. When it
//! cannot be recorded the caller hears that the service is unavailable, and nothing else.

mod ceiling;
mod deciders;
mod evidence;
mod grant;
mod input;
mod node;
mod origin;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_gate::issuers::Issuer;
use sealwright_identity::{SharedClock, SpiffeId, Timestamp};
use sealwright_policy_wasm::{AbortReason, Decision, Outcome, PolicyHost};
use sealwright_proto::gate::{Denial, Evidence, RecordDenial};
use sealwright_x509::csr::VerifiedCsr;
use tokio::time::Instant;
use tracing::{Span, field, info};

use crate::authn::Caller;
use crate::ca::{ANSWER_MARGIN, Gate};
use crate::catalog::SharedCatalog;
use crate::front_shadows::FrontShadows;
use crate::metrics::{Metrics, Stage};
use crate::service::CertificateOrder;
use crate::sets::{Deciders, Sets};

use evidence::EvidenceBuilder;
pub(crate) use evidence::unread_evidence;
pub use grant::Grant;
pub(crate) use grant::GrantParts;
#[doc(hidden)]
pub use grant::{Offer, Terms};
pub use input::hypothetical;
pub(crate) use node::NodeAuthorizer;
use origin::{CallerOrigin, Origins};

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// `CertSigner` names no issuer.
    #[error("no issuer is called {name:?}")]
    UnknownIssuer {
        /// As it was asked for, cut to a readable length.
        name: String,
    },
    /// Longer than the issuer ever grants. Istio refuses here too, and does not clamp.
    #[error("the requested lifetime of {requested} s is above the maximum of {maximum} s")]
    LifetimeTooLong {
        /// Seconds asked for.
        requested: u64,
        /// Seconds allowed.
        maximum: u64,
    },
    /// The caller wants to act for another, and may not. Recorded.
    #[error("denied: {}: {}", .0.code, .0.message)]
    Impersonation(Box<Denial>),
    /// Ceiling or policy said no. It is recorded.
    #[error("denied: {}: {}", .0.code, .0.message)]
    Denied(Box<Denial>),
    /// No verdict was reached, for reasons of our own.
    #[error("the decision was aborted")]
    Aborted {
        /// The policy that was running, if any.
        policy: Option<String>,
        /// Why.
        #[source]
        reason: AbortReason,
    },
    /// A denial could not be recorded.
    #[error("the denial could not be recorded")]
    Gate(#[from] ClientError),
    /// No gate has said yet what decides.
    #[error("the policy set in force is not known yet")]
    NoSet,
}

/// Decides requests.
#[derive(Debug)]
pub struct Authorizer {
    catalog: SharedCatalog,
    sets: Sets,
    policies: PolicyHost,
    gate: Gate,
    clock: SharedClock,
    metrics: Metrics,
    nodes: NodeAuthorizer,
    origins: Origins,
    front_shadows: Option<FrontShadows>,
}

/// One request on its way to a grant.
struct Case<'a> {
    caller: &'a Caller,
    order: &'a CertificateOrder,
    csr: &'a VerifiedCsr,
    issuer: Arc<Issuer>,
    lifetime: Duration,
    now: Timestamp,
}

impl Authorizer {
    /// An authorizer over the catalog in force.
    pub fn new(
        catalog: SharedCatalog,
        sets: Sets,
        policies: PolicyHost,
        gate: Gate,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            catalog,
            sets,
            policies,
            gate,
            clock,
            metrics,
            nodes: NodeAuthorizer::default(),
            origins: Origins::default(),
            front_shadows: None,
        }
    }

    /// Lets trusted node accounts act for the pods of their node.
    #[must_use]
    pub(crate) fn with_nodes(self, nodes: NodeAuthorizer) -> Self {
        Self { nodes, ..self }
    }

    /// Lets what somebody runs in shadow at this front see what is decided on.
    #[must_use]
    pub(crate) fn with_front_shadows(self, shadows: FrontShadows) -> Self {
        Self {
            front_shadows: Some(shadows),
            ..self
        }
    }

    /// Grants, narrows, or refuses.
    ///
    /// # Errors
    /// When the order names no issuer or too long a life, when ceiling or policies deny, when no
    /// decision was reached, or when a denial could not be recorded.
    pub async fn authorize(
        &self,
        caller: &Caller,
        order: &CertificateOrder,
        csr: &VerifiedCsr,
    ) -> Result<Grant, AuthorizationError> {
        let _time = self.metrics.time(Stage::Authorize);
        let catalog = self.catalog.current();
        let issuer = find_issuer(catalog.issuer(order.cert_signer()), order)?;
        Span::current().record("issuer", field::display(&issuer.name));
        let case = Case {
            lifetime: ceiling::lifetime(&issuer, order)?,
            issuer,
            caller,
            order,
            csr,
            now: self.clock.now(),
        };
        let deadline = order.context().deadline;
        let renewing = match self.origins.of(caller, &self.gate, deadline).await? {
            CallerOrigin::Elsewhere => None,
            CallerOrigin::Here(renewal) => Some(caller.renewing(renewal)),
            CallerOrigin::NotReleased => {
                let evidence = self.evidence(&case).undecided();
                return Err(self.deny(&case, evidence, origin::not_released()).await);
            }
        };
        let caller = renewing.as_ref().unwrap_or(caller);
        let case = Case { caller, ..case };
        let stand_in = match self.nodes.stand_in(caller, order).await {
            Ok(stand_in) => stand_in,
            Err(denial) => {
                let evidence = self.evidence(&case).undecided();
                self.record(&case, evidence, &denial).await?;
                return Err(AuthorizationError::Impersonation(Box::new(denial)));
            }
        };
        let caller = stand_in.as_ref().unwrap_or(caller);
        let case = Case { caller, ..case };
        if let Some(denial) = ceiling::denial(&case) {
            let evidence = self.evidence(&case).undecided();
            return Err(self.deny(&case, evidence, denial).await);
        }
        let set = self.sets.current().ok_or(AuthorizationError::NoSet)?;
        let mut deciders = deciders::about(set.as_deref(), &case, caller.identities());
        let mut decision = self.decide(&case, &deciders, caller.identities()).await;
        // Who has several identities may come to a certificate about which others are asked.
        if let Some(ids) = deciders::ids_of_outcome(&case, &decision) {
            let others = deciders::about(set.as_deref(), &case, &ids);
            if !others.is_the_same(&deciders) {
                deciders = others;
                decision = self.decide(&case, &deciders, &ids).await;
            }
        }
        let evidence = self.evidence(&case).decided(&decision, &deciders);
        match decision.outcome {
            Outcome::Allow(narrowing) => match Offer::of(&case).narrowed(&narrowing) {
                Ok(terms) => Ok(Grant::new(&case, terms, evidence)),
                Err(denial) => Err(self.deny(&case, evidence, denial).await),
            },
            Outcome::Deny(denial) => Err(self.deny(&case, evidence, evidence::denial(&denial)).await),
            Outcome::Aborted { policy, reason } => {
                // Only what a policy was running for is worth a record: an overload costs no disk.
                if let Some(running) = &policy {
                    let denial = aborted(running, reason);
                    self.record(&case, evidence, &denial).await?;
                }
                Err(AuthorizationError::Aborted { policy, reason })
            }
        }
    }

    async fn decide(&self, case: &Case<'_>, deciders: &Deciders, ids: &[SpiffeId]) -> Decision {
        let input = Arc::new(input::of(case));
        let left = case
            .order
            .context()
            .deadline
            .saturating_duration_since(Instant::now());
        let decision = self
            .policies
            .decide_within(
                &deciders.policies(),
                Arc::clone(&input),
                left.saturating_sub(ANSWER_MARGIN),
            )
            .await;
        if !decision.executed.is_zero() {
            self.metrics.policies_executed(decision.executed);
        }
        for evaluation in &decision.evaluations {
            let verdict = evaluation.verdict.as_str();
            self.metrics.verdict(&evaluation.name, verdict);
            for line in &evaluation.log {
                info!(policy = evaluation.name, level = ?line.level, "{}", line.message);
            }
        }
        if !matches!(decision.outcome, Outcome::Aborted { .. }) {
            self.watch_of_front(&case.issuer.name, ids, &input, &decision);
            self.watch(deciders, input, &decision);
        }
        decision
    }

    /// Records a denial, and turns it into the caller's error.
    async fn deny(&self, case: &Case<'_>, evidence: Evidence, denial: Denial) -> AuthorizationError {
        match self.record(case, evidence, &denial).await {
            Ok(()) => AuthorizationError::Denied(Box::new(denial)),
            Err(error) => error.into(),
        }
    }

    async fn record(&self, case: &Case<'_>, evidence: Evidence, denial: &Denial) -> Result<(), ClientError> {
        let deadline = case.order.context().deadline;
        let deadline = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        let record = RecordDenial {
            issuer: case.issuer.name.to_string(),
            csr: case.csr.der().to_vec(),
            evidence: Some(evidence),
            denial: Some(denial.clone()),
        };
        let recorded = self.gate.client().record_denial(record, deadline).await;
        match recorded {
            Ok(recorded) => {
                info!(
                    target: "audit",
                    sequence = recorded.sequence,
                    code = denial.code,
                    policy = denial.policy,
                    "a request was denied"
                );
                Ok(())
            }
            // Nothing is to be recorded: it is decided again.
            Err(error @ ClientError::Stale { .. }) => Err(error),
            Err(error) => {
                self.metrics.denial_unrecorded();
                Err(error)
            }
        }
    }

    fn evidence<'a>(&'a self, case: &'a Case<'_>) -> EvidenceBuilder<'a> {
        EvidenceBuilder {
            caller: case.caller,
            order: case.order,
            profile: self.policies.engine().profile(),
            now: case.now,
        }
    }
}

fn find_issuer(
    found: Option<&Arc<Issuer>>,
    order: &CertificateOrder,
) -> Result<Arc<Issuer>, AuthorizationError> {
    found.cloned().ok_or_else(|| {
        let name = order.cert_signer().chars().take(64).collect();
        AuthorizationError::UnknownIssuer { name }
    })
}

fn aborted(policy: &str, reason: AbortReason) -> Denial {
    Denial {
        policy: policy.to_owned(),
        code: "ABORTED".to_owned(),
        message: reason.to_string(),
        field: String::new(),
        hint: String::new(),
    }
}

#[cfg(test)]
mod tests;
