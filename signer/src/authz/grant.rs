//! What was granted. The certificate is built from it and from nothing else.

use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::issuers::Issuer;
use sealwright_identity::{San, Usage};
use sealwright_policy_wasm::Narrowing;
use sealwright_proto::gate::{Denial, Evidence};

use super::{Case, input};
use crate::service::RequestContext;

/// A decision to issue. Made by the authorizer alone, and spent once: it is no `Clone`.
#[derive(Debug)]
pub struct Grant(GrantParts);

/// The parts of a spent grant.
#[derive(Debug)]
pub(crate) struct GrantParts {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) names: Vec<San>,
    pub(crate) usages: Vec<Usage>,
    pub(crate) lifetime: Duration,
    pub(crate) evidence: Evidence,
    pub(crate) context: RequestContext,
}

/// What is left of the ceiling after all narrowings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) names: Vec<San>,
    pub(super) usages: Vec<Usage>,
    pub(super) lifetime: Duration,
}

impl Grant {
    pub(super) fn new(case: &Case<'_>, terms: Terms, evidence: Evidence) -> Self {
        Self(GrantParts {
            issuer: Arc::clone(&case.issuer),
            names: terms.names,
            usages: terms.usages,
            lifetime: terms.lifetime,
            evidence,
            context: case.order.context().clone(),
        })
    }

    /// A grant without a decision, for the tests of what comes after one.
    #[cfg(test)]
    pub(crate) fn for_test(parts: GrantParts) -> Self {
        Self(parts)
    }

    /// Spends the grant.
    pub(crate) fn into_parts(self) -> GrantParts {
        self.0
    }
}

/// Applies what the policies left to what was asked for.
///
/// Without a word on names the certificate names the caller's identity and nothing else. What a
/// policy names and was not offered is not granted: the host refused it already.
pub(super) fn grant(case: &Case<'_>, narrowing: Narrowing) -> Result<Terms, Denial> {
    let candidates = input::candidates(case);
    let names: Vec<San> = match &narrowing.names {
        Some(chosen) => candidates
            .into_iter()
            .filter(|name| chosen.contains(&name.to_string()))
            .collect(),
        None => candidates
            .into_iter()
            .filter(|name| matches!(name, San::Uri(_)))
            .collect(),
    };
    // A workload's certificate has exactly one SPIFFE ID (the SPIFFE X.509-SVID standard).
    if names.iter().filter(|name| matches!(name, San::Uri(_))).count() != 1 {
        return Err(nothing_left("names", "the policies leave no single identity"));
    }
    let mut usages = case.issuer.ceiling.usages.clone();
    if let Some(chosen) = &narrowing.usages {
        usages.retain(|usage| chosen.contains(usage));
    }
    usages.sort_by_key(|usage| *usage == Usage::ClientAuth);
    usages.dedup();
    if usages.is_empty() {
        return Err(nothing_left("usages", "the policies leave no usage"));
    }
    let lifetime = narrowing
        .lifetime
        .map_or(case.lifetime, |longest| longest.min(case.lifetime));
    if lifetime.as_secs() == 0 {
        return Err(nothing_left("lifetime", "the policies leave no lifetime"));
    }
    Ok(Terms {
        names,
        usages,
        lifetime,
    })
}

fn nothing_left(field: &str, message: &str) -> Denial {
    Denial {
        policy: String::new(),
        code: sealwright_policy_wasm::code::NOTHING_ALLOWED.to_owned(),
        message: message.to_owned(),
        field: field.to_owned(),
        hint: String::new(),
    }
}
