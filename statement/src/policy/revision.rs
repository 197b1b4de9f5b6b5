//! A policy at one point of its life: code, settings, scope, limits.

use sealwright_identity::Digest;
use serde::Serialize;

use super::name::Name;
use super::scope::Scope;
use super::settings::check_canonical;
use crate::cbor::Value;
use crate::schema::{Fields, SchemaError};
use crate::statement::Statement;

/// The longest settings, in bytes.
pub const MAX_SETTINGS_BYTES: usize = 64 * 1024;

/// The longest name of a WIT world.
const MAX_WIT: usize = 128;

/// What one decision may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Fuel.
    pub fuel: u64,
    /// Linear memory, in bytes; 0 stands for the host's own limit.
    pub memory: u64,
}

/// A policy revision. Its digest is its id; whoever signs it *pushed* it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// The policy's name. Revisions of one name replace each other.
    pub policy: Name,
    /// SHA-256 of the component.
    pub module: Digest,
    /// SHA-256 of the sorted source archive that the component is built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Digest>,
    /// Canonical JSON (RFC 8785), as [`super::canonical_settings`] makes it.
    pub settings: String,
    /// For whom it speaks.
    pub scope: Scope,
    /// The world that the component is of, with its version.
    pub wit: String,
    /// What one decision may use.
    pub limits: Limits,
}

impl Revision {
    /// SHA-256 of the settings, as evidence names them.
    #[must_use]
    pub fn settings_digest(&self) -> Digest {
        Digest::of(self.settings.as_bytes())
    }
}

impl Statement for Revision {
    const TYPE: &'static str = "policy-revision";

    fn to_value(&self) -> Value {
        let limits = Value::map([
            ("fuel", Some(Value::Uint(self.limits.fuel))),
            ("memory", Some(Value::Uint(self.limits.memory))),
        ]);
        Value::map([
            ("policy", Some(Value::text(self.policy.as_str()))),
            ("module", Some(Value::bytes(self.module.as_bytes()))),
            (
                "source",
                self.source.map(|source| Value::bytes(source.as_bytes())),
            ),
            ("settings", Some(Value::text(&self.settings))),
            ("scope", Some(self.scope.to_value())),
            ("wit", Some(Value::text(&self.wit))),
            ("limits", Some(limits)),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut fields = Fields::of("policy-revision", value)?;
        let mut limits = fields.map("limits")?;
        let revision = Self {
            policy: name("policy", &fields.text("policy")?)?,
            module: fields.digest("module")?,
            source: fields.maybe_digest("source")?,
            settings: fields.text("settings")?,
            scope: Scope::from_fields(fields.map("scope")?)?,
            wit: fields.text("wit")?,
            limits: Limits {
                fuel: limits.uint("fuel")?,
                memory: limits.uint("memory")?,
            },
        };
        limits.finish()?;
        fields.finish()?;
        Ok(revision)
    }

    fn check(&self) -> Result<(), SchemaError> {
        self.scope.check()?;
        if self.settings.len() > MAX_SETTINGS_BYTES {
            let problem = format!("it has more than {MAX_SETTINGS_BYTES} bytes");
            return Err(SchemaError::value("settings", problem));
        }
        check_canonical(&self.settings).map_err(|problem| SchemaError::value("settings", problem))?;
        if self.limits.fuel == 0 {
            return Err(SchemaError::value(
                "fuel",
                "with none no decision comes to an end",
            ));
        }
        if self.wit.is_empty() || self.wit.len() > MAX_WIT || !self.wit.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(SchemaError::value("wit", "it is not the name of a world"));
        }
        Ok(())
    }
}

pub(super) fn name(key: &'static str, text: &str) -> Result<Name, SchemaError> {
    text.parse()
        .map_err(|error: super::NameError| SchemaError::value(key, error.to_string()))
}
