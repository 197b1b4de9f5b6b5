//! The configuration file as a whole: each section belongs to the crate that uses it.

use std::path::{Path, PathBuf};

use sealwright_gate::config::{
    CeremoniesConfig, GateConfig, GateFile, IssuerConfig, PolicyConfig, PolicySetsConfig,
};
use sealwright_identity::TrustDomain;
use sealwright_runtime::{config, http::HttpConfig, telemetry::LogConfig};
use sealwright_signer::{
    authn::config::AuthenticatorConfig,
    config::{PolicyHostConfig, ServerConfig},
    policies::PolicyRoleConfig,
};
use serde::Deserialize;

use crate::failure::{Class, Failure, OrFail};

/// Variables `SEALWRIGHT__SECTION__KEY` go over the file.
pub(crate) const ENV_PREFIX: &str = "SEALWRIGHT";

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) trust_domain: TrustDomain,
    #[serde(default)]
    pub(crate) trust_domain_aliases: Vec<TrustDomain>,
    pub(crate) default_issuer: String,
    #[serde(default)]
    pub(crate) server: ServerConfig,
    #[serde(default)]
    pub(crate) http: HttpConfig,
    #[serde(default)]
    pub(crate) log: LogConfig,
    #[serde(default)]
    pub(crate) authenticators: Vec<AuthenticatorConfig>,
    pub(crate) issuers: Vec<IssuerConfig>,
    #[serde(default)]
    pub(crate) policies: Vec<PolicyConfig>,
    #[serde(default)]
    pub(crate) policy_sets: PolicySetsConfig,
    #[serde(default)]
    pub(crate) ceremonies: CeremoniesConfig,
    #[serde(default)]
    pub(crate) policy_host: PolicyHostConfig,
    #[serde(default)]
    pub(crate) policy_roles: Vec<PolicyRoleConfig>,
    pub(crate) gate: GateConfig,
}

/// A file that was read, resolved and judged.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Absolute.
    pub(crate) file: PathBuf,
    /// The folder that relative paths start at.
    pub(crate) base: PathBuf,
    pub(crate) settings: Settings,
}

/// Reads a file with the environment and flags over it.
pub(crate) fn load(file: &Path, flags: &[(&str, String)]) -> Result<Loaded, Failure> {
    let base = config::base_folder(file).or_fail(Class::Usage)?;
    let mut settings: Settings = config::load(file, ENV_PREFIX, flags).or_fail(Class::Usage)?;
    settings.resolve(&base);
    let absolute = std::path::absolute(file).or_fail(Class::Usage)?;
    settings
        .validate()
        .map_err(|error| Failure::new(Class::Usage, error.context(format!("{}", absolute.display()))))?;
    Ok(Loaded {
        file: absolute,
        base,
        settings,
    })
}

impl Settings {
    fn resolve(&mut self, base: &Path) {
        let mut gate = self.gate_file();
        gate.resolve(base);
        self.issuers = gate.issuers;
        self.policies = gate.policies;
        self.policy_sets = gate.policy_sets;
        self.gate = gate.gate;
        config::resolve(base, &mut self.server.state);
        for authenticator in &mut self.authenticators {
            for path in authenticator.paths_mut() {
                config::resolve(base, path);
            }
        }
    }

    fn validate(&self) -> Result<(), anyhow::Error> {
        self.gate_file().validate()?;
        self.server.validate()?;
        self.policy_host.validate()?;
        sealwright_signer::policies::config::validate(&self.policy_roles)?;
        for issuer in &self.issuers {
            for name in &issuer.authenticators {
                if !self.authenticators.iter().any(|known| known.name == *name) {
                    anyhow::bail!(
                        "issuers.{}.authenticators: no authenticator is called {name:?}; add an \
                         [[authenticators]] section of that name, or correct the name",
                        issuer.name
                    );
                }
            }
        }
        Ok(())
    }

    /// The gate's part.
    pub(crate) fn gate_file(&self) -> GateFile {
        GateFile {
            trust_domain: self.trust_domain.clone(),
            trust_domain_aliases: self.trust_domain_aliases.clone(),
            default_issuer: self.default_issuer.clone(),
            issuers: self.issuers.clone(),
            policies: self.policies.clone(),
            policy_sets: self.policy_sets.clone(),
            ceremonies: self.ceremonies.clone(),
            gate: self.gate.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_sample_is_a_configuration() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/sealwright.toml");
        let loaded = load(&file, &[]).unwrap();
        assert_eq!(loaded.settings.issuers.len(), 1);
        assert!(loaded.settings.gate.home.is_absolute());
    }
}
