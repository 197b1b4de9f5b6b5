//! Data items read as records: each key once, of the right kind, and no other.

use std::collections::BTreeMap;

use sealwright_identity::{Digest, Timestamp};

use crate::cbor::{Key, Value};

/// The members of a map that are not yet read.
#[derive(Debug)]
pub struct Fields {
    members: BTreeMap<Key, Value>,
}

impl Fields {
    /// The members of a map.
    ///
    /// # Errors
    /// When the item is something else; `what` names it.
    pub fn of(what: &'static str, value: Value) -> Result<Self, SchemaError> {
        match value {
            Value::Map(members) => Ok(Self { members }),
            other => Err(wrong(what, "a map", &other)),
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn uint(&mut self, key: &'static str) -> Result<u64, SchemaError> {
        self.required(key, Self::maybe_uint)
    }

    /// An unsigned integer, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn maybe_uint(&mut self, key: &'static str) -> Result<Option<u64>, SchemaError> {
        self.take(key, "an integer", |value| match value {
            Value::Uint(number) => Ok(number),
            other => Err(other),
        })
    }

    /// A text.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn text(&mut self, key: &'static str) -> Result<String, SchemaError> {
        let text = self.take(key, "a text", text)?;
        text.ok_or(SchemaError::Missing(key))
    }

    /// A byte string.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn bytes(&mut self, key: &'static str) -> Result<Vec<u8>, SchemaError> {
        let bytes = self.take(key, "a byte string", bytes)?;
        bytes.ok_or(SchemaError::Missing(key))
    }

    /// A digest: 32 bytes.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn digest(&mut self, key: &'static str) -> Result<Digest, SchemaError> {
        self.required(key, Self::maybe_digest)
    }

    /// A digest, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn maybe_digest(&mut self, key: &'static str) -> Result<Option<Digest>, SchemaError> {
        let bytes = self.take(key, "a byte string", bytes)?;
        bytes.map(|bytes| digest(key, &bytes)).transpose()
    }

    /// A time, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn time(&mut self, key: &'static str) -> Result<Timestamp, SchemaError> {
        let seconds = i64::try_from(self.uint(key)?).ok();
        seconds
            .filter(|seconds| *seconds <= MAX_SECONDS)
            .map(Timestamp::from_unix_seconds)
            .ok_or_else(|| SchemaError::value(key, "it is beyond the year 9999"))
    }

    /// The items of an array.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn array(&mut self, key: &'static str) -> Result<Vec<Value>, SchemaError> {
        let items = self.take(key, "an array", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        })?;
        items.ok_or(SchemaError::Missing(key))
    }

    /// An array of texts.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, SchemaError> {
        let items = self.array(key)?.into_iter();
        items
            .map(|item| text(item).map_err(|other| wrong(key, "a text", &other)))
            .collect()
    }

    /// An array of byte strings.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn byte_strings(&mut self, key: &'static str) -> Result<Vec<Vec<u8>>, SchemaError> {
        let items = self.array(key)?.into_iter();
        items
            .map(|item| bytes(item).map_err(|other| wrong(key, "a byte string", &other)))
            .collect()
    }

    /// An array of digests.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn digests(&mut self, key: &'static str) -> Result<Vec<Digest>, SchemaError> {
        let items = self.byte_strings(key)?;
        items.iter().map(|bytes| digest(key, bytes)).collect()
    }

    /// A map.
    ///
    /// # Errors
    /// When it is absent or something else.
    pub fn map(&mut self, key: &'static str) -> Result<Self, SchemaError> {
        self.required(key, Self::maybe_map)
    }

    /// A map, if it is there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn maybe_map(&mut self, key: &'static str) -> Result<Option<Self>, SchemaError> {
        let value = self.members.remove(&Key(key.to_owned()));
        value.map(|value| Self::of(key, value)).transpose()
    }

    /// All members were read.
    ///
    /// # Errors
    /// When one was not: nobody knows what it would mean.
    pub fn finish(self) -> Result<(), SchemaError> {
        match self.members.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(SchemaError::Unknown(key.0)),
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, SchemaError>,
    ) -> Result<T, SchemaError> {
        read(self, key)?.ok_or(SchemaError::Missing(key))
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Result<Option<T>, SchemaError> {
        let value = self.members.remove(&Key(key.to_owned()));
        let read = value.map(|value| read(value).map_err(|other| wrong(key, wanted, &other)));
        read.transpose()
    }
}

/// 9999-12-31T23:59:59Z
pub(crate) const MAX_SECONDS: i64 = 253_402_300_799;

/// A time as statements carry it. Before the epoch there is none.
pub(crate) fn seconds(at: Timestamp) -> Value {
    Value::Uint(u64::try_from(at.unix_seconds()).unwrap_or(0))
}

/// A whole second that statements can carry.
pub(crate) fn check_time(key: &'static str, at: Timestamp) -> Result<(), SchemaError> {
    if at != at.truncated_to_seconds() || !(0..=MAX_SECONDS).contains(&at.unix_seconds()) {
        return Err(SchemaError::value(
            key,
            "it is not a whole second from 1970 to 9999",
        ));
    }
    Ok(())
}

fn text(value: Value) -> Result<String, Value> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(other),
    }
}

fn bytes(value: Value) -> Result<Vec<u8>, Value> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(other),
    }
}

fn digest(key: &'static str, bytes: &[u8]) -> Result<Digest, SchemaError> {
    let array: [u8; 32] = bytes
        .try_into()
        .map_err(|_length| SchemaError::value(key, "a digest has 32 bytes"))?;
    Ok(Digest::from_bytes(array))
}

fn wrong(key: &'static str, wanted: &'static str, found: &Value) -> SchemaError {
    SchemaError::Kind {
        key,
        wanted,
        found: found.kind(),
    }
}

/// Why a data item is not the record that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A key that must be there is not.
    #[error("it has no {0:?}")]
    Missing(&'static str),
    /// A key that nobody knows.
    #[error("it has the unknown key {0:?}")]
    Unknown(String),
    /// A value of another kind.
    #[error("{key:?} is {found}, not {wanted}")]
    Kind {
        /// The key.
        key: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that makes no sense.
    #[error("{key:?}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The same value could be encoded otherwise.
    #[error("it is not in its one canonical form")]
    NotCanonical,
}

impl SchemaError {
    /// A value that makes no sense.
    pub fn value(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Value {
            key,
            problem: problem.into(),
        }
    }
}
