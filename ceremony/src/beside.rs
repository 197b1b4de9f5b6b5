//! Verifiers beside aws-lc-rs and `openssl`: pure Rust, by other people, for the kinds of keys that they know.
//!
//! What they say is written down when a key signs, and computed again whenever a transcript is verified. They share no
//! code with the token, with aws-lc-rs or with OpenSSL. For ML-DSA-65 this is the second implementation that there is
//! wherever OpenSSL is older than 3.5.

use ml_dsa::MlDsa65;
use p384::ecdsa::signature::Verifier as _;
use sealwright_identity::KeyType;
use sealwright_x509::spki::SpkiRef;
use sealwright_x509::{CertificateRef, SignatureAlgorithm};
use serde::{Deserialize, Serialize};

/// Who looked at a signature besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    /// The implementation.
    pub(crate) verifier: String,
    /// What was verified.
    pub(crate) verified: String,
}

impl Beside {
    /// What is written down of a good signature; none for keys that no verifier here is for.
    pub(crate) fn of(key_type: KeyType) -> Option<Self> {
        let verifier = match key_type {
            KeyType::P384 => "p384",
            KeyType::MlDsa65 => "ml-dsa",
            KeyType::P256 | KeyType::Ed25519 | KeyType::Rsa(_) => return None,
        };
        Some(Self {
            verifier: format!("the crate {verifier}"),
            verified: "the signature".to_owned(),
        })
    }
}

/// Verifies a signature as our CA keys make it; nothing is said of keys that no verifier here is for.
///
/// # Errors
/// In words, why it is not the key's.
pub(crate) fn verify(spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), String> {
    let key = SpkiRef::parse(spki).map_err(|error| error.to_string())?;
    let holds = match key.key_type() {
        KeyType::P384 => p384(key.key(), message, signature),
        KeyType::MlDsa65 => ml_dsa_65(key.key(), message, signature),
        KeyType::P256 | KeyType::Ed25519 | KeyType::Rsa(_) => Some(true),
    };
    match holds {
        Some(true) => Ok(()),
        _ => Err(format!(
            "another implementation says that it is no {} signature of this key",
            SignatureAlgorithm::for_ca_key(key.key_type())
        )),
    }
}

/// Verifies every signature of an ML-DSA key on a path, the root's own included; `parents` is as everywhere, the root last.
///
/// # Errors
/// In words, which one does not hold.
pub(crate) fn path(der: &[u8], parents: &[Vec<u8>]) -> Result<(), String> {
    let mut below = der;
    let root = parents.last().map_or(der, Vec::as_slice);
    for above in parents.iter().map(Vec::as_slice).chain([root]) {
        let read = |der| CertificateRef::parse(der).map_err(|error| error.to_string());
        let (certificate, issuer) = (read(below)?, read(above)?);
        let spki = issuer.spki().map_err(|error| error.to_string())?;
        // A root that is trusted may carry any signature: only its own can be verified.
        let signed = certificate.issuer_der() == issuer.subject_der();
        if spki.key_type() == KeyType::MlDsa65 && signed {
            verify(spki.der(), certificate.tbs_der(), certificate.signature())?;
        }
        below = above;
    }
    Ok(())
}

/// Whether a certificate or anything above it has an ML-DSA key.
pub(crate) fn knows_ml_dsa(ders: &[&[u8]]) -> bool {
    ders.iter().any(|der| {
        let certificate = CertificateRef::parse(der);
        let kind = certificate.map(|certificate| certificate.spki().map(|spki| spki.key_type()));
        matches!(kind, Ok(Ok(KeyType::MlDsa65)))
    })
}

fn p384(point: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
    let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
    Some(key.verify(message, &signature).is_ok())
}

fn ml_dsa_65(key: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    let key = ml_dsa::VerifyingKey::<MlDsa65>::decode(&key.try_into().ok()?);
    let signature = ml_dsa::Signature::<MlDsa65>::try_from(signature).ok()?;
    Some(key.verify_with_context(message, b"", &signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway;

    /// Keys of aws-lc-rs: two implementations, each the other's judge.
    #[test]
    fn another_implementation_agrees_and_disagrees() {
        for key_type in [KeyType::P384, KeyType::MlDsa65] {
            let signed = throwaway::sign(key_type, b"message").unwrap();
            assert_eq!(verify(&signed.spki, b"message", &signed.signature), Ok(()));
            let refused = verify(&signed.spki, b"massage", &signed.signature).unwrap_err();
            assert!(refused.contains("another implementation"), "{refused}");
            for at in [10, signed.signature.len() / 2, signed.signature.len() - 1] {
                let mut changed = signed.signature.clone();
                changed[at] ^= 1;
                verify(&signed.spki, b"message", &changed).unwrap_err();
            }
            verify(&signed.spki, b"message", &signed.signature[1..]).unwrap_err();
            let other = throwaway::sign(key_type, b"message").unwrap();
            verify(&other.spki, b"message", &signed.signature).unwrap_err();
            assert!(Beside::of(key_type).is_some());
        }
        assert_eq!(Beside::of(KeyType::P256), None);
    }
}
