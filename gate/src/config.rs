//! The parts of the configuration file that front and gate both read: trust domain,
//! issuers with their ceilings, policies, and the gate itself.
//!
//! The structs here are the file's own shape: unknown keys are refused while reading, and
//! what has a type (durations, digests, DNS patterns, key types) is parsed into it at once.
//! [`GateFile::validate`] judges what one key cannot know of another; its errors name the
//! key and the fix. Nothing here opens a file: [`crate::issuers`] does.
//!
//! Settings of a policy must have one canonical form (RFC 8785), or their digest would
//! depend on who computed it: no floating-point number, no integer beyond 2^53.

mod ceremony;
mod confinement;
mod gate;
mod issuer;
mod policy;
mod policy_sets;
mod verify_caller;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sealwright_identity::TrustDomain;
use serde::{Deserialize, Serialize};

pub use self::ceremony::{CeremoniesConfig, CeremonyConfig};
pub use self::confinement::{Confine, ConfinementConfig};
pub use self::gate::{Boundary, GateConfig, PeerConfig, Role, ServingConfig, TokenSection, TokenSource};
pub use self::issuer::{CeilingConfig, IssuerConfig};
pub use self::policy::PolicyConfig;
pub use self::policy_sets::PolicySetsConfig;
pub use self::verify_caller::{CallerKind, VerifyCallerConfig};

/// What the gate reads of the configuration file. The command line composes it with the
/// front's sections; a file of these keys alone serves a gate that runs by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFile {
    /// The trust domain of every certificate.
    pub trust_domain: TrustDomain,
    /// Former names, accepted from callers and never granted.
    #[serde(default)]
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// The issuer of a request that names none.
    pub default_issuer: String,
    /// `[[issuers]]`
    pub issuers: Vec<IssuerConfig>,
    /// `[[policies]]`
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// `[policy_sets]`
    #[serde(default)]
    pub policy_sets: PolicySetsConfig,
    /// `[ceremonies]`
    #[serde(default)]
    pub ceremonies: CeremoniesConfig,
    /// `[gate]`
    pub gate: GateConfig,
}

/// A configuration that cannot be used: which key, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {fix}")]
pub struct ConfigError {
    /// The key, as in `issuers.default.ceiling.max_lifetime`.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
    /// What to write.
    pub fix: String,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

impl GateFile {
    /// Makes every relative path start at `base`, the folder of the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        for issuer in &mut self.issuers {
            resolve(base, &mut issuer.chain);
            resolve(base, &mut issuer.roots);
            if let Some(ceremony) = &mut issuer.ceremony {
                ceremony.resolve(base);
            }
        }
        for policy in &mut self.policies {
            resolve(base, &mut policy.module);
        }
        if let Some(roster) = &mut self.policy_sets.roster {
            resolve(base, roster);
        }
        self.gate.resolve(base);
    }

    /// Judges the keys against each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.issuers.is_empty() {
            return Err(ConfigError::new(
                "issuers",
                "there is none",
                "add an [[issuers]] section",
            ));
        }
        unique("issuers", self.issuers.iter().map(|issuer| &issuer.name))?;
        unique("policies", self.policies.iter().map(|policy| &policy.name))?;
        for policy in &self.policies {
            policy.validate()?;
        }
        let policies: BTreeSet<_> = self.policies.iter().map(|p| p.name.as_str()).collect();
        for issuer in &self.issuers {
            issuer.validate(&policies)?;
        }
        policy_sets::validate(&self.policy_sets, &self.issuers, &self.policies)?;
        self.issuer_exists("default_issuer", &self.default_issuer)?;
        self.gate.validate()?;
        verify_caller::validate(&self.gate.verify_caller, &self.issuers)?;
        if let Some(serving) = &self.gate.serving {
            self.issuer_exists("gate.serving.issuer", &serving.issuer)?;
        }
        Ok(())
    }

    /// Whether nobody relies on it, so that nobody need agree on what decides: every issuer is marked so.
    #[must_use]
    pub fn is_rehearsal(&self) -> bool {
        policy_sets::rehearsal(&self.issuers)
    }

    fn issuer_exists(&self, key: &str, name: &str) -> Result<(), ConfigError> {
        if self.issuers.iter().any(|issuer| issuer.name == name) {
            return Ok(());
        }
        let names: Vec<_> = self.issuers.iter().map(|i| i.name.as_str()).collect();
        Err(ConfigError::new(
            key,
            format!("no issuer is called {name:?}"),
            format!("name one of: {}", names.join(", ")),
        ))
    }
}

fn resolve(base: &Path, path: &mut PathBuf) {
    if path.is_relative() {
        *path = base.join(&*path);
    }
}

/// Names are used in keys, logs and metrics: short, plain, and each once.
fn unique<'a>(section: &str, names: impl Iterator<Item = &'a String>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(ConfigError::new(
                format!("{section}.name"),
                format!("{name:?} is not a name"),
                "use 1 to 64 of a-z A-Z 0-9 - _ .",
            ));
        }
        if !seen.insert(name) {
            return Err(ConfigError::new(
                format!("{section}.name"),
                format!("{name:?} is used twice"),
                "give each its own name",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
