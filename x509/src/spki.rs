//! Subject public keys (RFC 5280, section 4.1.2.7): of the kinds and sizes that we certify, parsed once.
//!
//! Strict: one encoding for each key, so that a digest of it names the key. Whether an elliptic-curve point
//! lies on its curve is found when a signature is verified with it, which possession requires anyway.

use aws_lc_rs::digest::{SHA256, digest};
use der::Tag;
use sealwright_identity::{Digest, KeyType};

use crate::{
    asn1::{Malformed, Reader, unsigned},
    oids,
};

/// The smallest and the largest RSA modulus, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// The largest RSA public exponent in use anywhere; larger ones only slow a verifier down.
const RSA_EXPONENT: std::ops::RangeInclusive<u64> = 65_537..=0xffff_ffff;

/// Octets of an ML-DSA-65 public key (FIPS 204, table 2).
pub const ML_DSA_65_KEY: usize = 1952;

/// A `SubjectPublicKeyInfo`, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpkiRef<'a> {
    der: &'a [u8],
    key: &'a [u8],
    key_type: KeyType,
}

impl<'a> SpkiRef<'a> {
    /// Reads the only `SubjectPublicKeyInfo` in some bytes.
    ///
    /// # Errors
    /// When it is not well-formed, or the key is of a kind or size that we do not certify.
    pub fn parse(der: &'a [u8]) -> Result<Self, SpkiError> {
        let mut info = Reader::open(der, Tag::Sequence, "SubjectPublicKeyInfo")?;
        let mut algorithm = info.nested(Tag::Sequence, "AlgorithmIdentifier")?;
        let oid = algorithm.take(Tag::ObjectIdentifier)?;
        let key_type = match oid {
            oids::EC_PUBLIC_KEY => match algorithm.take(Tag::ObjectIdentifier)? {
                oids::P256 => KeyType::P256,
                oids::P384 => KeyType::P384,
                other => {
                    return Err(SpkiError::Curve {
                        oid: oids::dotted(other),
                    });
                }
            },
            oids::ED25519 => KeyType::Ed25519,
            oids::ML_DSA_65 => KeyType::MlDsa65,
            oids::RSA_ENCRYPTION => match algorithm.take(Tag::Null)? {
                [] => KeyType::Rsa(0),
                _ => return Err(Malformed::value("AlgorithmIdentifier", Tag::Null).into()),
            },
            other => {
                return Err(SpkiError::Algorithm {
                    oid: oids::dotted(other),
                });
            }
        };
        algorithm.finish()?;
        let key = info.octet_aligned_bits()?;
        info.finish()?;
        let key_type = match (key_type, key) {
            (KeyType::P256, [4, point @ ..]) if point.len() == 64 => key_type,
            (KeyType::P384, [4, point @ ..]) if point.len() == 96 => key_type,
            (KeyType::P256 | KeyType::P384, _) => return Err(SpkiError::Point),
            (KeyType::Ed25519, _) if key.len() != 32 => return Err(SpkiError::Point),
            (KeyType::Ed25519, _) => key_type,
            (KeyType::MlDsa65, _) if key.len() != ML_DSA_65_KEY => return Err(SpkiError::Length),
            (KeyType::MlDsa65, _) => key_type,
            (KeyType::Rsa(_), _) => KeyType::Rsa(rsa_bits(key)?),
        };
        Ok(Self { der, key, key_type })
    }

    /// The same of a workload: of the kinds that leaves are for, which ML-DSA is not yet.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_leaf(der: &'a [u8]) -> Result<Self, SpkiError> {
        match Self::parse(der)? {
            spki if spki.key_type == KeyType::MlDsa65 => Err(SpkiError::Algorithm {
                oid: oids::dotted(oids::ML_DSA_65),
            }),
            spki => Ok(spki),
        }
    }

    /// The whole structure.
    #[must_use]
    pub fn der(&self) -> &'a [u8] {
        self.der
    }

    /// The octets of the BIT STRING: a point, or an `RSAPublicKey`.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Kind and size.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key identifier: the first 160 bits of SHA-256 over the key's octets (RFC 7093, method 1).
    #[must_use]
    pub fn key_identifier(&self) -> [u8; 20] {
        let whole = digest(&SHA256, self.key);
        let mut identifier = [0; 20];
        for (to, from) in identifier.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        identifier
    }

    /// The digest of the whole structure, which names the key.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.der)
    }
}

fn rsa_bits(key: &[u8]) -> Result<u32, SpkiError> {
    const WHAT: &str = "RSAPublicKey";
    let mut parts = Reader::open(key, Tag::Sequence, WHAT)?;
    let modulus = unsigned(parts.take(Tag::Integer)?, WHAT)?;
    let exponent = unsigned(parts.take(Tag::Integer)?, WHAT)?;
    parts.finish()?;
    let leading = modulus.first().map_or(8, |first| first.leading_zeros());
    let bits = u32::try_from(modulus.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(8)
        .saturating_sub(leading);
    let even = modulus.last().is_none_or(|last| last % 2 == 0);
    if !RSA_BITS.contains(&bits) || even {
        return Err(SpkiError::RsaModulus { bits });
    }
    let value = exponent.iter().try_fold(0_u64, |value, octet| {
        Some(value.checked_mul(256)? | u64::from(*octet))
    });
    match value {
        Some(value) if RSA_EXPONENT.contains(&value) && value % 2 == 1 => Ok(bits),
        _ => Err(SpkiError::RsaExponent),
    }
}

/// Why a public key is not one that we certify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpkiError {
    /// Not the DER of a public key.
    #[error("the public key cannot be read")]
    Malformed(#[from] Malformed),
    /// An algorithm other than ECDSA, RSA and Ed25519; of a CA, ML-DSA-65, too.
    #[error("a public key of the algorithm {oid} is not supported (p256, p384, ed25519 and RSA are)")]
    Algorithm {
        /// The algorithm's object identifier.
        oid: String,
    },
    /// A curve other than P-256 and P-384.
    #[error("a public key on the curve {oid} is not supported (p256 and p384 are)")]
    Curve {
        /// The curve's object identifier.
        oid: String,
    },
    /// A point that is compressed or of another length.
    #[error("the public key is not an uncompressed point of its curve's length")]
    Point,
    /// An ML-DSA-65 key of another length.
    #[error("the public key does not have the 1952 octets of ML-DSA-65")]
    Length,
    /// A modulus of another size, or an even one.
    #[error("an RSA modulus of {bits} bits is not supported (odd ones of 2048 to 8192 bits are)")]
    RsaModulus {
        /// Its size.
        bits: u32,
    },
    /// An exponent that is even, below 65537 or above 32 bits.
    #[error("the RSA public exponent is not an odd number from 65537 to 32 bits")]
    RsaExponent,
}
