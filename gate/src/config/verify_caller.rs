//! `[[gate.verify_caller]]`: what the gate itself checks of a caller, authenticator by authenticator.
//!
//! With any of them, every authenticator has to be named: one that is not is refused, so that a front
//! that was taken over cannot name another than the one whose callers are verified.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sealwright_identity::HumanDuration;
use sealwright_jwt::{Algorithm, NodeAccount, SubjectForm};
use serde::{Deserialize, Serialize};

use super::{ConfigError, IssuerConfig, resolve};

/// As much as any clock in order needs.
const MAX_CLOCK_SKEW: HumanDuration = HumanDuration::from_secs(600);

/// One `[[gate.verify_caller]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyCallerConfig {
    /// The authenticator by its name in the front.
    pub authenticator: String,
    /// How its callers are verified.
    #[serde(default)]
    pub kind: CallerKind,
    /// Only callers of this cluster, where one authenticator knows several.
    #[serde(default)]
    pub cluster: Option<String>,
    /// The `iss` of its tokens.
    #[serde(default)]
    pub issuer: Option<String>,
    /// A token must be for one of these.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The issuer's keys, pinned: a JWK set in a file of the gate's own. Read again on SIGHUP.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Signature algorithms that are accepted; all supported ones by default.
    #[serde(default)]
    pub algorithms: Option<Vec<Algorithm>>,
    /// How `sub` becomes an identity.
    #[serde(default)]
    pub subject: SubjectForm,
    /// How far ahead the issuer's clock may be.
    #[serde(default = "default_clock_skew")]
    pub clock_skew: HumanDuration,
    /// Accounts of node proxies that may act for others.
    #[serde(default)]
    pub trusted_node_accounts: Vec<NodeAccount>,
    /// Verified tokens that are kept; 0 keeps none.
    #[serde(default = "default_cache_entries")]
    pub cache_entries: usize,
}

/// How callers of an authenticator are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerKind {
    /// The front hands the token over, and it is verified with pinned keys.
    #[default]
    Jwt,
    /// The certificate is looked up in the ledger, or its chain verified. That the caller holds its
    /// key only the front has seen.
    ClientCertificate,
    /// Callers with tokens are believed as the front names them.
    Unverified,
}

impl VerifyCallerConfig {
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Some(file) = &mut self.jwks_file {
            resolve(base, file);
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let key = |rest: &str| format!("gate.verify_caller.{}.{rest}", self.authenticator);
        let missing = |name: &str, fix: &str| Err(ConfigError::new(key(name), "it is missing", fix));
        if self.kind == CallerKind::Jwt {
            if self.issuer.as_ref().is_none_or(String::is_empty) {
                return missing("issuer", "write the `iss` of the authenticator's tokens");
            }
            if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
                return missing("audiences", "write a list such as [\"istio-ca\"]");
            }
            if self.jwks_file.is_none() {
                return missing("jwks_file", "name a file with the issuer's JWK set");
            }
            if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
                return Err(ConfigError::new(
                    key("algorithms"),
                    "the list is empty",
                    "name at least one, or leave the key out for all",
                ));
            }
            if self.clock_skew.get() > MAX_CLOCK_SKEW.get() {
                return Err(ConfigError::new(key("clock_skew"), "it is above 10m", "lower it"));
            }
            return Ok(());
        }
        let foreign = [
            ("issuer", self.issuer.is_some()),
            ("audiences", !self.audiences.is_empty()),
            ("jwks_file", self.jwks_file.is_some()),
            ("algorithms", self.algorithms.is_some()),
            ("trusted_node_accounts", !self.trusted_node_accounts.is_empty()),
        ];
        match foreign.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(ConfigError::new(
                key(name),
                "it means something for kind \"jwt\" only",
                "remove it",
            )),
            None => Ok(()),
        }
    }
}

/// Judges all of them, against each other and the issuers.
pub(super) fn validate(all: &[VerifyCallerConfig], issuers: &[IssuerConfig]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for entry in all {
        entry.validate()?;
        if !seen.insert((&entry.authenticator, &entry.cluster)) {
            return Err(ConfigError::new(
                format!("gate.verify_caller.{}", entry.authenticator),
                "it is there twice",
                "keep one for each authenticator, or for each of its clusters",
            ));
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let known = |name: &String| all.iter().any(|entry| entry.authenticator == *name);
    for issuer in issuers {
        if let Some(name) = issuer.authenticators.iter().find(|name| !known(name)) {
            return Err(ConfigError::new(
                format!("issuers.{}.authenticators", issuer.name),
                format!(
                    "the gate would refuse every caller of {name:?}, which no [[gate.verify_caller]] names"
                ),
                "add one for it, with kind = \"unverified\" if the front shall be believed",
            ));
        }
    }
    Ok(())
}

const fn default_clock_skew() -> HumanDuration {
    HumanDuration::from_secs(60)
}

const fn default_cache_entries() -> usize {
    10_000
}
