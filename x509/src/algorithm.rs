//! The signature algorithms that our issuers sign with (RFC 5758, RFC 4055, RFC 8410, RFC 9881).

use std::fmt;

use sealwright_identity::KeyType;

use crate::asn1::tag;

/// How an issuer signs: one algorithm for each kind of CA key, never a choice of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 over SHA-256; the signature is `Ecdsa-Sig-Value` in DER.
    EcdsaP256Sha256,
    /// ECDSA on P-384 over SHA-384; the signature is `Ecdsa-Sig-Value` in DER.
    EcdsaP384Sha384,
    /// RSASSA-PKCS1-v1_5 over SHA-256.
    RsaPkcs1Sha256,
    /// Ed25519, over the message itself.
    Ed25519,
    /// ML-DSA-65, pure, over the message itself, with the empty context.
    MlDsa65,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::RsaPkcs1Sha256,
        Self::Ed25519,
        Self::MlDsa65,
    ];

    /// What a CA key of this kind signs with.
    #[must_use]
    pub fn for_ca_key(key_type: KeyType) -> Self {
        match key_type {
            KeyType::P256 => Self::EcdsaP256Sha256,
            KeyType::P384 => Self::EcdsaP384Sha384,
            KeyType::Rsa(_) => Self::RsaPkcs1Sha256,
            KeyType::Ed25519 => Self::Ed25519,
            KeyType::MlDsa65 => Self::MlDsa65,
        }
    }

    /// The `AlgorithmIdentifier`, parameters as its RFC demands: NULL for RSA, absent for the rest.
    #[must_use]
    pub fn identifier_der(self) -> &'static [u8] {
        match self {
            Self::EcdsaP256Sha256 => ECDSA_SHA256,
            Self::EcdsaP384Sha384 => ECDSA_SHA384,
            Self::RsaPkcs1Sha256 => RSA_SHA256,
            Self::Ed25519 => ED25519,
            Self::MlDsa65 => ML_DSA_65,
        }
    }

    /// The algorithm with this `AlgorithmIdentifier`, byte for byte.
    #[must_use]
    pub fn from_identifier_der(der: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.identifier_der() == der)
    }

    /// Its name in the RFC that defines it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-with-SHA256",
            Self::EcdsaP384Sha384 => "ecdsa-with-SHA384",
            Self::RsaPkcs1Sha256 => "sha256WithRSAEncryption",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa65 => "id-ml-dsa-65",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const SEQ: u8 = tag::SEQUENCE;
const OID: u8 = tag::OID;

pub(crate) const ECDSA_SHA256: &[u8] = &[SEQ, 10, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub(crate) const ECDSA_SHA384: &[u8] = &[SEQ, 10, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
pub(crate) const ECDSA_SHA512: &[u8] = &[SEQ, 10, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
pub(crate) const RSA_SHA256: &[u8] = &[
    SEQ, 13, OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 5, 0,
];
pub(crate) const RSA_SHA384: &[u8] = &[
    SEQ, 13, OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 5, 0,
];
pub(crate) const RSA_SHA512: &[u8] = &[
    SEQ, 13, OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 5, 0,
];
pub(crate) const ED25519: &[u8] = &[SEQ, 5, OID, 3, 0x2b, 0x65, 0x70];
pub(crate) const ML_DSA_65: &[u8] = &[
    SEQ, 11, OID, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_distinct_and_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let der = algorithm.identifier_der();
            assert_eq!(usize::from(der[1]) + 2, der.len());
            assert_eq!(SignatureAlgorithm::from_identifier_der(der), Some(algorithm));
        }
        assert_eq!(SignatureAlgorithm::from_identifier_der(RSA_SHA512), None);
    }
}
