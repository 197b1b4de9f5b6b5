//! Statement and signatures as a text file that can be mailed, printed or carried by hand.
//!
//! ```text
//! -----BEGIN SEALWRIGHT STATEMENT-----
//! Type: policy-set
//! Digest: sha256:…
//! Words: aardvark adroitness …
//!
//! base64 of the encoding, lines of 64
//! -----END SEALWRIGHT STATEMENT-----
//! -----BEGIN SEALWRIGHT SIGNATURE-----
//! Key: sha256:…
//! Public: base64 of the key's SubjectPublicKeyInfo
//!
//! base64 of the signature
//! -----END SEALWRIGHT SIGNATURE-----
//! ```
//!
//! A file has one spelling, but for the ends of its lines: what it says of digest, words and key is compared with
//! what it holds, and everything else in it is refused.

mod armour;
mod error;

use std::fmt;

use sealwright_identity::Digest;

pub use error::EnvelopeError;

use crate::signature::Signature;
use crate::signer::{Signer, SignerError};
use crate::statement::{Preimage, Sealed, Statement, preimage_of};

/// The largest file, in bytes.
pub const MAX_ARMOUR_BYTES: usize = 512 * 1024;

/// The most signatures of one statement.
pub const MAX_SIGNATURES: usize = 64;

/// A statement of any type with its signatures, of which nothing was verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    kind: String,
    bytes: Vec<u8>,
    signatures: Vec<Signature>,
}

impl Envelope {
    /// Reads an armoured file.
    ///
    /// # Errors
    /// When it is not one, byte for byte.
    pub fn parse(text: &str) -> Result<Self, EnvelopeError> {
        armour::parse(text)
    }

    /// The statement's type, as [`Statement::TYPE`].
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The statement's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.preimage().digest()
    }

    /// The statement's encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signatures, each by another key.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The statement as one of type `T`. Signatures are still to be judged.
    ///
    /// # Errors
    /// When it is of another type, or not a valid one.
    pub fn open<T: Statement>(self) -> Result<Signed<T>, EnvelopeError> {
        if self.kind != T::TYPE {
            return Err(EnvelopeError::Type {
                wanted: T::TYPE,
                found: self.kind,
            });
        }
        Ok(Signed {
            statement: Sealed::decode(&self.bytes).map_err(EnvelopeError::Statement)?,
            signatures: self.signatures,
        })
    }

    fn preimage(&self) -> Preimage {
        preimage_of(&self.kind, &self.bytes)
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        armour::write(self, f)
    }
}

/// A statement with signatures, of which none was judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// The statement.
    pub statement: Sealed<T>,
    /// Signatures that are said to be over it.
    pub signatures: Vec<Signature>,
}

impl<T: Statement> Signed<T> {
    /// A statement that nobody signed yet.
    #[must_use]
    pub const fn unsigned(statement: Sealed<T>) -> Self {
        Self {
            statement,
            signatures: Vec::new(),
        }
    }

    /// Adds a signature; one of the same key is replaced.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<(), SignerError> {
        let signature = signer.sign(&self.statement.preimage())?;
        self.add(signature);
        Ok(())
    }

    /// Adds a signature that was made elsewhere; one of the same key is replaced.
    pub fn add(&mut self, signature: Signature) {
        match self
            .signatures
            .iter_mut()
            .find(|other| other.key == signature.key)
        {
            Some(other) => *other = signature,
            None => self.signatures.push(signature),
        }
    }

    /// The same, to be written to a file.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            kind: T::TYPE.to_owned(),
            bytes: self.statement.bytes().to_vec(),
            signatures: self.signatures.clone(),
        }
    }
}

impl<T: Statement> fmt::Display for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.envelope().fmt(f)
    }
}

/// For people.
impl<T: serde::Serialize + Statement> serde::Serialize for Signed<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut view = serializer.serialize_struct("Signed", 2)?;
        view.serialize_field("statement", &self.statement)?;
        view.serialize_field("signatures", &self.signatures)?;
        view.end()
    }
}

#[cfg(test)]
mod tests;
