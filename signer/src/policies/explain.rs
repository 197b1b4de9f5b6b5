//! What a set would say of a request that nobody made: in the engine that decides, and without a trace.
//!
//! Nothing is asked of the key, nothing is recorded, and no decision is made: this comes to evaluations, from which
//! nobody can make a grant. It is bounded apart from what decides: few at a time, none of which waits for a place, on a
//! thread of low priority, within a deadline.

use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{Digest, SharedClock, SpiffeId};
use sealwright_policy_wasm::{self as policy, AbortReason, Evaluation, LogLevel, PolicyHost, PolicyInput};
use sealwright_proto::policy::explained_policy::{Denial, Items, Level, LogLine, Mode, Narrowing};
use sealwright_proto::policy::{ExplainRequest, ExplainResponse, ExplainedPolicy};
use sealwright_x509::csr::{CsrLimits, VerifiedCsr};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::digest;
use super::error::Refusal;
use crate::authz::hypothetical;
use crate::catalog::SharedCatalog;
use crate::sets::{ActiveSet, Asked, Sets};

/// Explanations at a time: while one runs, the set of another can be fetched and compiled.
const PLACES: usize = 2;
/// How long one may take: a set of modules that burn all their fuel is cut off.
const EXPLANATION: Duration = Duration::from_secs(30);

/// Explains. Clones share the places.
#[derive(Clone, Debug)]
pub(crate) struct Explainer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    sets: Sets,
    policies: PolicyHost,
    catalog: SharedCatalog,
    clock: SharedClock,
    csr: CsrLimits,
    places: Arc<Semaphore>,
}

impl Explainer {
    /// With what requests are decided, for CSRs of at most `max_csr_bytes`.
    pub(crate) fn new(
        sets: Sets,
        policies: PolicyHost,
        catalog: SharedCatalog,
        clock: SharedClock,
        max_csr_bytes: usize,
    ) -> Self {
        Self(Arc::new(Parts {
            sets,
            policies,
            catalog,
            clock,
            csr: CsrLimits {
                max_bytes: max_csr_bytes,
            },
            places: Arc::new(Semaphore::new(PLACES)),
        }))
    }

    /// What each policy of a set says of a request.
    pub(super) async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Refusal> {
        let place = Arc::clone(&self.0.places).try_acquire_owned();
        let place = place.map_err(|_taken| {
            Refusal::TooLarge(format!("{PLACES} explanations are being made: ask again"))
        })?;
        let deadline = Instant::now() + EXPLANATION;
        let parts = Arc::clone(&self.0);
        // Of its own, so that the place is held for as long as anything is compiled, whoever waits for it.
        let explaining = tokio::spawn(async move {
            let explained = parts.explain(request, deadline).await;
            drop(place);
            explained
        });
        match timeout_at(deadline, explaining).await {
            Ok(Ok(explained)) => explained,
            Ok(Err(_cut_off)) => Err(Refusal::Explanation(AbortReason::Stopped)),
            Err(_late) => Err(Refusal::Explanation(AbortReason::Deadline)),
        }
    }
}

impl Parts {
    async fn explain(&self, request: ExplainRequest, deadline: Instant) -> Result<ExplainResponse, Refusal> {
        let identity: SpiffeId = request
            .identity
            .parse()
            .map_err(|error: sealwright_identity::SpiffeIdError| Refusal::Invalid(error.to_string()))?;
        let (issuer, input) = self.input(&request, &identity)?;
        let set = self.set(&request.set, deadline).await?;
        let asked = asked(&set, &issuer, &identity)?;
        let policies = asked.iter().map(|(_, one)| Arc::clone(&one.policy)).collect();
        let input = Arc::new(input);
        let evaluations = self
            .policies
            .explain(policies, Arc::clone(&input), deadline)
            .await
            .map_err(Refusal::Explanation)?;
        let said = asked.iter().zip(evaluations);
        Ok(ExplainResponse {
            number: set.number(),
            set: set.digest().to_string(),
            policies: said
                .map(|((mode, one), evaluation)| told(*mode, one.revision, evaluation))
                .collect(),
            input: String::from_utf8_lossy(&input.canonical()).into_owned(),
        })
    }

    /// The issuer's name, and what policies would be told.
    fn input(&self, request: &ExplainRequest, identity: &SpiffeId) -> Result<(String, PolicyInput), Refusal> {
        let csr = VerifiedCsr::from_pem_or_der(&request.csr, &self.csr).map_err(Refusal::Csr)?;
        let lifetime = match request.lifetime {
            Some(lifetime) => Some(
                Duration::try_from(lifetime)
                    .map_err(|_negative| Refusal::Invalid("the lifetime is negative".to_owned()))?,
            ),
            None => None,
        };
        let catalog = self.catalog.current();
        let issuer = catalog.issuer(&request.issuer).ok_or_else(|| {
            let name: String = request.issuer.chars().take(64).collect();
            Refusal::Missing(format!("no issuer is called {name:?}"))
        })?;
        let name = issuer.name.to_string();
        let input = hypothetical(
            identity,
            &csr,
            (&name, &issuer.ceiling),
            lifetime,
            self.clock.now(),
        );
        Ok((name, input))
    }

    /// The set of that digest, or the one in force.
    async fn set(&self, wanted: &str, deadline: Instant) -> Result<Arc<ActiveSet>, Refusal> {
        if !wanted.is_empty() {
            let set = self.sets.candidate(digest(wanted)?, deadline).await?;
            return Ok(Arc::new(set));
        }
        let in_force = self.sets.current().ok_or(Refusal::NotKnown)?;
        in_force.ok_or_else(|| Refusal::Missing("no set is in force".to_owned()))
    }
}

/// Who would be asked, those who decide first.
fn asked(set: &ActiveSet, issuer: &str, identity: &SpiffeId) -> Result<Vec<(Mode, Asked)>, Refusal> {
    let deciders = set
        .deciders(issuer, std::slice::from_ref(identity))
        .ok_or_else(|| Refusal::Missing("the set names a revision that is not there".to_owned()))?;
    let enforced = deciders.enforcing.into_iter().map(|one| (Mode::Enforced, one));
    let shadows = deciders.shadows.into_iter().map(|one| (Mode::Shadow, one));
    Ok(enforced.chain(shadows).collect())
}

fn told(mode: Mode, revision: Digest, evaluation: Evaluation) -> ExplainedPolicy {
    let names = |items: Vec<String>| Items { items };
    let narrowing = evaluation.narrowing.map(|narrowing| Narrowing {
        lifetime_seconds: narrowing.lifetime.map(|lifetime| lifetime.as_secs()),
        names: narrowing.names.map(names),
        usages: narrowing
            .usages
            .map(|usages| names(usages.iter().map(ToString::to_string).collect())),
    });
    let denial = evaluation.denial.map(|denial| Denial {
        policy: denial.policy,
        code: denial.code,
        message: denial.message,
        field: denial.field,
        hint: denial.hint,
    });
    let line = |line: policy::LogLine| LogLine {
        level: level(line.level).into(),
        message: line.message,
    };
    ExplainedPolicy {
        policy: evaluation.name,
        mode: mode.into(),
        revision: revision.to_string(),
        module: evaluation.module.to_string(),
        verdict: evaluation.verdict.to_string(),
        fuel: evaluation.fuel,
        denial,
        narrowing,
        log: evaluation.log.into_iter().map(line).collect(),
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
        LogLevel::Error => Level::Error,
    }
}
