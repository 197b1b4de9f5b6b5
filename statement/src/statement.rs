//! The form that all statements share.

use std::fmt;
use std::ops::Deref;

use sealwright_identity::Digest;
use serde::Serialize;

use crate::cbor::{self, CborError, MAX_BYTES, Value};
use crate::schema::SchemaError;

/// A type of statement.
///
/// Implementors have public fields and may be put together freely; only [`Sealed::new`] and [`Sealed::decode`]
/// make one that counts, and both run [`Self::check`].
pub trait Statement: Sized {
    /// The type's name, in signatures and files: `policy-set`. Letters, digits and dashes.
    const TYPE: &'static str;

    /// The value as a data item. Fields that are not there are left out.
    fn to_value(&self) -> Value;

    /// Reads a data item; keys that it does not know are refused.
    ///
    /// # Errors
    /// When the item has another form.
    fn from_value(value: Value) -> Result<Self, SchemaError>;

    /// Whether the value makes sense by itself.
    ///
    /// # Errors
    /// Says what does not.
    fn check(&self) -> Result<(), SchemaError>;
}

/// A statement that was checked, with its encoding and its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed<T> {
    statement: T,
    bytes: Vec<u8>,
    digest: Digest,
}

impl<T: Statement> Sealed<T> {
    /// Checks and encodes a statement.
    ///
    /// # Errors
    /// When it makes no sense, or is too large.
    pub fn new(statement: T) -> Result<Self, StatementError> {
        statement.check().map_err(|source| StatementError::Schema {
            kind: T::TYPE,
            source,
        })?;
        let bytes = cbor::encode(&statement.to_value());
        if bytes.len() > MAX_BYTES {
            return Err(StatementError::Encoding {
                kind: T::TYPE,
                source: CborError::TooLarge(bytes.len()),
            });
        }
        let digest = preimage_of(T::TYPE, &bytes).digest();
        Ok(Self {
            statement,
            bytes,
            digest,
        })
    }

    /// Decodes and checks a statement.
    ///
    /// # Errors
    /// When the bytes are not its one encoding, or it makes no sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let schema = |source| StatementError::Schema {
            kind: T::TYPE,
            source,
        };
        let value = cbor::decode(bytes).map_err(|source| StatementError::Encoding {
            kind: T::TYPE,
            source,
        })?;
        let sealed = Self::new(T::from_value(value).map_err(schema)?)?;
        if sealed.bytes != bytes {
            return Err(schema(SchemaError::NotCanonical));
        }
        Ok(sealed)
    }

    /// What a signature is over.
    #[must_use]
    pub fn preimage(&self) -> Preimage {
        preimage_of(T::TYPE, &self.bytes)
    }
}

impl<T> Sealed<T> {
    /// The encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the statement: SHA-256 of what a signature is over.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The statement, no longer sealed.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.statement
    }
}

impl<T> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.statement
    }
}

impl<T: fmt::Debug> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("digest", &self.digest)
            .field("statement", &self.statement)
            .finish_non_exhaustive()
    }
}

/// For people: the digest, then the statement's own fields.
impl<T: Serialize + Statement> Serialize for Sealed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a, T> {
            r#type: &'static str,
            digest: Digest,
            #[serde(flatten)]
            statement: &'a T,
        }
        let view = View {
            r#type: T::TYPE,
            digest: self.digest,
            statement: &self.statement,
        };
        view.serialize(serializer)
    }
}

/// The bytes that a signature over a statement is over: `sealwright/TYPE/v1`, a zero byte, the encoding.
///
/// Only a [`Sealed`] statement has one, so a [`crate::Signer`] signs nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preimage(Vec<u8>);

impl Preimage {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Their SHA-256, the statement's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

pub(crate) fn preimage_of(kind: &str, bytes: &[u8]) -> Preimage {
    Preimage([b"sealwright/", kind.as_bytes(), b"/v1\0", bytes].concat())
}

/// Why there is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not the encoding that statements have.
    #[error("a {kind} cannot be read")]
    Encoding {
        /// The type that was wanted.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: CborError,
    },
    /// Another form than the type's, or a value that makes no sense.
    #[error("a {kind} is not valid")]
    Schema {
        /// The type that was wanted.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: SchemaError,
    },
}
