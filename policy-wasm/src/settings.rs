//! Settings of a policy: JSON values that have one spelling only.
//!
//! RFC 8785 (JSON Canonicalization Scheme) over the part of JSON that every
//! reader understands in the same way: no floats, no integers beyond 2^53, no
//! duplicate keys. A settings digest therefore means the same settings
//! everywhere.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// The largest magnitude of an integer: beyond it, a reader that keeps numbers
/// as doubles cannot tell two of them apart.
const MAX_INTEGER: u64 = 1 << 53;
/// Nesting that no honest settings have.
const MAX_DEPTH: usize = 64;

/// The canonical text of some settings.
///
/// # Errors
/// When the value is no object, a number is a float or beyond 2^53, or the
/// nesting is too deep.
pub fn canonical_settings(value: &Value) -> Result<String, SettingsError> {
    if !value.is_object() {
        return Err(SettingsError::NotAnObject);
    }
    check(value, &mut Vec::new())?;
    Ok(canonical(value))
}

/// Reads settings from JSON text.
///
/// # Errors
/// When the text is not JSON, repeats a key, or [`canonical_settings`] would
/// refuse the value.
pub fn parse_settings(text: &str) -> Result<Value, SettingsError> {
    let Strict(value) = serde_json::from_str(text).map_err(SettingsError::Syntax)?;
    canonical_settings(&value)?;
    Ok(value)
}

/// RFC 8785 JSON of something that is known to have string keys and integers
/// inside the limits.
pub(crate) fn canonical<T: Serialize>(value: &T) -> String {
    // It fails only for keys that are no strings and for floats that are no
    // numbers; the callers' types have neither.
    serde_json_canonicalizer::to_string(value).unwrap_or_default()
}

pub(crate) fn fits(value: i128) -> bool {
    value.unsigned_abs() <= u128::from(MAX_INTEGER)
}

fn check(value: &Value, path: &mut Vec<String>) -> Result<(), SettingsError> {
    if path.len() > MAX_DEPTH {
        return Err(SettingsError::Depth);
    }
    match value {
        Value::Number(number) => check_number(number, path),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            path.push(format!("[{index}]"));
            check(item, path)?;
            path.pop();
            Ok(())
        }),
        Value::Object(members) => members.iter().try_for_each(|(key, item)| {
            path.push(format!(".{key}"));
            check(item, path)?;
            path.pop();
            Ok(())
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn check_number(number: &Number, path: &[String]) -> Result<(), SettingsError> {
    let shown = || path.concat().trim_start_matches('.').to_owned();
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    match integer {
        None => Err(SettingsError::Float(shown())),
        Some(value) if !fits(value) => Err(SettingsError::Integer(shown())),
        Some(_) => Ok(()),
    }
}

/// A JSON value whose objects have no key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("floats and integers beyond 64 bits are not allowed"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(item))) = members.next_entry::<String, Strict>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format!("the key {key:?} stands twice")));
            }
            object.insert(key, item);
        }
        Ok(Value::Object(object))
    }
}

/// Why some settings are not settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not JSON, or a key stands twice.
    #[error("the settings are not JSON with unique keys")]
    Syntax(#[source] serde_json::Error),
    /// Some other JSON value.
    #[error("the settings are not a JSON object")]
    NotAnObject,
    /// A number with a fraction or an exponent.
    #[error("{0:?} is not an integer; write it as a string or in a smaller unit")]
    Float(String),
    /// An integer that not every reader can hold.
    #[error("{0:?} is an integer beyond 2^53; write it as a string")]
    Integer(String),
    /// Nested too deeply.
    #[error("the settings are nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn has_one_spelling() {
        let value =
            parse_settings(r#"{ "b": [1, true, null], "a": {"é": "\u00e9/\n"}, "": -9007199254740992 }"#);
        assert_eq!(
            canonical_settings(&value.unwrap()).unwrap(),
            "{\"\":-9007199254740992,\"a\":{\"é\":\"é/\\n\"},\"b\":[1,true,null]}"
        );
    }

    #[test]
    fn orders_keys_by_utf_16_as_the_rfc_says() {
        // RFC 8785, section 3.2.3: U+FB33 sorts after the surrogates of U+1F600.
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "\r": 3, "1": 4});
        assert_eq!(
            canonical_settings(&value).unwrap(),
            "{\"\\r\":3,\"1\":4,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }

    #[test]
    fn refuses_what_readers_disagree_about() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":-9007199254740993}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":1} x"#,
            r#"["a"]"#,
            "null",
            "",
        ] {
            assert!(parse_settings(text).is_err(), "{text}");
        }
        let error = canonical_settings(&json!({"caps": [{"max": 1.5}]})).unwrap_err();
        assert!(error.to_string().starts_with("\"caps[0].max\""), "{error}");
    }

    #[test]
    fn refuses_deep_nesting() {
        let deep = (0..MAX_DEPTH + 2).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert!(matches!(canonical_settings(&deep), Err(SettingsError::Depth)));
    }

    proptest! {
        #[test]
        fn canonical_text_reads_back(keys in prop::collection::btree_map(".{0,8}", -(1_i64 << 53)..=(1_i64 << 53), 0..8)) {
            let value: Value = keys.into_iter().map(|(key, n)| (key, Value::from(n))).collect::<Map<_, _>>().into();
            let text = canonical_settings(&value).unwrap();
            prop_assert_eq!(&parse_settings(&text).unwrap(), &value);
            prop_assert_eq!(canonical_settings(&parse_settings(&text).unwrap()).unwrap(), text);
        }
    }
}
