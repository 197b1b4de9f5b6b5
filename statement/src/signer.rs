//! What holds a person's private key.

mod file;

pub use file::{FileSigner, FileSignerError, KeyKind};

use crate::key::PublicKey;
use crate::signature::Signature;
use crate::statement::Preimage;

/// A private key that signs statements: in a file, or in a PKCS#11 token that its owner carries.
///
/// It is handed a [`Preimage`], which only a sealed statement has: it cannot be made to sign anything else.
pub trait Signer {
    /// The key's public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs a statement: ECDSA (DER) with SHA-256 for P-256, with SHA-384 for P-384; or Ed25519.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, statement: &Preimage) -> Result<Signature, SignerError>;
}

/// Why a signer did not sign.
#[derive(Debug, thiserror::Error)]
#[error("the key {key} did not sign")]
pub struct SignerError {
    /// The key's name.
    pub key: sealwright_identity::Digest,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
