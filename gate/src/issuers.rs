//! The issuers and policies of a configuration, read from their files and checked whole.
//!
//! Front and gate each load their own copy. The gate's is the one that counts: the ordered
//! list of policies of an [`Issuer`], by digest of code and of settings, is what evidence
//! is compared with, and its [`Ceiling`] is what no certificate leaves.

mod error;
mod policies;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sealwright_identity::{Ceiling, HumanDuration, KeyType, Timestamp, TrustDomain};
use sealwright_jwt::KeySet;
use sealwright_x509::CertificateRef;
use sealwright_x509::issuer::IssuerChain;

pub use self::error::IssuersError;
pub use self::policies::{PolicyIdentity, PolicyModule};
use crate::config::{CeremonyConfig, GateFile, IssuerConfig, PolicyConfig};

/// A PEM file above this is not a chain.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Nor a larger one a key set.
const MAX_JWKS_BYTES: u64 = 1 << 20;

/// A certificate authority, loaded.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its configured name.
    pub name: Arc<str>,
    /// The private key's PKCS#11 URI.
    pub key: String,
    /// The verified chain and its root bundle.
    pub chain: Arc<IssuerChain>,
    /// The chain's intermediates (DER, the issuing certificate first), as answers carry them.
    pub intermediates: Vec<Bytes>,
    /// The root bundle (PEM), as answers carry it.
    pub roots_pem: Bytes,
    /// What it may ever grant.
    pub ceiling: Ceiling,
    /// The policies that must all allow, in order.
    pub policies: Vec<PolicyIdentity>,
    /// The authenticators that may use it; empty means every one.
    pub authenticators: Vec<String>,
    /// How long after the first authentication a certificate may still be renewed.
    pub max_renewal_age: Option<Duration>,
    /// Where the ceremony of its key is written down.
    pub ceremony: Option<CeremonyConfig>,
    /// Nobody relies on its certificates.
    pub rehearsal: bool,
}

impl Issuer {
    /// Whether callers of this authenticator may use the issuer.
    pub fn admits(&self, authenticator: &str) -> bool {
        self.authenticators.is_empty() || self.authenticators.iter().any(|a| a == authenticator)
    }

    /// Whether a chain of renewals that began then may go on now.
    pub fn may_renew(&self, first_authenticated_at: Timestamp, now: Timestamp) -> bool {
        self.max_renewal_age
            .is_none_or(|longest| now.saturating_since(first_authenticated_at) <= longest)
    }
}

/// Every issuer of an installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuers {
    by_name: Arc<BTreeMap<Arc<str>, Arc<Issuer>>>,
    default: Arc<Issuer>,
    policies: Arc<[Arc<PolicyModule>]>,
}

impl Issuers {
    /// Reads and verifies all that `file` names; chains must be valid at `now`.
    ///
    /// Expects a file that was resolved and validated.
    pub fn load(file: &GateFile, now: Timestamp) -> Result<Self, IssuersError> {
        Self::load_parts(
            &file.trust_domain,
            &file.default_issuer,
            &file.issuers,
            &file.policies,
            now,
        )
    }

    /// As [`Self::load`], for a configuration composed otherwise.
    pub fn load_parts(
        trust_domain: &TrustDomain,
        default_issuer: &str,
        issuers: &[IssuerConfig],
        policies: &[PolicyConfig],
        now: Timestamp,
    ) -> Result<Self, IssuersError> {
        let policies = policies
            .iter()
            .map(|policy| PolicyModule::load(policy).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut by_name = BTreeMap::new();
        for config in issuers {
            let issuer = Arc::new(load_issuer(trust_domain, config, &policies, now)?);
            by_name.insert(Arc::clone(&issuer.name), issuer);
        }
        let default = by_name
            .get(default_issuer)
            .cloned()
            .ok_or_else(|| IssuersError::Unknown {
                name: default_issuer.to_owned(),
            })?;
        Ok(Self {
            by_name: Arc::new(by_name),
            default,
            policies: policies.into(),
        })
    }

    /// The issuer of that name; the default one for the empty name.
    pub fn get(&self, name: &str) -> Option<&Arc<Issuer>> {
        if name.is_empty() {
            return Some(&self.default);
        }
        self.by_name.get(name)
    }

    /// The issuer of requests that name none.
    pub fn default_issuer(&self) -> &Arc<Issuer> {
        &self.default
    }

    /// Every issuer, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.by_name.values()
    }

    /// Every configured policy, in the order of the file.
    pub fn policies(&self) -> &[Arc<PolicyModule>] {
        &self.policies
    }

    /// The policies of `issuer`, in its order.
    pub fn policies_of<'a>(&'a self, issuer: &'a Issuer) -> impl Iterator<Item = &'a Arc<PolicyModule>> {
        issuer.policies.iter().filter_map(|identity| {
            self.policies
                .iter()
                .find(|policy| policy.identity.name == identity.name)
        })
    }
}

fn load_issuer(
    trust_domain: &TrustDomain,
    config: &IssuerConfig,
    policies: &[Arc<PolicyModule>],
    now: Timestamp,
) -> Result<Issuer, IssuersError> {
    let key = |rest: &str| format!("issuers.{}.{rest}", config.name);
    let chain = read(&config.chain, MAX_PEM_BYTES, || key("chain"))?;
    let roots = read(&config.roots, MAX_PEM_BYTES, || key("roots"))?;
    let chain = IssuerChain::load(&chain, &roots, now).map_err(|source| IssuersError::Chain {
        issuer: config.name.clone(),
        chain: config.chain.clone(),
        roots: config.roots.clone(),
        source: Box::new(source),
    })?;
    refuse_rehearsal(config, &chain)?;
    if chain.key_type() == KeyType::MlDsa65 {
        return Err(IssuersError::KeyType {
            issuer: config.name.clone(),
            chain: config.chain.clone(),
            key_type: chain.key_type(),
        });
    }
    let identities = config.policies.iter().map(|name| {
        policies
            .iter()
            .find(|policy| *policy.identity.name == **name)
            .map(|policy| policy.identity.clone())
            .ok_or_else(|| IssuersError::UnknownPolicy {
                issuer: config.name.clone(),
                policy: name.clone(),
            })
    });
    Ok(Issuer {
        name: config.name.as_str().into(),
        key: config.key.clone(),
        intermediates: chain
            .intermediates_der()
            .iter()
            .map(|der| Bytes::copy_from_slice(der))
            .collect(),
        roots_pem: Bytes::copy_from_slice(chain.roots_pem().as_bytes()),
        chain: Arc::new(chain),
        ceiling: config.ceiling.for_trust_domain(trust_domain),
        policies: identities.collect::<Result<_, _>>()?,
        authenticators: config.authenticators.clone(),
        max_renewal_age: config.max_renewal_age.map(HumanDuration::get),
        ceremony: config.ceremony.clone(),
        rehearsal: config.rehearsal,
    })
}

/// What a rehearsed key ceremony made is for nobody to rely on, whatever a plan's or file's name says.
fn refuse_rehearsal(config: &IssuerConfig, chain: &IssuerChain) -> Result<(), IssuersError> {
    if config.rehearsal {
        return Ok(());
    }
    for der in chain.intermediates_der().iter().chain(chain.roots_der()) {
        // One that cannot be read is not in the chain, and no client can read it either.
        let mark = CertificateRef::parse(der).map(|certificate| certificate.rehearsal());
        match mark {
            Ok(Ok(None)) | Err(_) => {}
            Ok(Ok(Some(_)) | Err(_)) => {
                return Err(IssuersError::Rehearsal {
                    issuer: config.name.clone(),
                    chain: config.chain.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Reads the keys that the callers of an authenticator are verified with (`[[gate.verify_caller]]`).
pub fn pinned_keys(authenticator: &str, file: &Path) -> Result<KeySet, IssuersError> {
    let bytes = read(file, MAX_JWKS_BYTES, || {
        format!("gate.verify_caller.{authenticator}.jwks_file")
    })?;
    KeySet::parse(&bytes).map_err(|source| IssuersError::Keys {
        authenticator: authenticator.to_owned(),
        path: file.to_owned(),
        source,
    })
}

/// Reads a whole file of at most `limit` bytes; `key` says what asked for it.
fn read(path: &Path, limit: u64, key: impl Fn() -> String) -> Result<Vec<u8>, IssuersError> {
    use std::io::Read;
    let unreadable = |source| IssuersError::Unreadable {
        key: key(),
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        return Ok(bytes);
    }
    Err(IssuersError::TooLarge {
        key: key(),
        path: path.to_owned(),
        limit,
    })
}

#[cfg(test)]
mod tests;
