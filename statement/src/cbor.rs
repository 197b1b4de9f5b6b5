//! Deterministic CBOR (RFC 8949, section 4.2.1), as much of it as statements need.
//!
//! Unsigned integers, byte and text strings, booleans, arrays, and maps with text keys. No floats, no tags, no
//! negative integers, no null, nothing of indefinite length. The decoder takes only what the encoder makes:
//! shortest forms, keys unique and in the order of their encodings. So each value has one encoding, and a
//! digest of the bytes names the value. Bounded in size and depth; memory is never taken on the word of a length.

mod decode;

use std::cmp::Ordering;
use std::collections::BTreeMap;

pub use decode::decode;

/// The largest statement, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// How deep arrays and maps may be nested.
pub const MAX_DEPTH: usize = 8;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;

/// A data item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An unsigned integer.
    Uint(u64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A text string.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// An array.
    Array(Vec<Self>),
    /// A map.
    Map(BTreeMap<Key, Self>),
}

/// A map's key. In the order of the encodings: the shorter one first, then byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(pub String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.as_bytes().cmp(other.0.as_bytes()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Value {
    /// A map of the fields that are there.
    #[must_use]
    pub fn map<const N: usize>(fields: [(&str, Option<Self>); N]) -> Self {
        let present = fields
            .into_iter()
            .filter_map(|(key, value)| Some((Key(key.to_owned()), value?)));
        Self::Map(present.collect())
    }

    /// A text string.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A byte string.
    #[must_use]
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }

    /// What kind of item it is, for errors.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Uint(_) => "an integer",
            Self::Bytes(_) => "a byte string",
            Self::Text(_) => "a text",
            Self::Bool(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }
}

/// The one encoding of a value.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Uint(number) => head(UINT, *number, out),
        Value::Bytes(bytes) => string(BYTES, bytes, out),
        Value::Text(text) => string(TEXT, text.as_bytes(), out),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Array(items) => {
            head(ARRAY, length(items.len()), out);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Map(members) => {
            head(MAP, length(members.len()), out);
            for (key, member) in members {
                string(TEXT, key.0.as_bytes(), out);
                put(member, out);
            }
        }
    }
}

fn string(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(major, length(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// The initial byte and the argument, in the shortest form.
fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if let Ok(byte) = u8::try_from(argument) {
        if byte < 24 {
            out.push(major | byte);
        } else {
            out.extend_from_slice(&[major | 24, byte]);
        }
    } else if let Ok(short) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&word.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Why bytes are not deterministic CBOR of the kind that is used here. Places are offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Longer than [`MAX_BYTES`].
    #[error("a statement has at most {MAX_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("arrays and maps are nested deeper than {MAX_DEPTH} at byte {0}")]
    TooDeep(usize),
    /// The bytes end inside an item.
    #[error("the encoding ends inside the item at byte {0}")]
    Truncated(usize),
    /// Something follows the item.
    #[error("something follows the encoding at byte {0}")]
    Trailing(usize),
    /// An argument that could be written shorter.
    #[error("the item at byte {0} is not in its shortest form")]
    NotShortest(usize),
    /// An item of indefinite length.
    #[error("the item at byte {0} has no definite length")]
    Indefinite(usize),
    /// An item that statements do not have.
    #[error("statements have no {what} (byte {at})")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A key that is no text.
    #[error("the key at byte {0} is not a text")]
    KeyNotText(usize),
    /// A key that is there twice, or before one that sorts after it.
    #[error("the key {key:?} at byte {at} is out of order or there twice")]
    KeyOrder {
        /// The key.
        key: String,
        /// Where.
        at: usize,
    },
    /// A text string that is not UTF-8.
    #[error("the text at byte {0} is not UTF-8")]
    Utf8(usize),
}

#[cfg(test)]
mod tests;
