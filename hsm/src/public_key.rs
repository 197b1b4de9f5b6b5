//! A public key's attributes in the token, as `SubjectPublicKeyInfo` (RFC 5280
//! section 4.1.2.7, RFC 5480, RFC 8410, RFC 9881).

use cryptoki::object::{Attribute, AttributeType, KeyType as TokenKeyType, MlDsaParameterSetType};
use sealwright_identity::KeyType;

use sealwright_x509::spki::ML_DSA_65_KEY;

use crate::asn1::{BIT_STRING, SEQUENCE, element, short_octet_string, unsigned};

/// What must be read to know a public key.
pub(crate) const ATTRIBUTES: [AttributeType; 5] = [
    AttributeType::KeyType,
    AttributeType::EcParams,
    AttributeType::EcPoint,
    AttributeType::Modulus,
    AttributeType::PublicExponent,
];

/// What must be read besides to know an ML-DSA key. Of a public key only: the value of a private one is the secret.
pub(crate) const LATTICE: [AttributeType; 2] = [AttributeType::ParameterSet, AttributeType::Value];

/// `CKA_EC_PARAMS`: named curves, and the names some tokens use instead.
pub(crate) const P256_PARAMS: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const P384_PARAMS: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub(crate) const ED25519_PARAMS: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

const EC_ALGORITHM: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA_ALGORITHM: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

const ML_DSA_65_ALGORITHM: &[u8] = &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12];

/// RSA sizes that are signed with, in bits.
const RSA_BITS: [u32; 3] = [2048, 3072, 4096];

/// A public key as certificates hold it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PublicKey {
    pub(crate) key_type: KeyType,
    pub(crate) spki_der: Vec<u8>,
}

/// Why a public key cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// An attribute that such a key has is missing.
    #[error("the token does not tell {0}")]
    Missing(&'static str),
    /// Not P-256, P-384, Ed25519, RSA 2048, 3072 or 4096, or ML-DSA-65.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The point does not have the form or the length of its curve.
    #[error("the public point is malformed")]
    Point,
    /// An ML-DSA-65 key of another length.
    #[error("the public key has {0} octets, not the 1952 of ML-DSA-65")]
    Length(usize),
}

impl PublicKey {
    /// Builds the key from what the token told.
    pub(crate) fn from_attributes(attributes: &[Attribute]) -> Result<Self, PublicKeyError> {
        let mut found = Found::default();
        for attribute in attributes {
            match attribute {
                Attribute::KeyType(value) => found.key_type = Some(*value),
                Attribute::EcParams(value) => found.params = Some(value),
                Attribute::EcPoint(value) => found.point = Some(value),
                Attribute::Modulus(value) => found.modulus = Some(value),
                Attribute::PublicExponent(value) => found.exponent = Some(value),
                Attribute::ParameterSet(value) => found.parameter_set = Some((*value).into()),
                Attribute::Value(value) => found.value = Some(value),
                _ => {}
            }
        }
        match found.key_type {
            Some(TokenKeyType::RSA) => found.rsa(),
            Some(TokenKeyType::EC) => found.weierstrass(),
            Some(TokenKeyType::EC_EDWARDS) => found.edwards(),
            Some(TokenKeyType::ML_DSA) => found.lattice(),
            Some(other) => Err(PublicKeyError::Unsupported(format!("key type {other}"))),
            None => Err(PublicKeyError::Missing("CKA_KEY_TYPE")),
        }
    }
}

#[derive(Default)]
struct Found<'a> {
    key_type: Option<TokenKeyType>,
    params: Option<&'a [u8]>,
    point: Option<&'a [u8]>,
    modulus: Option<&'a [u8]>,
    exponent: Option<&'a [u8]>,
    parameter_set: Option<MlDsaParameterSetType>,
    value: Option<&'a [u8]>,
}

impl Found<'_> {
    fn rsa(&self) -> Result<PublicKey, PublicKeyError> {
        let modulus = present(self.modulus, "CKA_MODULUS")?;
        let exponent = present(self.exponent, "CKA_PUBLIC_EXPONENT")?;
        let bits = bit_length(modulus);
        if !RSA_BITS.contains(&bits) {
            return Err(PublicKeyError::Unsupported(format!("an RSA key of {bits} bits")));
        }
        let key = element(SEQUENCE, &[&unsigned(modulus), &unsigned(exponent)]);
        Ok(PublicKey {
            key_type: KeyType::Rsa(bits),
            spki_der: spki(&[RSA_ALGORITHM], &key),
        })
    }

    fn weierstrass(&self) -> Result<PublicKey, PublicKeyError> {
        let params = present(self.params, "CKA_EC_PARAMS")?;
        let (key_type, length) = match params {
            P256_PARAMS => (KeyType::P256, 65),
            P384_PARAMS => (KeyType::P384, 97),
            _ => return Err(PublicKeyError::Unsupported("this elliptic curve".into())),
        };
        let point = self.point_of(length)?;
        if point.first() != Some(&4) {
            return Err(PublicKeyError::Point);
        }
        Ok(PublicKey {
            key_type,
            spki_der: spki(&[EC_ALGORITHM, params], point),
        })
    }

    fn edwards(&self) -> Result<PublicKey, PublicKeyError> {
        let params = present(self.params, "CKA_EC_PARAMS")?;
        if params != ED25519_PARAMS && params != ED25519_NAME {
            return Err(PublicKeyError::Unsupported("this Edwards curve".into()));
        }
        Ok(PublicKey {
            key_type: KeyType::Ed25519,
            spki_der: spki(&[ED25519_PARAMS], self.point_of(32)?),
        })
    }

    fn lattice(&self) -> Result<PublicKey, PublicKeyError> {
        match self.parameter_set {
            Some(MlDsaParameterSetType::ML_DSA_65) => {}
            Some(other) => return Err(PublicKeyError::Unsupported(format!("the parameter set {other}"))),
            None => return Err(PublicKeyError::Missing("CKA_PARAMETER_SET")),
        }
        let key = present(self.value, "CKA_VALUE")?;
        if key.len() != ML_DSA_65_KEY {
            return Err(PublicKeyError::Length(key.len()));
        }
        Ok(PublicKey {
            key_type: KeyType::MlDsa65,
            spki_der: spki(&[ML_DSA_65_ALGORITHM], key),
        })
    }

    /// The standard wants the point in an octet string; some tokens give it
    /// bare. Lengths tell the two apart.
    fn point_of(&self, length: usize) -> Result<&[u8], PublicKeyError> {
        let value = present(self.point, "CKA_EC_POINT")?;
        if value.len() == length {
            return Ok(value);
        }
        short_octet_string(value)
            .filter(|point| point.len() == length)
            .ok_or(PublicKeyError::Point)
    }
}

fn present<'a>(value: Option<&'a [u8]>, name: &'static str) -> Result<&'a [u8], PublicKeyError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(PublicKeyError::Missing(name))
}

fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    element(
        SEQUENCE,
        &[&element(SEQUENCE, algorithm), &element(BIT_STRING, &[&[0], key])],
    )
}

fn bit_length(number: &[u8]) -> u32 {
    let mut bits = 0_u32;
    for &byte in number {
        bits = match bits {
            0 => 8 - byte.leading_zeros(),
            _ => bits.saturating_add(8),
        };
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_taken_bare_or_wrapped() {
        let mut point = vec![4; 65];
        let attributes = |point: &[u8]| {
            [
                Attribute::KeyType(TokenKeyType::EC),
                Attribute::EcParams(P256_PARAMS.to_vec()),
                Attribute::EcPoint(point.to_vec()),
            ]
        };
        let bare = PublicKey::from_attributes(&attributes(&point)).unwrap();
        let wrapped = element(4, &[&point]);
        let wrapped = PublicKey::from_attributes(&attributes(&wrapped)).unwrap();
        assert_eq!(bare, wrapped);
        assert_eq!(bare.spki_der.len(), 91);

        point[0] = 2;
        assert_eq!(
            PublicKey::from_attributes(&attributes(&point)),
            Err(PublicKeyError::Point)
        );
        assert_eq!(
            PublicKey::from_attributes(&attributes(&[4; 60])),
            Err(PublicKeyError::Point)
        );
    }

    /// RFC 9881, section 4: no parameters, the key itself in the BIT STRING.
    #[test]
    fn an_ml_dsa_key_has_golden_bytes_around_it() {
        let told = |set: MlDsaParameterSetType, octets: usize| {
            PublicKey::from_attributes(&[
                Attribute::KeyType(TokenKeyType::ML_DSA),
                Attribute::ParameterSet(set.into()),
                Attribute::Value(vec![7; octets]),
            ])
        };
        let key = told(MlDsaParameterSetType::ML_DSA_65, 1952).unwrap();
        let head = hex::encode(&key.spki_der[..22]);
        assert_eq!(head, "308207b2300b0609608648016503040312038207a100");
        assert_eq!(key.spki_der[22..], [7; 1952]);
        let spki = sealwright_x509::spki::SpkiRef::parse(&key.spki_der).unwrap();
        assert_eq!(spki.key_type(), KeyType::MlDsa65);
        assert_eq!(
            told(MlDsaParameterSetType::ML_DSA_65, 1951),
            Err(PublicKeyError::Length(1951))
        );
        let other = told(MlDsaParameterSetType::ML_DSA_44, 1312).unwrap_err();
        assert!(other.to_string().contains("CKP_ML_DSA_44"), "{other}");
    }

    #[test]
    fn what_is_not_supported_says_so() {
        let rsa = |bytes: usize| {
            PublicKey::from_attributes(&[
                Attribute::KeyType(TokenKeyType::RSA),
                Attribute::Modulus([vec![0], vec![0xff; bytes]].concat()),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ])
        };
        assert_eq!(rsa(256).unwrap().key_type, KeyType::Rsa(2048));
        assert!(matches!(rsa(128), Err(PublicKeyError::Unsupported(_))));
        assert_eq!(bit_length(&[0, 1, 0]), 9);
        assert_eq!(bit_length(&[0, 0]), 0);
        assert!(matches!(
            PublicKey::from_attributes(&[Attribute::KeyType(TokenKeyType::EC_MONTGOMERY)]),
            Err(PublicKeyError::Unsupported(_))
        ));
        assert_eq!(
            PublicKey::from_attributes(&[]),
            Err(PublicKeyError::Missing("CKA_KEY_TYPE"))
        );
    }
}
