//! Values of serde as data items of deterministic CBOR, and back: texts, whole numbers, truth values, lists, maps.
//!
//! A `null` is left out of its map, as an absent field is; nothing else that CBOR of statements has not can stand in
//! the types that come here, and what does all the same is an error.

use sealwright_statement::SchemaError;
use sealwright_statement::cbor::{self, Key};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The data item of a value; an empty map stands for what has none, and is no value of any type here.
pub(crate) fn item(value: &impl Serialize) -> cbor::Value {
    serde_json::to_value(value)
        .ok()
        .and_then(of_json)
        .unwrap_or_else(|| cbor::Value::map([]))
}

/// The value of a data item.
pub(crate) fn value<T: DeserializeOwned>(what: &'static str, item: cbor::Value) -> Result<T, SchemaError> {
    let json = to_json(item).ok_or_else(|| SchemaError::value(what, "byte strings are not used in it"))?;
    serde_json::from_value(json).map_err(|error| SchemaError::value(what, error.to_string()))
}

fn of_json(json: Value) -> Option<cbor::Value> {
    Some(match json {
        Value::Null => return None,
        Value::Bool(flag) => cbor::Value::Bool(flag),
        Value::Number(number) => cbor::Value::Uint(number.as_u64()?),
        Value::String(text) => cbor::Value::Text(text),
        Value::Array(items) => cbor::Value::Array(items.into_iter().map(of_json).collect::<Option<_>>()?),
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, member)| !member.is_null());
            let members = present.map(|(key, member)| Some((Key(key), of_json(member)?)));
            cbor::Value::Map(members.collect::<Option<_>>()?)
        }
    })
}

fn to_json(item: cbor::Value) -> Option<Value> {
    Some(match item {
        cbor::Value::Bytes(_) => return None,
        cbor::Value::Bool(flag) => Value::Bool(flag),
        cbor::Value::Uint(number) => number.into(),
        cbor::Value::Text(text) => Value::String(text),
        cbor::Value::Array(items) => Value::Array(items.into_iter().map(to_json).collect::<Option<_>>()?),
        cbor::Value::Map(members) => {
            let members = members
                .into_iter()
                .map(|(Key(key), member)| Some((key, to_json(member)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

/// Makes a type of serde a statement. `check` of the type says what is wrong with a value.
macro_rules! statement {
    ($type:ty, $name:literal) => {
        impl sealwright_statement::Statement for $type {
            const TYPE: &'static str = $name;

            fn to_value(&self) -> sealwright_statement::cbor::Value {
                crate::canonical::item(self)
            }

            fn from_value(
                value: sealwright_statement::cbor::Value,
            ) -> Result<Self, sealwright_statement::SchemaError> {
                crate::canonical::value($name, value)
            }

            fn check(&self) -> Result<(), sealwright_statement::SchemaError> {
                self.problem().map_or(Ok(()), |(key, problem)| {
                    Err(sealwright_statement::SchemaError::value(key, problem))
                })
            }
        }
    };
}

pub(crate) use statement;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back(
            map in prop::collection::btree_map("[a-z]{0,6}", prop::collection::vec((any::<u64>(), ".{0,8}", any::<bool>()), 0..4), 0..5),
        ) {
            let json = serde_json::to_value(&map).unwrap();
            let item = of_json(json.clone()).unwrap();
            let bytes = cbor::encode(&item);
            prop_assert_eq!(to_json(cbor::decode(&bytes).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_statements_have_not_has_no_item() {
        assert!(of_json(serde_json::json!(-1)).is_none());
        assert!(of_json(serde_json::json!([1.5])).is_none());
        assert_eq!(
            of_json(serde_json::json!({"a": null})),
            Some(cbor::Value::map([]))
        );
        assert!(value::<String>("x", cbor::Value::bytes(b"x")).is_err());
    }
}
