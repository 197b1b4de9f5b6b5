//! What was granted. The certificate is built from it and from nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sealwright_gate::issuers::Issuer;
use sealwright_identity::{Ceiling, San, SpiffeId, Usage};
use sealwright_policy_wasm::Narrowing;
use sealwright_proto::gate::{Credential, Denial, Evidence};
use secrecy::ExposeSecret as _;

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
    /// The caller's token, where the gate wants to see it.
    pub(crate) credential: Option<Credential>,
    pub(crate) context: RequestContext,
}

/// The most that one request may come to, before any policy narrows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    names: Vec<San>,
    usages: Vec<Usage>,
    lifetime: Duration,
}

/// What is left of an offer after all narrowings. It grants nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The identity, and the DNS names that policies chose.
    pub names: Vec<San>,
    /// Server before client, each once.
    pub usages: Vec<Usage>,
    /// From now on, at least a second.
    pub lifetime: Duration,
}

impl Grant {
    pub(super) fn new(case: &Case<'_>, terms: Terms, evidence: Evidence) -> Self {
        Self(GrantParts {
            issuer: Arc::clone(&case.issuer),
            names: terms.names,
            usages: terms.usages,
            lifetime: terms.lifetime,
            evidence,
            credential: case.caller.credential().map(|token| Credential {
                token: Bytes::copy_from_slice(token.expose_secret().as_bytes()),
            }),
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

impl Offer {
    /// What `ceiling` allows of a caller's identities, the DNS names it asks for, and a lifetime that
    /// was held against the ceiling before.
    #[must_use]
    pub fn new(identities: &[SpiffeId], dns: &[String], ceiling: &Ceiling, lifetime: Duration) -> Self {
        Self {
            names: input::candidates(identities, dns, ceiling),
            usages: ceiling.usages.clone(),
            lifetime,
        }
    }

    pub(super) fn of(case: &Case<'_>) -> Self {
        Self::new(
            case.caller.identities(),
            &case.csr.facts().dns,
            &case.issuer.ceiling,
            case.lifetime,
        )
    }

    /// The names that policies choose from.
    #[must_use]
    pub fn names(&self) -> &[San] {
        &self.names
    }

    /// Applies what the policies left.
    ///
    /// Without a word on names the certificate names the caller's identity and nothing else. What a
    /// policy names and was not offered is not granted: the host refused it already.
    ///
    /// # Errors
    /// When no single identity, no usage or no lifetime is left.
    pub fn narrowed(self, narrowing: &Narrowing) -> Result<Terms, Denial> {
        let Self {
            mut names,
            mut usages,
            lifetime,
        } = self;
        match &narrowing.names {
            Some(chosen) => names.retain(|name| chosen.contains(&name.to_string())),
            None => names.retain(|name| matches!(name, San::Uri(_))),
        }
        // A workload's certificate has exactly one SPIFFE ID (the SPIFFE X.509-SVID standard).
        if names.iter().filter(|name| matches!(name, San::Uri(_))).count() != 1 {
            return Err(nothing_left("names", "the policies leave no single identity"));
        }
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
            .map_or(lifetime, |longest| longest.min(lifetime));
        if lifetime.as_secs() == 0 {
            return Err(nothing_left("lifetime", "the policies leave no lifetime"));
        }
        Ok(Terms {
            names,
            usages,
            lifetime,
        })
    }
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
