//! `[[policies]]`: a WebAssembly component with its settings.

use std::path::PathBuf;

use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConfigError;

/// Integers beyond this are not the same number in every reader of JSON (RFC 8785, 3.2.2.3).
const MAX_INTEGER: u64 = 1 << 53;

/// One policy: the code, what it is told at load, and how much it may compute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The name that issuers and records use.
    pub name: String,
    /// The component's file.
    pub module: PathBuf,
    /// SHA-256 of that file; a file of another digest is refused.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Fuel of one decision.
    #[serde(default = "default_fuel")]
    pub fuel: u64,
    /// Handed to the module as JSON; the module judges it.
    #[serde(default = "no_settings")]
    pub settings: Value,
}

impl PolicyConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let key = format!("policies.{}", self.name);
        if self.fuel == 0 {
            return Err(ConfigError::new(
                format!("{key}.fuel"),
                "with none no decision comes to an end",
                "leave it out, or write some millions",
            ));
        }
        if !self.settings.is_object() {
            return Err(ConfigError::new(
                format!("{key}.settings"),
                "it is not a table",
                "write a [policies.settings] section",
            ));
        }
        canonical_form_exists(&format!("{key}.settings"), &self.settings)
    }
}

fn canonical_form_exists(key: &str, value: &Value) -> Result<(), ConfigError> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            match magnitude {
                Some(magnitude) if magnitude <= MAX_INTEGER => Ok(()),
                Some(_) => Err(ConfigError::new(
                    key,
                    format!("{number} is beyond 2^53"),
                    "write it as a string",
                )),
                None => Err(ConfigError::new(
                    key,
                    format!("{number} is not a whole number"),
                    "write whole numbers, or a string",
                )),
            }
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| canonical_form_exists(&format!("{key}[{at}]"), item)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, member)| canonical_form_exists(&format!("{key}.{name}"), member)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

const fn default_fuel() -> u64 {
    10_000_000
}

fn no_settings() -> Value {
    Value::Object(serde_json::Map::new())
}
