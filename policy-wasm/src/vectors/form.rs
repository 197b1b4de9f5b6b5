//! A vector as it is written, and what stands for what it leaves out: an ordinary request of a pod.
//!
//! `identity` is a short word for the caller of an ordinary request: it is the caller's identity, the URI
//! name of the request, the candidate name of the ceiling, and gives trust domain, namespace and service
//! account. Whatever is written out goes before what `identity` gives.

use std::{collections::BTreeMap, fmt};

use sealwright_identity::{Digest, DnsPattern, KeyType, SpiffeId, SpiffeIdError, TrustDomain, Usage};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use super::Expect;
use crate::{CallerFacts, CeilingFacts, CsrFacts, IssuerFacts, KubernetesFacts, PolicyInput, RequestFacts};

/// The identity of a request that names none.
const IDENTITY: &str = "spiffe://cluster.local/ns/default/sa/default";
/// 2026-01-01T00:00:00Z.
const DECIDED_AT: i64 = 1_767_225_600;
const DAY: u64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) description: Option<String>,
    pub(super) settings: Option<Value>,
    #[serde(default)]
    pub(super) input: InputForm,
    pub(super) expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InputForm {
    identity: Option<SpiffeId>,
    caller: CallerForm,
    ceiling: CeilingForm,
    csr: CsrForm,
    decided_at: Option<i64>,
    issuer: IssuerForm,
    request: RequestForm,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CallerForm {
    attributes: BTreeMap<String, String>,
    authenticator: Option<String>,
    claims: BTreeMap<String, String>,
    cluster: Option<String>,
    first_authenticated_at: Option<i64>,
    identities: Option<Vec<String>>,
    kubernetes: Option<PodForm>,
    previous_serial: Option<String>,
    source: Option<String>,
}

/// `false`, or what is known of the pod.
enum PodForm {
    Absent,
    Pod(PodFacts),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodFacts {
    namespace: Option<String>,
    node_name: Option<String>,
    node_uid: Option<String>,
    pod_name: Option<String>,
    pod_uid: Option<String>,
    service_account: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CsrForm {
    common_name: Option<String>,
    dns: Vec<String>,
    emails: Vec<String>,
    extensions: Option<Vec<String>>,
    ips: Vec<String>,
    is_ca: bool,
    key_type: Option<KeyType>,
    organizations: Vec<String>,
    signature_algorithm: Option<String>,
    spki_digest: Option<Digest>,
    uris: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CeilingForm {
    default_lifetime_seconds: Option<u64>,
    dns_patterns: Vec<DnsPattern>,
    key_types: Option<Vec<KeyType>>,
    max_lifetime_seconds: Option<u64>,
    names: Option<Vec<String>>,
    usages: Option<Vec<Usage>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IssuerForm {
    name: Option<String>,
    trust_domain: Option<TrustDomain>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestForm {
    lifetime_seconds: Option<u64>,
}

impl InputForm {
    /// The whole request.
    ///
    /// # Errors
    /// Never, as long as the ordinary identity is one.
    pub(super) fn complete(self) -> Result<PolicyInput, SpiffeIdError> {
        let identity: SpiffeId = match self.identity {
            Some(identity) => identity,
            None => IDENTITY.parse()?,
        };
        let trust_domain = self
            .issuer
            .trust_domain
            .unwrap_or_else(|| identity.trust_domain().clone());
        let identity = identity.as_str();
        let caller = self.caller.complete(identity);
        let max_lifetime_seconds = self.ceiling.max_lifetime_seconds.unwrap_or(DAY);
        let default_lifetime_seconds = self
            .ceiling
            .default_lifetime_seconds
            .unwrap_or(max_lifetime_seconds);
        let own_names = || caller.identities.iter().map(|id| format!("URI:{id}")).collect();
        Ok(PolicyInput {
            ceiling: CeilingFacts {
                default_lifetime_seconds,
                dns_patterns: self.ceiling.dns_patterns,
                key_types: self.ceiling.key_types.unwrap_or_else(|| {
                    vec![KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa(2048)]
                }),
                max_lifetime_seconds,
                names: self.ceiling.names.unwrap_or_else(own_names),
                usages: self
                    .ceiling
                    .usages
                    .unwrap_or_else(|| vec![Usage::ServerAuth, Usage::ClientAuth]),
            },
            csr: self.csr.complete(identity),
            decided_at: self.decided_at.unwrap_or(DECIDED_AT),
            issuer: IssuerFacts {
                name: self.issuer.name.unwrap_or_else(|| "default".to_owned()),
                trust_domain,
            },
            request: RequestFacts {
                lifetime_seconds: self.request.lifetime_seconds.unwrap_or(default_lifetime_seconds),
            },
            caller,
        })
    }
}

impl CallerForm {
    fn complete(self, identity: &str) -> CallerFacts {
        let source = self.source.unwrap_or_else(|| "jwt".to_owned());
        let ordinary = pod_of(identity).filter(|_| source == "jwt");
        let kubernetes = match self.kubernetes {
            Some(PodForm::Absent) => None,
            Some(PodForm::Pod(facts)) => Some(facts.complete(pod_of(identity))),
            None => ordinary.map(|(namespace, service_account)| KubernetesFacts {
                namespace: namespace.to_owned(),
                node_name: None,
                node_uid: None,
                pod_name: None,
                pod_uid: None,
                service_account: service_account.to_owned(),
            }),
        };
        let authenticator = match source.as_str() {
            "client-certificate" => "mtls",
            _ => "kubernetes",
        };
        CallerFacts {
            attributes: self.attributes,
            authenticator: self.authenticator.unwrap_or_else(|| authenticator.to_owned()),
            claims: self.claims,
            cluster: self.cluster,
            first_authenticated_at: self.first_authenticated_at,
            identities: self.identities.unwrap_or_else(|| vec![identity.to_owned()]),
            kubernetes,
            previous_serial: self.previous_serial,
            source,
        }
    }
}

impl PodFacts {
    fn complete(self, ordinary: Option<(&str, &str)>) -> KubernetesFacts {
        let (namespace, service_account) = ordinary.unwrap_or(("default", "default"));
        KubernetesFacts {
            namespace: self.namespace.unwrap_or_else(|| namespace.to_owned()),
            node_name: self.node_name,
            node_uid: self.node_uid,
            pod_name: self.pod_name,
            pod_uid: self.pod_uid,
            service_account: self.service_account.unwrap_or_else(|| service_account.to_owned()),
        }
    }
}

impl CsrForm {
    fn complete(self, identity: &str) -> CsrFacts {
        CsrFacts {
            common_name: self.common_name,
            dns: self.dns,
            emails: self.emails,
            // Subject alternative names.
            extensions: self.extensions.unwrap_or_else(|| vec!["2.5.29.17".to_owned()]),
            ips: self.ips,
            is_ca: self.is_ca,
            key_type: self.key_type.unwrap_or(KeyType::P256),
            organizations: self.organizations,
            signature_algorithm: self
                .signature_algorithm
                .unwrap_or_else(|| "ecdsa-with-SHA256".to_owned()),
            spki_digest: self.spki_digest.unwrap_or_else(|| Digest::of(b"a key")),
            uris: self.uris.unwrap_or_else(|| vec![identity.to_owned()]),
        }
    }
}

/// Namespace and service account of an identity in Kubernetes' form.
fn pod_of(identity: &str) -> Option<(&str, &str)> {
    let (_, path) = identity.strip_prefix("spiffe://")?.split_once("/ns/")?;
    let (namespace, service_account) = path.split_once("/sa/")?;
    let plain = |part: &str| !part.is_empty() && !part.contains('/');
    (plain(namespace) && plain(service_account)).then_some((namespace, service_account))
}

impl<'de> Deserialize<'de> for PodForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PodVisitor)
    }
}

struct PodVisitor;

impl<'de> Visitor<'de> for PodVisitor {
    type Value = PodForm;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or false for a caller without a pod")
    }

    fn visit_bool<E: de::Error>(self, there: bool) -> Result<PodForm, E> {
        match there {
            false => Ok(PodForm::Absent),
            true => Err(E::invalid_value(de::Unexpected::Bool(true), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<PodForm, A::Error> {
        PodFacts::deserialize(MapAccessDeserializer::new(members)).map(PodForm::Pod)
    }
}
