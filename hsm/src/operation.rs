//! One signature as the token computes it: the mechanism, the exact input, and
//! the way from the token's answer to what X.509 holds.
//!
//! Messages are hashed here, as SoftHSM has no mechanism that hashes. Tokens
//! were measured to sign ECDSA over input of any length, so the length of a
//! digest is checked before it goes in.

use aws_lc_rs::digest;
use cryptoki::mechanism::{
    Mechanism, MechanismType,
    dsa::{HedgeType, SignAdditionalContext},
    eddsa::{EddsaParams, EddsaSignatureScheme},
};
use sealwright_identity::KeyType;

use crate::asn1::{SEQUENCE, element, unsigned};

/// `DigestInfo` of RFC 8017 section 9.2 up to the SHA-256 digest.
const SHA256_DIGEST_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Octets of an ML-DSA-65 signature (FIPS 204, table 2).
const ML_DSA_65_SIGNATURE: usize = 3309;

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Octets of a coordinate, and of the digest that goes with the curve.
    fn octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

/// An operation that is ready for a token.
#[derive(Debug)]
pub(crate) struct Operation {
    kind: Kind,
    input: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ecdsa(Curve),
    RsaPkcs1 { octets: usize },
    Ed25519,
    MlDsa65,
}

/// Why an operation cannot be made, or its result not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OperationError {
    #[error("keys of type {0} are not supported")]
    Unsupported(KeyType),
    #[error("a digest of {actual} bytes does not fit the curve, which takes {expected}")]
    DigestLength { expected: usize, actual: usize },
    #[error("the token's signature has {actual} bytes, not {expected}")]
    SignatureLength { expected: usize, actual: usize },
    #[error("the token's signature has a zero in it")]
    Zero,
}

impl Operation {
    /// Prepares a signature over `message` with a key of this type.
    pub(crate) fn new(key_type: KeyType, message: &[u8]) -> Result<Self, OperationError> {
        match key_type {
            KeyType::P256 => Self::ecdsa(Curve::P256, hash(&digest::SHA256, message)),
            KeyType::P384 => Self::ecdsa(Curve::P384, hash(&digest::SHA384, message)),
            KeyType::Rsa(bits @ (2048 | 3072 | 4096)) => {
                let digest = hash(&digest::SHA256, message);
                Ok(Self {
                    kind: Kind::RsaPkcs1 {
                        octets: bits as usize / 8,
                    },
                    input: [SHA256_DIGEST_INFO, &digest].concat(),
                })
            }
            KeyType::Ed25519 => Ok(Self {
                kind: Kind::Ed25519,
                input: message.to_vec(),
            }),
            KeyType::MlDsa65 => Ok(Self {
                kind: Kind::MlDsa65,
                input: message.to_vec(),
            }),
            other => Err(OperationError::Unsupported(other)),
        }
    }

    fn ecdsa(curve: Curve, digest: Vec<u8>) -> Result<Self, OperationError> {
        if digest.len() != curve.octets() {
            return Err(OperationError::DigestLength {
                expected: curve.octets(),
                actual: digest.len(),
            });
        }
        Ok(Self {
            kind: Kind::Ecdsa(curve),
            input: digest,
        })
    }

    pub(crate) fn mechanism(&self) -> Mechanism<'static> {
        match self.kind {
            Kind::Ecdsa(_) => Mechanism::Ecdsa,
            Kind::RsaPkcs1 { .. } => Mechanism::RsaPkcs,
            Kind::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
            // Pure ML-DSA; without parameters the context is empty, as RFC 9881 wants it.
            Kind::MlDsa65 => Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None)),
        }
    }

    pub(crate) fn input(&self) -> &[u8] {
        &self.input
    }

    /// The token's answer as X.509 holds it: DER for ECDSA, else as it is.
    pub(crate) fn finish(&self, raw: Vec<u8>) -> Result<Vec<u8>, OperationError> {
        let of_length = |expected| match raw.len() {
            actual if actual == expected => Ok(()),
            actual => Err(OperationError::SignatureLength { expected, actual }),
        };
        match self.kind {
            Kind::Ecdsa(curve) => {
                of_length(2 * curve.octets())?;
                ecdsa_der(&raw)
            }
            Kind::RsaPkcs1 { octets } => of_length(octets).map(|()| raw),
            Kind::Ed25519 => of_length(64).map(|()| raw),
            Kind::MlDsa65 => of_length(ML_DSA_65_SIGNATURE).map(|()| raw),
        }
    }
}

/// The mechanism that a key of this type signs with, `None` if unsupported.
pub(crate) fn mechanism_for(key_type: KeyType) -> Option<MechanismType> {
    match key_type {
        KeyType::P256 | KeyType::P384 => Some(MechanismType::ECDSA),
        KeyType::Rsa(2048 | 3072 | 4096) => Some(MechanismType::RSA_PKCS),
        KeyType::Ed25519 => Some(MechanismType::EDDSA),
        KeyType::MlDsa65 => Some(MechanismType::ML_DSA),
        KeyType::Rsa(_) => None,
    }
}

/// `r‖s` as `ECDSA-Sig-Value` (RFC 3279 section 2.2.3). Zero is no valid half.
fn ecdsa_der(raw: &[u8]) -> Result<Vec<u8>, OperationError> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let zero = |half: &[u8]| half.iter().all(|&byte| byte == 0);
    if zero(r) || zero(s) {
        return Err(OperationError::Zero);
    }
    Ok(element(SEQUENCE, &[&unsigned(r), &unsigned(s)]))
}

fn hash(algorithm: &'static digest::Algorithm, message: &[u8]) -> Vec<u8> {
    digest::digest(algorithm, message).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode, Sequence, asn1::Uint};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Sequence)]
    struct EcdsaSigValue {
        r: Uint,
        s: Uint,
    }

    fn ecdsa(curve: Curve) -> Operation {
        Operation::ecdsa(curve, vec![1; curve.octets()]).unwrap()
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        for length in [0, 20, 31, 33, 48, 100] {
            assert_eq!(
                Operation::ecdsa(Curve::P256, vec![1; length]).unwrap_err(),
                OperationError::DigestLength {
                    expected: 32,
                    actual: length,
                }
            );
        }
        assert!(Operation::ecdsa(Curve::P384, vec![1; 32]).is_err());
        assert_eq!(
            Operation::new(KeyType::P384, b"message").unwrap().input().len(),
            48
        );
    }

    #[test]
    fn other_keys_are_unsupported() {
        assert_eq!(
            Operation::new(KeyType::Rsa(1024), b"").unwrap_err(),
            OperationError::Unsupported(KeyType::Rsa(1024))
        );
        assert_eq!(mechanism_for(KeyType::Rsa(8192)), None);
    }

    #[test]
    fn the_rsa_input_is_a_digest_info() {
        let operation = Operation::new(KeyType::Rsa(2048), b"abc").unwrap();
        assert_eq!(operation.input().len(), 51);
        assert!(operation.finish(vec![1; 256]).is_ok());
        assert!(operation.finish(vec![1; 255]).is_err());
    }

    #[test]
    fn ml_dsa_is_over_the_message_itself_with_the_empty_context() {
        let operation = Operation::new(KeyType::MlDsa65, b"abc").unwrap();
        assert_eq!(operation.input(), b"abc");
        let Mechanism::MlDsa(parameters) = operation.mechanism() else {
            panic!("{operation:?}");
        };
        assert!(parameters.inner().is_none());
        assert!(operation.finish(vec![1; 3309]).is_ok());
        assert!(operation.finish(vec![1; 3293]).is_err());
    }

    #[test]
    fn an_answer_of_another_length_or_with_a_zero_is_refused() {
        let operation = ecdsa(Curve::P256);
        assert!(operation.finish(vec![1; 96]).is_err());
        assert!(operation.finish(vec![]).is_err());
        let half = [vec![0; 32], vec![1; 32]].concat();
        assert_eq!(operation.finish(half), Err(OperationError::Zero));
    }

    proptest! {
        #[test]
        fn der_is_valid_minimal_and_keeps_both_numbers(
            r in vec(any::<u8>(), 0..=48),
            s in vec(any::<u8>(), 0..=48),
            p384 in any::<bool>(),
        ) {
            let curve = if p384 { Curve::P384 } else { Curve::P256 };
            let pad = |number: &[u8]| {
                let number = &number[..number.len().min(curve.octets())];
                [vec![0; curve.octets() - number.len()], number.to_vec()].concat()
            };
            let (r, s) = (pad(&r), pad(&s));
            let result = ecdsa(curve).finish([r.clone(), s.clone()].concat());
            if r.iter().all(|b| *b == 0) || s.iter().all(|b| *b == 0) {
                prop_assert_eq!(result, Err(OperationError::Zero));
                return Ok(());
            }
            let der = result.unwrap();
            // The strict decoder refuses what is not minimal.
            let value = EcdsaSigValue::from_der(&der).unwrap();
            prop_assert_eq!(value.to_der().unwrap(), der);
            let back = |number: &Uint| pad(number.as_bytes());
            prop_assert_eq!((back(&value.r), back(&value.s)), (r, s));
        }
    }
}
