//! A revision taken away for ever.

use sealwright_identity::Digest;
use serde::Serialize;

use crate::cbor::Value;
use crate::schema::{Fields, SchemaError};
use crate::statement::Statement;

/// The longest reason, in bytes.
const MAX_REASON: usize = 1024;

/// From when it takes effect, nothing is issued under a list that has the revision, and no set may name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// The deployment.
    pub deployment: Digest,
    /// The revision.
    pub revision: Digest,
    /// Why, for whoever reads the ledger.
    pub reason: String,
    /// The number of the set that is in force when it takes effect: it can be used once only.
    pub number: u64,
}

impl Statement for Revocation {
    const TYPE: &'static str = "policy-revocation";

    fn to_value(&self) -> Value {
        Value::map([
            ("deployment", Some(Value::bytes(self.deployment.as_bytes()))),
            ("revision", Some(Value::bytes(self.revision.as_bytes()))),
            ("reason", Some(Value::text(&self.reason))),
            ("number", Some(Value::Uint(self.number))),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut fields = Fields::of("policy-revocation", value)?;
        let revocation = Self {
            deployment: fields.digest("deployment")?,
            revision: fields.digest("revision")?,
            reason: fields.text("reason")?,
            number: fields.uint("number")?,
        };
        fields.finish()?;
        Ok(revocation)
    }

    fn check(&self) -> Result<(), SchemaError> {
        if self.reason.len() > MAX_REASON || self.reason.chars().any(char::is_control) {
            let problem = format!("it has control characters or more than {MAX_REASON} bytes");
            return Err(SchemaError::value("reason", problem));
        }
        if self.number == 0 {
            return Err(SchemaError::value("number", "sets are numbered from 1"));
        }
        Ok(())
    }
}
