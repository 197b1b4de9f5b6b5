//! Public keys of people.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::{Digest, KeyType};
use sealwright_x509::pem::{self, PemError};
use sealwright_x509::spki::{SpkiError, SpkiRef};
use sealwright_x509::verify::{Verifier, VerifyError};
use sealwright_x509::{SignatureAlgorithm, verify_signature};
use serde::ser::SerializeStruct;

/// The PEM label of public keys (RFC 7468, section 13).
pub(crate) const LABEL: &str = "PUBLIC KEY";

/// A key of the kinds that people sign with: P-256, P-384 or Ed25519.
///
/// Held as `SubjectPublicKeyInfo`, of which a key has only one encoding; it was seen to be a point of its curve.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    spki: Vec<u8>,
    key_type: KeyType,
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`, DER.
    ///
    /// # Errors
    /// When it is none, or of another kind.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let spki = SpkiRef::parse(der).map_err(KeyError::Spki)?;
        let key_type = spki.key_type();
        let algorithm = algorithm(key_type).ok_or(KeyError::Kind(key_type))?;
        Verifier::new(&spki, algorithm).map_err(KeyError::Unusable)?;
        Ok(Self {
            spki: der.to_vec(),
            key_type,
        })
    }

    /// Reads the only `PUBLIC KEY` block of a PEM text.
    ///
    /// # Errors
    /// When there is none, or the key is none that people sign with.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_spki(&pem::decode_one(&[LABEL], text).map_err(KeyError::Pem)?)
    }

    /// The key as a `PUBLIC KEY` block.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.spki)
    }

    /// The `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Kind and size.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key's name: SHA-256 of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.spki)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        match algorithm(self.key_type) {
            Some(algorithm) => verify_signature(&self.spki, algorithm, message, signature),
            None => Err(VerifyError::Unusable),
        }
    }
}

/// With which algorithm a key signs: one for each kind.
const fn algorithm(key_type: KeyType) -> Option<SignatureAlgorithm> {
    match key_type {
        KeyType::P256 => Some(SignatureAlgorithm::EcdsaP256Sha256),
        KeyType::P384 => Some(SignatureAlgorithm::EcdsaP384Sha384),
        KeyType::Ed25519 => Some(SignatureAlgorithm::Ed25519),
        KeyType::Rsa(_) | KeyType::MlDsa65 => None,
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.key_type, self.id())
    }
}

/// For people: its name, kind, and the whole in base64.
impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("PublicKey", 3)?;
        view.serialize_field("id", &self.id())?;
        view.serialize_field("type", &self.key_type)?;
        view.serialize_field("spki", &STANDARD.encode(&self.spki))?;
        view.end()
    }
}

/// Why something is not a public key to verify statements with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a PEM file of one public key.
    #[error("it is not a PEM file of one public key")]
    Pem(#[source] PemError),
    /// Not a public key.
    #[error("it is not a public key")]
    Spki(#[source] SpkiError),
    /// Of a kind that people do not sign with.
    #[error("statements are signed with P-256, P-384 or Ed25519 keys, this one is {0}")]
    Kind(KeyType),
    /// Not a point of its curve.
    #[error("the public key cannot be used")]
    Unusable(#[source] VerifyError),
}
