//! Private keys in files: PKCS#8, PEM, not encrypted, readable by their owner alone.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use sealwright_x509::pem::{self, PemError};
use zeroize::Zeroizing;

use super::{Signer, SignerError};
use crate::key::{KeyError, PublicKey};
use crate::signature::Signature;
use crate::statement::Preimage;

/// The PEM label of private keys that are not encrypted (RFC 7468, section 10).
const LABEL: &str = "PRIVATE KEY";

/// A file above this is no key.
const MAX_BYTES: u64 = 16 * 1024;

/// Kinds of keys that can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Ed25519.
    #[default]
    Ed25519,
}

/// A private key that was read from a file. Its `Debug` names the public half only.
pub struct FileSigner {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl FileSigner {
    /// Reads a key's file.
    ///
    /// # Errors
    /// When others can read or write the file, or it is not a key that statements are signed with.
    pub fn open(path: &Path) -> Result<Self, FileSignerError> {
        let unreadable = |source| FileSignerError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(FileSignerError::Readable {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES).read_to_end(&mut text).map_err(unreadable)?;
        Self::from_pem(&text).map_err(|source| FileSignerError::Key {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Reads a key from the only `PRIVATE KEY` block of a PEM text.
    ///
    /// # Errors
    /// When there is none, or the key is none that people sign with.
    pub fn from_pem(text: &[u8]) -> Result<Self, FileSignerError> {
        let der = Zeroizing::new(pem::decode_one(&[LABEL], text).map_err(FileSignerError::Pem)?);
        let ecdsa = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING];
        let pair = ecdsa
            .into_iter()
            .find_map(|algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &der).ok())
            .map(Pair::Ecdsa)
            .or_else(|| {
                Some(Pair::Ed25519(
                    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?,
                ))
            })
            .ok_or(FileSignerError::Kind)?;
        Self::of(pair)
    }

    /// Makes a key. The text is its file's contents: to be written where nobody else reads it (mode 0600).
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn generate(kind: KeyKind) -> Result<(Self, Zeroizing<String>), FileSignerError> {
        let failed = |_unspecified| FileSignerError::Generate;
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
            let der = pair.to_pkcs8v1().map_err(failed)?;
            Ok::<_, FileSignerError>((Pair::Ecdsa(pair), der))
        };
        let (pair, der) = match kind {
            KeyKind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
            KeyKind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?,
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                (Pair::Ed25519(pair), der)
            }
        };
        let text = Zeroizing::new(pem::encode(LABEL, der.as_ref()));
        Ok((Self::of(pair)?, text))
    }

    fn of(pair: Pair) -> Result<Self, FileSignerError> {
        let spki: Result<PublicKeyX509Der<'_>, _> = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        let spki = spki.map_err(|_unspecified| FileSignerError::Kind)?;
        let public = PublicKey::from_spki(spki.as_ref()).map_err(FileSignerError::Public)?;
        Ok(Self { pair, public })
    }
}

impl Signer for FileSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, statement: &Preimage) -> Result<Signature, SignerError> {
        let message = statement.as_bytes();
        let signed = match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message),
            Pair::Ed25519(pair) => pair.try_sign(message),
        };
        let signature = signed.map_err(|unspecified| SignerError {
            key: self.public.id(),
            source: Box::new(unspecified),
        })?;
        Ok(Signature {
            key: self.public.clone(),
            bytes: signature.as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSigner")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Why a file is not a key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum FileSignerError {
    /// The file cannot be read.
    #[error("cannot read the key {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write the file.
    #[error("the key {} has mode {mode:04o}: others can use it; run chmod 600 on it", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is no key.
    #[error("{} is not a key to sign with", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<Self>,
    },
    /// Not a PEM text of one private key.
    #[error("it is not a PEM file of one PRIVATE KEY (PKCS#8, not encrypted)")]
    Pem(#[source] PemError),
    /// Of a kind that people do not sign with.
    #[error("it is not a P-256, P-384 or Ed25519 key")]
    Kind,
    /// The public half cannot be used.
    #[error("its public half cannot be used")]
    Public(#[source] KeyError),
    /// No key could be made.
    #[error("the system has no random bytes for a key")]
    Generate,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::statement::preimage_of;

    #[test]
    fn each_kind_signs_what_its_public_half_verifies() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let (_, pem) = FileSigner::generate(kind).unwrap();
            let signer = FileSigner::from_pem(pem.as_bytes()).unwrap();
            let statement = preimage_of("policy-set", b"one");
            let signature = signer.sign(&statement).unwrap();
            signature.verify(&statement).unwrap();
            // Neither over other bytes nor over the same bytes as another type.
            signature.verify(&preimage_of("policy-set", b"two")).unwrap_err();
            signature
                .verify(&preimage_of("policy-revision", b"one"))
                .unwrap_err();
            assert!(signature.bytes.len() <= crate::signature::MAX_BYTES);
            let public = signer.public_key();
            assert_eq!(PublicKey::from_pem(&public.to_pem()).unwrap(), *public);
            assert!(!format!("{signer:?}").contains(pem.get(40..60).unwrap()));
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let (_, pem) = FileSigner::generate(KeyKind::P256).unwrap();
        std::fs::write(&path, pem.as_bytes()).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            FileSigner::open(&path)
        };
        for mode in [0o640, 0o604, 0o620] {
            let refused = with(mode).unwrap_err();
            assert!(matches!(refused, FileSignerError::Readable { mode: found, .. } if found == mode));
        }
        with(0o600).unwrap();
        with(0o400).unwrap();
        std::fs::remove_file(&path).unwrap();
        let refused = FileSigner::open(&path).unwrap_err();
        assert!(matches!(refused, FileSignerError::Unreadable { .. }));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!(FileSigner::from_pem(b""), Err(FileSignerError::Pem(_))));
        let other = pem::encode("RSA PRIVATE KEY", b"x");
        assert!(matches!(
            FileSigner::from_pem(other.as_bytes()),
            Err(FileSignerError::Pem(_))
        ));
        let junk = pem::encode(LABEL, b"x");
        assert!(matches!(
            FileSigner::from_pem(junk.as_bytes()),
            Err(FileSignerError::Kind)
        ));
    }
}
