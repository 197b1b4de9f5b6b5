//! What the policies are told.

use std::collections::BTreeMap;
use std::time::Duration;

use sealwright_identity::{Ceiling, DnsName, Identity, San, SpiffeId, Timestamp};
use sealwright_policy_wasm::{
    CallerFacts, CeilingFacts, CsrFacts, IssuerFacts, KubernetesFacts, PolicyInput, RequestFacts,
};
use sealwright_x509::csr::VerifiedCsr;

use super::{Case, Offer};
use crate::authn::Caller;
use crate::service::CertificateOrder;

/// DNS names of one request that are offered to policies.
const MAX_DNS_CANDIDATES: usize = 64;

pub(super) fn of(case: &Case<'_>) -> PolicyInput {
    let ceiling = &case.issuer.ceiling;
    PolicyInput {
        caller: caller(case.caller, case.order),
        csr: csr(case.csr),
        request: RequestFacts {
            lifetime_seconds: case.lifetime.as_secs(),
        },
        issuer: IssuerFacts {
            name: case.issuer.name.to_string(),
            trust_domain: ceiling.trust_domain.clone(),
        },
        ceiling: ceiling_facts(ceiling, Offer::of(case).names()),
        decided_at: case.now.unix_seconds(),
    }
}

/// What policies would be told of a request that nobody made, by a caller with a token: for explanations.
/// `issuer` is a name with its ceiling.
pub fn hypothetical(
    identity: &SpiffeId,
    asked: &VerifiedCsr,
    (issuer, ceiling): (&str, &Ceiling),
    lifetime: Option<Duration>,
    now: Timestamp,
) -> PolicyInput {
    let lifetime = lifetime.unwrap_or(ceiling.default_lifetime);
    let identities = std::slice::from_ref(identity);
    let account = Identity::try_from(identity).ok();
    let names = candidates(identities, &asked.facts().dns, ceiling);
    PolicyInput {
        caller: CallerFacts {
            source: "jwt".to_owned(),
            authenticator: "explain".to_owned(),
            identities: vec![identity.to_string()],
            kubernetes: account.map(|account| KubernetesFacts {
                namespace: account.namespace().to_owned(),
                service_account: account.service_account().to_owned(),
                pod_name: None,
                pod_uid: None,
                node_name: None,
                node_uid: None,
            }),
            cluster: None,
            attributes: BTreeMap::new(),
            claims: BTreeMap::new(),
            previous_serial: None,
            first_authenticated_at: None,
        },
        csr: csr(asked),
        request: RequestFacts {
            lifetime_seconds: lifetime.as_secs(),
        },
        issuer: IssuerFacts {
            name: issuer.to_owned(),
            trust_domain: ceiling.trust_domain.clone(),
        },
        ceiling: ceiling_facts(ceiling, &names),
        decided_at: now.unix_seconds(),
    }
}

/// The names a policy may choose from: the caller's identities, and of the DNS names that the CSR
/// asks for those that the issuer's patterns allow. The latter are granted only when chosen.
pub(super) fn candidates(identities: &[SpiffeId], asked: &[String], ceiling: &Ceiling) -> Vec<San> {
    let mut names: Vec<San> = identities.iter().cloned().map(San::Uri).collect();
    let allowed = asked
        .iter()
        .filter_map(|text| text.parse::<DnsName>().ok())
        .map(San::Dns)
        .filter(|name| ceiling.allows_san(name))
        .take(MAX_DNS_CANDIDATES);
    for name in allowed {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn ceiling_facts(ceiling: &Ceiling, names: &[San]) -> CeilingFacts {
    CeilingFacts {
        max_lifetime_seconds: ceiling.max_lifetime.as_secs(),
        default_lifetime_seconds: ceiling.default_lifetime.as_secs(),
        names: names.iter().map(San::to_string).collect(),
        dns_patterns: ceiling.dns.clone(),
        usages: ceiling.usages.clone(),
        key_types: ceiling.key_types.clone(),
    }
}

fn caller(caller: &Caller, order: &CertificateOrder) -> CallerFacts {
    CallerFacts {
        source: caller.source().as_str().to_owned(),
        authenticator: caller.authenticator().to_owned(),
        identities: caller.identities().iter().map(ToString::to_string).collect(),
        kubernetes: caller.kubernetes().map(|facts| KubernetesFacts {
            namespace: facts.namespace.clone(),
            service_account: facts.service_account.clone(),
            pod_name: facts.pod.as_ref().map(|pod| pod.name.clone()),
            pod_uid: facts.pod.as_ref().and_then(|object| object.uid.clone()),
            node_name: facts.node.as_ref().map(|node| node.name.clone()),
            node_uid: facts.node.as_ref().and_then(|object| object.uid.clone()),
        }),
        cluster: caller.cluster().map(str::to_owned),
        attributes: caller.attributes().clone(),
        claims: order.claims().clone(),
        previous_serial: caller.renewal().map(|renewal| renewal.previous.to_string()),
        first_authenticated_at: caller
            .renewal()
            .map(|renewal| renewal.first_authenticated_at.unix_seconds()),
    }
}

fn csr(csr: &VerifiedCsr) -> CsrFacts {
    let facts = csr.facts();
    CsrFacts {
        uris: facts.uris.clone(),
        dns: facts.dns.clone(),
        ips: facts.ips.clone(),
        emails: facts.emails.clone(),
        common_name: facts.common_name.clone(),
        organizations: facts.organizations.clone(),
        is_ca: facts.is_ca,
        extensions: facts.extensions.clone(),
        signature_algorithm: facts.signature_algorithm.clone(),
        key_type: facts.key_type,
        spki_digest: facts.spki_digest,
    }
}
