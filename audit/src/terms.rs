//! What was on offer and what was granted, computed anew from the input that the policies saw.
//!
//! Written for the auditor, and on purpose not the signer's own code: two programs have to agree.

use std::time::Duration;

use sealwright_identity::{DnsName, San, Usage};
use sealwright_policy_wasm::{Narrowing, PolicyInput};

/// DNS names of one request that are offered to policies.
const MAX_DNS_CANDIDATES: usize = 64;

/// What a certificate may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) names: Vec<San>,
    pub(crate) usages: Vec<Usage>,
    pub(crate) lifetime: Duration,
}

/// The names that the policies could choose from, as the input must list them: the caller's own, and of the DNS names
/// that the request asks for those that the issuer's patterns allow.
pub(crate) fn offered(input: &PolicyInput) -> Vec<String> {
    let mut names: Vec<String> = input
        .caller
        .identities
        .iter()
        .map(|identity| format!("URI:{identity}"))
        .collect();
    let patterns = &input.ceiling.dns_patterns;
    if patterns.is_empty() {
        return names;
    }
    let allowed = input
        .csr
        .dns
        .iter()
        .filter_map(|text| text.parse::<DnsName>().ok())
        .filter(|name| patterns.iter().any(|pattern| pattern.matches(name)))
        .take(MAX_DNS_CANDIDATES);
    for name in allowed {
        let name = San::Dns(name).to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is left of an offer.
///
/// # Errors
/// Says what is not.
pub(crate) fn granted(input: &PolicyInput, narrowing: &Narrowing) -> Result<Terms, &'static str> {
    let mut names = Vec::with_capacity(input.ceiling.names.len());
    for text in &input.ceiling.names {
        let name: San = text.parse().map_err(|_| "a name on offer is none")?;
        let chosen = match &narrowing.names {
            Some(chosen) => chosen.contains(text),
            // Without a word on names: the identity, and nothing else.
            None => matches!(name, San::Uri(_)),
        };
        if chosen {
            names.push(name);
        }
    }
    if names.iter().filter(|name| matches!(name, San::Uri(_))).count() != 1 {
        return Err("no single identity is left");
    }
    let left = |usage: &Usage| {
        input.ceiling.usages.contains(usage)
            && narrowing
                .usages
                .as_ref()
                .is_none_or(|chosen| chosen.contains(usage))
    };
    let usages: Vec<Usage> = [Usage::ServerAuth, Usage::ClientAuth]
        .into_iter()
        .filter(left)
        .collect();
    if usages.is_empty() {
        return Err("no usage is left");
    }
    let asked = Duration::from_secs(input.request.lifetime_seconds);
    let lifetime = narrowing.lifetime.map_or(asked, |most| most.min(asked));
    if lifetime.as_secs() == 0 {
        return Err("no lifetime is left");
    }
    Ok(Terms {
        names,
        usages,
        lifetime,
    })
}
