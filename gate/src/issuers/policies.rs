//! A policy as evidence names it: by the digests of its code and of its settings.

use std::path::PathBuf;
use std::sync::Arc;

use sealwright_identity::Digest;
use serde_json::Value;

use super::{IssuersError, read};
use crate::config::PolicyConfig;

/// A component above this is refused unread.
const MAX_MODULE_BYTES: u64 = 64 << 20;

/// What a verdict must carry to count as this policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyIdentity {
    /// The configured name.
    pub name: Arc<str>,
    /// SHA-256 of the component's file.
    pub module: Digest,
    /// SHA-256 of the settings as RFC 8785 JSON.
    pub settings: Digest,
}

/// A policy's file and settings, read and identified; not yet compiled.
#[derive(Clone, Debug)]
pub struct PolicyModule {
    /// Name and digests.
    pub identity: PolicyIdentity,
    /// The component's file.
    pub path: PathBuf,
    /// The component's bytes.
    pub component: Arc<[u8]>,
    /// The settings as configured.
    pub settings: Value,
    /// The settings as RFC 8785 JSON, which the digest is of.
    pub settings_json: Vec<u8>,
    /// Fuel of one decision.
    pub fuel: u64,
}

impl PolicyModule {
    pub(super) fn load(config: &PolicyConfig) -> Result<Self, IssuersError> {
        let key = || format!("policies.{}.module", config.name);
        let component = read(&config.module, MAX_MODULE_BYTES, key)?;
        let module = Digest::of(&component);
        if let Some(expected) = config.digest.filter(|expected| *expected != module) {
            return Err(IssuersError::Digest {
                policy: config.name.clone(),
                path: config.module.clone(),
                expected,
                found: module,
            });
        }
        let settings_json =
            serde_json_canonicalizer::to_vec(&config.settings).map_err(|source| IssuersError::Settings {
                policy: config.name.clone(),
                source,
            })?;
        Ok(Self {
            identity: PolicyIdentity {
                name: config.name.as_str().into(),
                module,
                settings: Digest::of(&settings_json),
            },
            path: config.module.clone(),
            component: component.into(),
            settings: config.settings.clone(),
            settings_json,
            fuel: config.fuel,
        })
    }
}
