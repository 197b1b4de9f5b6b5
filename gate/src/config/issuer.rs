//! `[[issuers]]`: a key, its chain, and the most it may ever grant.

use std::collections::BTreeSet;
use std::path::PathBuf;

use sealwright_identity::{Ceiling, CommonName, DnsPattern, HumanDuration, KeyType, TrustDomain, Usage};
use serde::{Deserialize, Serialize};

use super::{CeremonyConfig, ConfigError};

/// One certificate authority of this installation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The name that requests and records use.
    pub name: String,
    /// The private key as a PKCS#11 URI (RFC 7512): `pkcs11:object=issuing;id=%01`.
    pub key: String,
    /// PEM: the issuing certificate first, then each that signed the one before.
    pub chain: PathBuf,
    /// PEM: the whole root bundle.
    pub roots: PathBuf,
    /// Which authenticators may use this issuer; empty means every one.
    #[serde(default)]
    pub authenticators: Vec<String>,
    /// The transcript of the key's ceremony: read until the ledger has a record of it.
    #[serde(default)]
    pub ceremony: Option<CeremonyConfig>,
    /// Nobody relies on its certificates, and nobody has to agree on its policies.
    #[serde(default)]
    pub rehearsal: bool,
    /// Of a rehearsal: the policies that must all allow, in this order. None means that nothing is allowed.
    #[serde(default)]
    pub policies: Vec<String>,
    /// How long after somebody was last known by another credential a certificate may still be
    /// renewed with the one before; for ever when it is not there.
    #[serde(default)]
    pub max_renewal_age: Option<HumanDuration>,
    /// `[issuers.ceiling]`
    #[serde(default)]
    pub ceiling: CeilingConfig,
}

/// `[issuers.ceiling]`: what policies may narrow and nothing may widen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CeilingConfig {
    /// The lifetime of a request that asks for none.
    pub default_lifetime: HumanDuration,
    /// The longest lifetime.
    pub max_lifetime: HumanDuration,
    /// The kinds of keys that may be certified.
    pub key_types: Vec<KeyType>,
    /// `server`, `client` or both.
    pub usages: Vec<Usage>,
    /// DNS names that policies may choose from: exact, or `*.` for one label.
    pub dns: Vec<DnsPattern>,
    /// `none`, or `first-name` (dual use).
    pub common_name: CommonName,
}

impl Default for CeilingConfig {
    fn default() -> Self {
        Self {
            default_lifetime: HumanDuration::from_secs(24 * 3600),
            max_lifetime: HumanDuration::from_secs(90 * 86_400),
            key_types: vec![
                KeyType::P256,
                KeyType::P384,
                KeyType::Ed25519,
                KeyType::Rsa(2048),
                KeyType::Rsa(3072),
                KeyType::Rsa(4096),
            ],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            dns: Vec::new(),
            common_name: CommonName::None,
        }
    }
}

impl CeilingConfig {
    /// The ceiling of an issuer in `trust_domain`.
    pub fn for_trust_domain(&self, trust_domain: &TrustDomain) -> Ceiling {
        Ceiling {
            trust_domain: trust_domain.clone(),
            dns: self.dns.clone(),
            max_lifetime: self.max_lifetime.get(),
            default_lifetime: self.default_lifetime.get(),
            key_types: self.key_types.clone(),
            usages: self.usages.clone(),
            common_name: self.common_name,
        }
    }
}

impl IssuerConfig {
    pub(super) fn validate(&self, policies: &BTreeSet<&str>) -> Result<(), ConfigError> {
        let key = |rest: &str| format!("issuers.{}.{rest}", self.name);
        if !self.key.starts_with("pkcs11:") {
            return Err(ConfigError::new(
                key("key"),
                "it is not a PKCS#11 URI",
                "write pkcs11:object=LABEL;id=%01",
            ));
        }
        let mut seen = BTreeSet::new();
        for name in &self.policies {
            if !policies.contains(name.as_str()) {
                return Err(ConfigError::new(
                    key("policies"),
                    format!("no policy is called {name:?}"),
                    "add a [[policies]] section of that name, or correct the name",
                ));
            }
            if !seen.insert(name) {
                return Err(ConfigError::new(
                    key("policies"),
                    format!("{name:?} is listed twice"),
                    "list each policy once",
                ));
            }
        }
        if self.max_renewal_age.is_some_and(|age| age.get().is_zero()) {
            return Err(ConfigError::new(
                key("max_renewal_age"),
                "nothing could be renewed",
                "write a duration such as \"90d\", or leave it out for no end",
            ));
        }
        let ceiling = &self.ceiling;
        if ceiling.default_lifetime.get() > ceiling.max_lifetime.get() {
            return Err(ConfigError::new(
                key("ceiling.default_lifetime"),
                format!(
                    "{} is above max_lifetime, {}",
                    ceiling.default_lifetime, ceiling.max_lifetime
                ),
                "lower it or raise max_lifetime",
            ));
        }
        if ceiling.key_types.is_empty() {
            return Err(ConfigError::new(
                key("ceiling.key_types"),
                "there is none",
                "list at least one, such as \"p256\"",
            ));
        }
        if ceiling.key_types.contains(&KeyType::MlDsa65) {
            return Err(ConfigError::new(
                key("ceiling.key_types"),
                "ml-dsa-65 is for CAs: no leaf has such a key",
                "take it out; p256, p384, ed25519 and RSA are for leaves",
            ));
        }
        if ceiling.usages.is_empty() {
            return Err(ConfigError::new(
                key("ceiling.usages"),
                "there is none",
                "list \"server\", \"client\" or both",
            ));
        }
        Ok(())
    }
}
