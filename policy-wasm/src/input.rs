//! What a policy is told about one request.
//!
//! The canonical JSON of a [`PolicyInput`] is what the ledger keeps, and the
//! only thing that the component's own record is made from: whoever has it can
//! run the decision again.
//!
//! The fields of every type here stand in the order of their names: so plain JSON of them is
//! canonical already, at a tenth of the cost of putting it in order. A test holds both together.

use std::collections::BTreeMap;

use sealwright_identity::{Digest, DnsPattern, KeyType, TrustDomain, Usage};
use serde::{Deserialize, Serialize, Serializer};

use crate::{bindings::sealwright::policy::types as wit, settings};

/// Everything that a policy may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInput {
    /// Who asks.
    pub caller: CallerFacts,
    /// The most that could be granted.
    pub ceiling: CeilingFacts,
    /// The certificate signing request.
    pub csr: CsrFacts,
    /// The time of the decision, in seconds since the Unix epoch.
    pub decided_at: i64,
    /// Who would sign.
    pub issuer: IssuerFacts,
    /// The rest of what is asked for.
    pub request: RequestFacts,
}

/// Who asks, as the authenticators found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerFacts {
    /// Constants from configuration.
    #[serde(serialize_with = "in_canonical_order")]
    pub attributes: BTreeMap<String, String>,
    /// The configured name of the authenticator.
    pub authenticator: String,
    /// Metadata of the request, verified by nobody.
    #[serde(serialize_with = "in_canonical_order")]
    pub claims: BTreeMap<String, String>,
    /// The cluster that the authenticator speaks for.
    pub cluster: Option<String>,
    /// Of a caller with a certificate of this installation, by the word of the ledger: when somebody
    /// was last known by another credential, in seconds since the Unix epoch.
    pub first_authenticated_at: Option<i64>,
    /// SPIFFE IDs; the first is the primary identity.
    pub identities: Vec<String>,
    /// From a Kubernetes service-account token.
    pub kubernetes: Option<KubernetesFacts>,
    /// Of a caller with a certificate of this installation, by the word of the ledger: its serial.
    pub previous_serial: Option<String>,
    /// The kind of authenticator: `client-certificate` or `jwt`.
    pub source: String,
}

/// The pod that a service-account token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct KubernetesFacts {
    pub namespace: String,
    pub node_name: Option<String>,
    pub node_uid: Option<String>,
    pub pod_name: Option<String>,
    pub pod_uid: Option<String>,
    pub service_account: String,
}

/// Facts about the certificate signing request. Its names are wishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsrFacts {
    /// The subject's common name.
    pub common_name: Option<String>,
    /// DNS names asked for.
    pub dns: Vec<String>,
    /// Mail addresses asked for.
    pub emails: Vec<String>,
    /// Object identifiers of the extensions asked for.
    pub extensions: Vec<String>,
    /// Addresses asked for.
    pub ips: Vec<String>,
    /// Whether it asks to become an authority.
    pub is_ca: bool,
    /// The kind of its key.
    pub key_type: KeyType,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// The algorithm of its self-signature.
    pub signature_algorithm: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_digest: Digest,
    /// URI names asked for.
    pub uris: Vec<String>,
}

/// The rest of what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFacts {
    /// The lifetime asked for; the issuer's default when none was named.
    pub lifetime_seconds: u64,
}

/// Who would sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerFacts {
    /// Its configured name.
    pub name: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
}

/// The most that could be granted to this caller by this issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingFacts {
    /// The lifetime when none is asked for.
    pub default_lifetime_seconds: u64,
    /// DNS names that the issuer may certify.
    pub dns_patterns: Vec<DnsPattern>,
    /// Kinds of keys that the issuer may certify.
    pub key_types: Vec<KeyType>,
    /// The longest lifetime.
    pub max_lifetime_seconds: u64,
    /// Candidate names as `URI:…`, `DNS:…`: what a policy chooses from.
    pub names: Vec<String>,
    /// Usages that the issuer may grant.
    pub usages: Vec<Usage>,
}

const PREVIOUS_SERIAL: &str = "previous_serial";
const FIRST_AUTHENTICATED_AT: &str = "first_authenticated_at";

/// Attributes that configuration may not set: what Sealwright itself found out has these names.
pub const RESERVED_ATTRIBUTES: [&str; 3] = [FIRST_AUTHENTICATED_AT, "impersonator", PREVIOUS_SERIAL];

/// The input with the name of its schema beside it.
#[derive(Serialize)]
struct Tagged<'a> {
    caller: &'a CallerFacts,
    ceiling: &'a CeilingFacts,
    csr: &'a CsrFacts,
    decided_at: i64,
    issuer: &'a IssuerFacts,
    request: &'a RequestFacts,
    schema: &'static str,
}

/// The same, read. Without `flatten`, which gathers all members first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole<'a> {
    caller: CallerFacts,
    ceiling: CeilingFacts,
    csr: CsrFacts,
    decided_at: i64,
    issuer: IssuerFacts,
    request: RequestFacts,
    #[serde(borrow)]
    schema: std::borrow::Cow<'a, str>,
}

impl<'a> Tagged<'a> {
    fn of(input: &'a PolicyInput) -> Self {
        let PolicyInput {
            caller,
            ceiling,
            csr,
            decided_at,
            issuer,
            request,
        } = input;
        Self {
            caller,
            ceiling,
            csr,
            decided_at: *decided_at,
            issuer,
            request,
            schema: PolicyInput::SCHEMA,
        }
    }
}

/// Room for the canonical JSON of most requests, in bytes.
const USUAL_JSON_BYTES: usize = 2 << 10;

impl PolicyInput {
    /// The schema that the canonical JSON names under `schema`.
    pub const SCHEMA: &'static str = "sealwright.policy-input/2";
    /// The one before: without the caller's `previous_serial` and `first_authenticated_at`. It is
    /// still read, for decisions that were made with it.
    pub const SCHEMA_1: &'static str = "sealwright.policy-input/1";

    /// RFC 8785 JSON, with `schema`. Exact for every input that
    /// [`PolicyInput::check`] accepts.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(USUAL_JSON_BYTES);
        match serde_json::to_writer(&mut json, &Tagged::of(self)) {
            Ok(()) => json,
            // It fails only for keys that are no strings.
            Err(_) => Vec::new(),
        }
    }

    /// Reads canonical JSON back, as for a replay.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`PolicyInput::canonical`] writes, or wrote when its
    /// schema was the one before.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, InputError> {
        if let Some(input) = Self::from_canonical_now(bytes) {
            return Ok(input);
        }
        let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(InputError::Syntax)?;
        let schema_1 = value.get("schema").and_then(|schema| schema.as_str()) == Some(Self::SCHEMA_1);
        let rewritten = schema_1.then(|| settings::canonical(&value));
        let schema = value.as_object_mut().and_then(|map| map.remove("schema"));
        match schema.as_ref().and_then(|schema| schema.as_str()) {
            Some(Self::SCHEMA) => {}
            Some(Self::SCHEMA_1) => add_what_schema_1_lacks(&mut value)?,
            other => return Err(InputError::Schema(other.map(str::to_owned))),
        }
        let input: Self = serde_json::from_value(value).map_err(InputError::Syntax)?;
        input.check()?;
        let canonical = rewritten.map_or_else(|| input.canonical(), String::into_bytes);
        if canonical != bytes {
            return Err(InputError::NotCanonical);
        }
        Ok(input)
    }

    /// The common case, at a third of the cost: the schema of now, and nothing wrong with it.
    fn from_canonical_now(bytes: &[u8]) -> Option<Self> {
        let whole: Whole<'_> = serde_json::from_slice(bytes).ok()?;
        if whole.schema != Self::SCHEMA {
            return None;
        }
        let input = Self {
            caller: whole.caller,
            ceiling: whole.ceiling,
            csr: whole.csr,
            decided_at: whole.decided_at,
            issuer: whole.issuer,
            request: whole.request,
        };
        (input.check().is_ok() && input.canonical() == bytes).then_some(input)
    }

    /// Whether each number has an exact place in JSON.
    ///
    /// # Errors
    /// Names the field with an integer beyond 2^53.
    pub fn check(&self) -> Result<(), InputError> {
        let unsigned = |name, value: u64| (name, i128::from(value));
        let numbers = [
            unsigned("request.lifetime_seconds", self.request.lifetime_seconds),
            unsigned("ceiling.max_lifetime_seconds", self.ceiling.max_lifetime_seconds),
            unsigned(
                "ceiling.default_lifetime_seconds",
                self.ceiling.default_lifetime_seconds,
            ),
            ("decided_at", i128::from(self.decided_at)),
            (
                "caller.first_authenticated_at",
                i128::from(self.caller.first_authenticated_at.unwrap_or(0)),
            ),
        ];
        match numbers.iter().find(|(_, value)| !settings::fits(*value)) {
            Some((field, _)) => Err(InputError::Integer { field }),
            None => Ok(()),
        }
    }

    /// The component's own record.
    pub(crate) fn to_wit(&self) -> wit::Input {
        wit::Input {
            caller: caller(&self.caller),
            csr: csr(&self.csr),
            request: wit::Request {
                lifetime_seconds: self.request.lifetime_seconds,
            },
            issuer: wit::Issuer {
                name: self.issuer.name.clone(),
                trust_domain: self.issuer.trust_domain.to_string(),
            },
            ceiling: ceiling(&self.ceiling),
            decided_at: self.decided_at,
        }
    }
}

/// Its members must all be there, and in schema 1 these must not.
fn add_what_schema_1_lacks(input: &mut serde_json::Value) -> Result<(), InputError> {
    let caller = input.get_mut("caller").and_then(|caller| caller.as_object_mut());
    let caller = caller.ok_or(InputError::NotCanonical)?;
    for name in [PREVIOUS_SERIAL, FIRST_AUTHENTICATED_AT] {
        if caller.insert(name.to_owned(), serde_json::Value::Null).is_some() {
            return Err(InputError::NotCanonical);
        }
    }
    Ok(())
}

fn caller(facts: &CallerFacts) -> wit::Caller {
    wit::Caller {
        source: facts.source.clone(),
        authenticator: facts.authenticator.clone(),
        identities: facts.identities.clone(),
        kubernetes: facts.kubernetes.as_ref().map(|pod| wit::Kubernetes {
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
            pod_name: pod.pod_name.clone(),
            pod_uid: pod.pod_uid.clone(),
            node_name: pod.node_name.clone(),
            node_uid: pod.node_uid.clone(),
        }),
        cluster: facts.cluster.clone(),
        attributes: attributes(&with_origin(facts)),
        claims: attributes(&facts.claims),
    }
}

/// The world's record has no place of its own for these, and a new field would make another world
/// that no compiled policy is of: they come as attributes, which are trustworthy as well.
fn with_origin(facts: &CallerFacts) -> BTreeMap<String, String> {
    let mut attributes = facts.attributes.clone();
    if let Some(serial) = &facts.previous_serial {
        attributes.insert(PREVIOUS_SERIAL.to_owned(), serial.clone());
    }
    if let Some(seconds) = facts.first_authenticated_at {
        attributes.insert(FIRST_AUTHENTICATED_AT.to_owned(), seconds.to_string());
    }
    attributes
}

fn attributes(map: &BTreeMap<String, String>) -> Vec<wit::Attribute> {
    map.iter()
        .map(|(name, value)| wit::Attribute {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

fn csr(facts: &CsrFacts) -> wit::Csr {
    wit::Csr {
        uris: facts.uris.clone(),
        dns: facts.dns.clone(),
        ips: facts.ips.clone(),
        emails: facts.emails.clone(),
        common_name: facts.common_name.clone(),
        organizations: facts.organizations.clone(),
        is_ca: facts.is_ca,
        extensions: facts.extensions.clone(),
        signature_algorithm: facts.signature_algorithm.clone(),
        key_type: facts.key_type.to_string(),
        spki_digest: facts.spki_digest.to_string(),
    }
}

fn ceiling(facts: &CeilingFacts) -> wit::Ceiling {
    wit::Ceiling {
        max_lifetime_seconds: facts.max_lifetime_seconds,
        default_lifetime_seconds: facts.default_lifetime_seconds,
        names: facts.names.clone(),
        dns_patterns: facts.dns_patterns.iter().map(ToString::to_string).collect(),
        usages: facts
            .usages
            .iter()
            .map(|usage| match usage {
                Usage::ServerAuth => wit::Usage::Server,
                Usage::ClientAuth => wit::Usage::Client,
            })
            .collect(),
        key_types: facts.key_types.iter().map(ToString::to_string).collect(),
    }
}

/// The order of RFC 8785, which is that of UTF-16 code units; a map's own is that of UTF-8.
fn in_canonical_order<S: Serializer>(
    map: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if map.keys().all(|key| key.is_ascii()) {
        return serializer.collect_map(map);
    }
    let mut members: Vec<_> = map.iter().collect();
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    serializer.collect_map(members)
}

/// Why some bytes or values are no input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Not JSON, or not the fields of the schema.
    #[error("the policy input is not JSON of its schema")]
    Syntax(#[source] serde_json::Error),
    /// Another schema, or none.
    #[error("the policy input has the schema {0:?}, not {known:?}", known = PolicyInput::SCHEMA)]
    Schema(Option<String>),
    /// Another spelling of an input.
    #[error("the policy input is not canonical JSON")]
    NotCanonical,
    /// An integer that JSON cannot carry exactly.
    #[error("{field} is an integer beyond 2^53")]
    Integer {
        /// Its path.
        field: &'static str,
    },
}

#[cfg(test)]
pub(crate) mod tests;
