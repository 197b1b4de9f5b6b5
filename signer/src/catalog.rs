//! The issuers and their compiled policies: one snapshot, replaced whole or not at all.
//!
//! A request takes the snapshot once, when it is authorized, and its grant carries the issuer from
//! there. So a reload in the middle of a request can mix neither two issuers nor two policy sets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use sealwright_gate::config::{IssuerConfig, PolicyConfig};
use sealwright_gate::issuers::{Issuer, Issuers, IssuersError, PolicyIdentity, PolicyModule};
use sealwright_identity::{Timestamp, TrustBundle, TrustDomain};
use sealwright_policy_wasm::{Engine, Limits, LoadError, Policy, PolicySource};
use sealwright_x509::pem;

use crate::metrics::IssuerExpiry;

mod expiry;

/// What a catalog is made of.
#[derive(Clone, Debug)]
pub struct CatalogConfig {
    /// The trust domain of every certificate.
    pub trust_domain: TrustDomain,
    /// The issuer of a request that names none.
    pub default_issuer: String,
    /// The issuers.
    pub issuers: Vec<IssuerConfig>,
    /// The policies.
    pub policies: Vec<PolicyConfig>,
}

/// Why a catalog could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Chains, roots or policy files.
    #[error("the issuers cannot be loaded")]
    Issuers(#[from] IssuersError),
    /// A component that is no policy, or settings that it refuses.
    #[error(
        "policies.{policy}: {} cannot be used with these settings; name a component of the world sealwright:policy, or mend [policies.settings]",
        .file.display()
    )]
    Policy {
        /// The policy's name.
        policy: String,
        /// The component's file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: LoadError,
    },
}

/// Issuers and policies as they were at one time.
#[derive(Clone, Debug)]
pub struct Catalog {
    issuers: Issuers,
    policies: BTreeMap<Arc<str>, Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    identity: PolicyIdentity,
    fuel: u64,
    policy: Arc<Policy>,
}

impl Catalog {
    /// Reads and verifies everything. Compiles what `before` does not hold already.
    ///
    /// Takes seconds when there is much to compile: not for an async worker.
    ///
    /// # Errors
    /// On the first file that does not serve.
    pub fn load(
        config: &CatalogConfig,
        engine: &Engine,
        now: Timestamp,
        before: Option<&Self>,
    ) -> Result<Self, CatalogError> {
        let issuers = Issuers::load_parts(
            &config.trust_domain,
            &config.default_issuer,
            &config.issuers,
            &config.policies,
            now,
        )?;
        let policies = issuers
            .policies()
            .iter()
            .map(|module| {
                let compiled = match before.and_then(|catalog| catalog.compiled(module)) {
                    Some(compiled) => compiled.clone(),
                    None => compile(engine, module)?,
                };
                Ok((Arc::clone(&module.identity.name), compiled))
            })
            .collect::<Result<_, CatalogError>>()?;
        Ok(Self { issuers, policies })
    }

    /// The issuer of that name; the default one for the empty name.
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers.get(name)
    }

    /// Every issuer.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter()
    }

    /// The policies that must all allow what `issuer` signs, in order.
    pub fn policies_of(&self, issuer: &Issuer) -> Vec<Arc<Policy>> {
        issuer
            .policies
            .iter()
            .filter_map(|identity| self.policies.get(&identity.name))
            .map(|compiled| Arc::clone(&compiled.policy))
            .collect()
    }

    /// Every root of every issuer, each once.
    pub fn roots(&self) -> Vec<Vec<u8>> {
        let mut roots: Vec<Vec<u8>> = Vec::new();
        for root in self.issuers().flat_map(|issuer| issuer.chain.roots_der()) {
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        roots
    }

    /// The same roots, for the authenticators and the TLS server.
    pub fn trust_bundle(&self, generation: u64) -> TrustBundle {
        TrustBundle::from_ders(generation, self.roots())
    }

    /// The same roots, as text.
    pub fn bundle_pem(&self) -> String {
        let roots = self.roots();
        roots
            .iter()
            .map(|root| pem::encode(pem::CERTIFICATE, root))
            .collect()
    }

    /// When chains and roots end.
    pub fn expiries(&self) -> Vec<IssuerExpiry> {
        self.issuers()
            .map(|issuer| IssuerExpiry {
                issuer: issuer.name.to_string(),
                chain: issuer.chain.not_after(),
                root: expiry::earliest(issuer.chain.roots_der()).unwrap_or_else(|| issuer.chain.not_after()),
            })
            .collect()
    }

    fn compiled(&self, module: &PolicyModule) -> Option<&Compiled> {
        self.policies
            .get(&module.identity.name)
            .filter(|compiled| compiled.identity == module.identity && compiled.fuel == module.fuel)
    }
}

fn compile(engine: &Engine, module: &PolicyModule) -> Result<Compiled, CatalogError> {
    let source = PolicySource {
        name: module.identity.name.to_string(),
        component: module.component.to_vec(),
        settings: module.settings.clone(),
        limits: Limits {
            fuel: module.fuel,
            ..Limits::default()
        },
    };
    let policy = Policy::load(engine, source).map_err(|source| CatalogError::Policy {
        policy: module.identity.name.to_string(),
        file: module.path.clone(),
        source,
    })?;
    Ok(Compiled {
        identity: module.identity.clone(),
        fuel: module.fuel,
        policy: Arc::new(policy),
    })
}

/// The catalog in force.
#[derive(Clone, Debug)]
pub struct SharedCatalog(Arc<RwLock<Arc<Catalog>>>);

impl SharedCatalog {
    /// Puts the first catalog in force.
    pub fn new(catalog: Catalog) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(catalog))))
    }

    /// The catalog in force now.
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.0.read())
    }

    /// Puts another one in force, for requests that are authorized from now on.
    pub fn replace(&self, catalog: Catalog) {
        *self.0.write() = Arc::new(catalog);
    }
}
