//! A signature over a statement, with the key that made it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::Digest;
use sealwright_x509::verify::VerifyError;
use serde::ser::SerializeStruct;

use crate::key::PublicKey;
use crate::statement::Preimage;

/// The longest signature, in bytes: P-384's, in DER.
pub(crate) const MAX_BYTES: usize = 104;

/// A detached signature. That it names a key says nothing yet: it is worth something once it was
/// [verified](Self::verify) and the key is known to be somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key that is said to have made it.
    pub key: PublicKey,
    /// The signature: DER for ECDSA, 64 bytes for Ed25519.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Whether the signature is this key's over that statement.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, preimage: &Preimage) -> Result<(), SignatureError> {
        self.key
            .verify(preimage.as_bytes(), &self.bytes)
            .map_err(|source| SignatureError {
                key: self.key.id(),
                source,
            })
    }
}

/// For people.
impl serde::Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("Signature", 2)?;
        view.serialize_field("key", &self.key)?;
        view.serialize_field("signature", &STANDARD.encode(&self.bytes))?;
        view.end()
    }
}

/// A signature that is not its key's over the statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of the key {key} does not hold for this statement")]
pub struct SignatureError {
    /// The key's name.
    pub key: Digest,
    /// Why.
    #[source]
    pub source: VerifyError,
}
