//! Settings: JSON in its one canonical form (RFC 8785).
//!
//! No fractions and no integers beyond 2^53: they are not the same number in every reader.

use serde_json::Value;

const MAX_INTEGER: u64 = 1 << 53;

/// The canonical text of settings, which must be an object.
///
/// # Errors
/// When they are none, or have a number that not every reader reads alike; says where.
pub fn canonical_settings(settings: &Value) -> Result<String, String> {
    if !settings.is_object() {
        return Err("settings are a JSON object".to_owned());
    }
    check("settings", settings)?;
    serde_json_canonicalizer::to_string(settings).map_err(|error| error.to_string())
}

/// Whether a text is the canonical one of what it says.
pub(super) fn check_canonical(text: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if canonical_settings(&value)? != text {
        return Err("it is not canonical JSON (RFC 8785)".to_owned());
    }
    Ok(())
}

fn check(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            match magnitude {
                Some(magnitude) if magnitude <= MAX_INTEGER => Ok(()),
                Some(_) => Err(format!("{key}: {number} is beyond 2^53; write it as a string")),
                None => Err(format!(
                    "{key}: {number} is not a whole number; write it as a string"
                )),
            }
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| check(&format!("{key}[{at}]"), item)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, member)| check(&format!("{key}.{name}"), member)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}
