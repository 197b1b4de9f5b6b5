//! Verification of signatures, by `aws-lc-rs`: another implementation than any token's.
//!
//! Chains and requests come from elsewhere, so more digests are accepted than we sign with; SHA-1 and MD5
//! are known by name only, to be refused by name.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ED25519, ML_DSA_65, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use der::Tag;
use sealwright_identity::KeyType;

use crate::{
    algorithm::{self, SignatureAlgorithm},
    asn1::{Malformed, Reader},
    oids,
    spki::{SpkiError, SpkiRef},
};

/// Verifies one signature with a public key given as `SubjectPublicKeyInfo`.
///
/// # Errors
/// When the key cannot be used, does not fit the algorithm, or the signature is not its own.
pub fn verify_signature(
    spki_der: &[u8],
    algorithm: SignatureAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let spki = SpkiRef::parse(spki_der).map_err(VerifyError::Key)?;
    verify(&spki, algorithm.into(), message, signature)
}

pub(crate) fn verify(
    spki: &SpkiRef<'_>,
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> Result<(), VerifyError> {
    let algorithm = scheme.algorithm(spki.key_type())?;
    UnparsedPublicKey::new(algorithm, spki.key())
        .verify(message, signature)
        .map_err(|_| VerifyError::Signature)
}

/// A public key made ready once, for many signatures of one algorithm.
#[derive(Clone, Debug)]
pub struct Verifier(ParsedPublicKey);

impl Verifier {
    /// Reads a key for an algorithm.
    ///
    /// # Errors
    /// When the key does not fit the algorithm or is no key (a point off its curve, for example).
    pub fn new(spki: &SpkiRef<'_>, algorithm: SignatureAlgorithm) -> Result<Self, VerifyError> {
        let algorithm = Scheme::from(algorithm).algorithm(spki.key_type())?;
        ParsedPublicKey::new(algorithm, spki.key())
            .map(Self)
            .map_err(|_| VerifyError::Unusable)
    }

    /// Verifies one signature.
    ///
    /// # Errors
    /// When it is not the key's own.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        self.0
            .verify_sig(message, signature)
            .map_err(|_| VerifyError::Signature)
    }
}

/// A signature algorithm that others may have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    Ed25519,
    MlDsa65,
}

impl Scheme {
    /// The scheme of an `AlgorithmIdentifier`, byte for byte.
    pub(crate) fn from_identifier_der(der: &[u8]) -> Result<Self, VerifyError> {
        match der {
            algorithm::ECDSA_SHA256 => Ok(Self::EcdsaSha256),
            algorithm::ECDSA_SHA384 => Ok(Self::EcdsaSha384),
            algorithm::ECDSA_SHA512 => Ok(Self::EcdsaSha512),
            algorithm::RSA_SHA256 => Ok(Self::RsaSha256),
            algorithm::RSA_SHA384 => Ok(Self::RsaSha384),
            algorithm::RSA_SHA512 => Ok(Self::RsaSha512),
            algorithm::ED25519 => Ok(Self::Ed25519),
            algorithm::ML_DSA_65 => Ok(Self::MlDsa65),
            other => Err(refusal(other)),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ecdsa-with-SHA256",
            Self::EcdsaSha384 => "ecdsa-with-SHA384",
            Self::EcdsaSha512 => "ecdsa-with-SHA512",
            Self::RsaSha256 => "sha256WithRSAEncryption",
            Self::RsaSha384 => "sha384WithRSAEncryption",
            Self::RsaSha512 => "sha512WithRSAEncryption",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa65 => "id-ml-dsa-65",
        }
    }

    fn algorithm(self, key_type: KeyType) -> Result<&'static dyn VerificationAlgorithm, VerifyError> {
        Ok(match (self, key_type) {
            (Self::EcdsaSha256, KeyType::P256) => &ECDSA_P256_SHA256_ASN1,
            (Self::EcdsaSha384, KeyType::P256) => &ECDSA_P256_SHA384_ASN1,
            (Self::EcdsaSha512, KeyType::P256) => &ECDSA_P256_SHA512_ASN1,
            (Self::EcdsaSha256, KeyType::P384) => &ECDSA_P384_SHA256_ASN1,
            (Self::EcdsaSha384, KeyType::P384) => &ECDSA_P384_SHA384_ASN1,
            (Self::EcdsaSha512, KeyType::P384) => &ECDSA_P384_SHA512_ASN1,
            (Self::RsaSha256, KeyType::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA256,
            (Self::RsaSha384, KeyType::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA384,
            (Self::RsaSha512, KeyType::Rsa(_)) => &RSA_PKCS1_2048_8192_SHA512,
            (Self::Ed25519, KeyType::Ed25519) => &ED25519,
            (Self::MlDsa65, KeyType::MlDsa65) => &ML_DSA_65,
            _ => {
                return Err(VerifyError::Mismatch {
                    algorithm: self.as_str(),
                    key_type,
                });
            }
        })
    }
}

impl From<SignatureAlgorithm> for Scheme {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => Self::EcdsaSha256,
            SignatureAlgorithm::EcdsaP384Sha384 => Self::EcdsaSha384,
            SignatureAlgorithm::RsaPkcs1Sha256 => Self::RsaSha256,
            SignatureAlgorithm::Ed25519 => Self::Ed25519,
            SignatureAlgorithm::MlDsa65 => Self::MlDsa65,
        }
    }
}

/// Why an `AlgorithmIdentifier` is none of ours.
fn refusal(der: &[u8]) -> VerifyError {
    let oid = Reader::open(der, Tag::Sequence, "AlgorithmIdentifier")
        .and_then(|mut parts| parts.take(Tag::ObjectIdentifier));
    let oid = match oid {
        Ok(contents) => oids::dotted(contents),
        Err(malformed) => return VerifyError::Malformed(malformed),
    };
    match WEAK.iter().find(|(weak, _)| *weak == oid) {
        Some((_, algorithm)) => VerifyError::Weak { algorithm },
        None => VerifyError::Unsupported { oid },
    }
}

/// Algorithms over digests for which collisions can be made.
const WEAK: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption"),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
    ("1.3.14.3.2.29", "sha1WithRSA"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
];

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The key is not one that we use.
    #[error("the signer's public key cannot be used")]
    Key(#[source] SpkiError),
    /// The key has the right form but is none.
    #[error("the signer's public key is not a valid one")]
    Unusable,
    /// The algorithm's identifier is not DER.
    #[error("the signature algorithm cannot be read")]
    Malformed(#[source] Malformed),
    /// A digest that is no longer safe.
    #[error("the signature algorithm {algorithm} is too weak")]
    Weak {
        /// Its name.
        algorithm: &'static str,
    },
    /// An algorithm, or parameters, that we do not know.
    #[error("the signature algorithm {oid} is not supported, or not with its parameters")]
    Unsupported {
        /// Its object identifier.
        oid: String,
    },
    /// An algorithm for another kind of key.
    #[error("the signature algorithm {algorithm} is not for a key of the type {key_type}")]
    Mismatch {
        /// The algorithm's name.
        algorithm: &'static str,
        /// The kind of key.
        key_type: KeyType,
    },
    /// The signature is not this key's over this message.
    #[error("the signature is not valid")]
    Signature,
}
