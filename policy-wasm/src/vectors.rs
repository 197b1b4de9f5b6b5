//! Vectors: a request and the verdict that a policy must give on it, in a file.
//!
//! A vector says only what it cares about; [`form`] fills in the rest. It runs in the production host
//! ([`VectorRunner`]). What it compares is what is *granted*, not how the policy said it: a policy that
//! leaves the lifetime alone grants the ceiling's.
//!
//! What it is not: a record. The ledger's inputs are whole; [`Vector::whole`] makes a vector of one.

mod form;
mod run;

use std::{fmt, path::Path};

use sealwright_identity::{Digest, SpiffeIdError, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::run::{VectorOutcome, VectorRunner};
pub(crate) use self::run::{compare, load_by_schema};
use crate::{InputError, PolicyInput, SettingsError, parse_settings, settings};

/// An ordinary request of a pod: what stands for all that a vector leaves out.
pub(crate) fn ordinary() -> Result<PolicyInput, VectorError> {
    form::InputForm::default()
        .complete()
        .map_err(VectorError::Ordinary)
}

/// The largest file of a vector, in bytes.
pub const MAX_VECTOR_BYTES: usize = 256 << 10;
/// The most vectors of one policy.
pub const MAX_VECTORS: usize = 1000;

/// A request and what must come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows, for people.
    pub description: Option<String>,
    /// Settings of its own, in the place of those that all vectors run with.
    pub settings: Option<Value>,
    /// The whole request.
    pub input: PolicyInput,
    /// What must come out.
    pub expect: Expect,
}

/// A verdict that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Expect {
    /// Allow; a part that is absent is not compared.
    Allow(Allowed),
    /// Deny.
    Deny(Denied),
}

/// What is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// The longest lifetime, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
    /// The names, in the ceiling's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// The usages, in the ceiling's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usages: Option<Vec<Usage>>,
}

/// How it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// The policy's code, or the host's (`POLICY_TRAP`).
    pub code: String,
    /// The offending part of the input; not compared when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// How a vector is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFormat {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
}

impl VectorFormat {
    /// The format that a file's ending names.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl Vector {
    /// Reads a vector. What the text leaves out is filled in.
    ///
    /// # Errors
    /// When the text is not of its format, or has a key or a value that no vector has.
    pub fn parse(name: &str, format: VectorFormat, text: &str) -> Result<Self, VectorError> {
        if text.len() > MAX_VECTOR_BYTES {
            return Err(VectorError::Size(text.len()));
        }
        let form: form::Form = match format {
            VectorFormat::Toml => toml::from_str(text).map_err(|error| VectorError::Toml(Box::new(error)))?,
            VectorFormat::Json => {
                // Finds keys that stand twice, also where any key may stand.
                parse_settings(text).map_err(VectorError::Json)?;
                serde_json::from_str(text).map_err(VectorError::JsonForm)?
            }
        };
        let input = form.input.complete().map_err(VectorError::Ordinary)?;
        input.check().map_err(VectorError::Input)?;
        if let Some(settings) = &form.settings {
            settings::canonical_settings(settings).map_err(VectorError::Settings)?;
        }
        Ok(Self {
            name: name.to_owned(),
            description: form.description,
            settings: form.settings,
            input,
            expect: form.expect,
        })
    }

    /// A vector that leaves nothing out, as JSON: [`Vector::parse`] gives the same input again.
    #[must_use]
    pub fn whole(description: &str, input: &PolicyInput, expect: &Expect) -> Value {
        let mut input = serde_json::to_value(input).unwrap_or_default();
        // An absent pod would be filled in.
        if let Some(pod) = input.pointer_mut("/caller/kubernetes")
            && pod.is_null()
        {
            *pod = Value::Bool(false);
        }
        serde_json::json!({ "description": description, "input": input, "expect": expect })
    }

    /// What the vector means, whatever it leaves out: the same for two that differ in spelling alone.
    #[must_use]
    pub fn digest(&self) -> Digest {
        #[derive(Serialize)]
        struct Meaning<'a> {
            expect: &'a Expect,
            input: &'a PolicyInput,
            settings: &'a Option<Value>,
        }
        let meaning = Meaning {
            expect: &self.expect,
            input: &self.input,
            settings: &self.settings,
        };
        Digest::of(settings::canonical(&meaning).as_bytes())
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(allowed) => {
                f.write_str("allow")?;
                if let Some(seconds) = allowed.lifetime_seconds {
                    write!(f, ", {seconds} s")?;
                }
                if let Some(names) = &allowed.names {
                    write!(f, ", names {}", names.join(" "))?;
                }
                if let Some(usages) = &allowed.usages {
                    let usages: Vec<_> = usages.iter().map(ToString::to_string).collect();
                    write!(f, ", usages {}", usages.join(" "))?;
                }
                Ok(())
            }
            Self::Deny(Denied { code, field: None }) => write!(f, "deny {code}"),
            Self::Deny(Denied {
                code,
                field: Some(field),
            }) => write!(f, "deny {code} at {field}"),
        }
    }
}

/// Why a text is no vector.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// A file that no honest vector needs.
    #[error("the vector has {0} bytes; at most {MAX_VECTOR_BYTES} are allowed")]
    Size(usize),
    /// Not TOML, or not of the form.
    #[error("the vector is not TOML of its form")]
    Toml(#[source] Box<toml::de::Error>),
    /// Not JSON.
    #[error("the vector is not JSON with unique keys and whole numbers")]
    Json(#[source] SettingsError),
    /// JSON of another form.
    #[error("the vector has not the form of one")]
    JsonForm(#[source] serde_json::Error),
    /// What stands for what is left out is no request: a fault of ours.
    #[error("the ordinary request is none")]
    Ordinary(#[source] SpiffeIdError),
    /// A number that no record can hold.
    #[error("the vector's input cannot be recorded")]
    Input(#[source] InputError),
    /// Its own settings have no canonical form.
    #[error("the vector's settings cannot be used")]
    Settings(#[source] SettingsError),
}

#[cfg(test)]
mod tests;
