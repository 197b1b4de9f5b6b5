//! A key for one signature: what the real key is going to sign is signed by it first, to be linted whole.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use sealwright_identity::KeyType;

use crate::error::Error;

/// A signature by a key of the same kind that nobody has any more.
pub(crate) struct Throwaway {
    pub(crate) spki: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// Makes a key, signs, and forgets it.
pub(crate) fn sign(key_type: KeyType, message: &[u8]) -> Result<Throwaway, Error> {
    signed(key_type, message).ok_or_else(|| Error::Internal("no throwaway key can be made".to_owned()))
}

fn signed(key_type: KeyType, message: &[u8]) -> Option<Throwaway> {
    let random = SystemRandom::new();
    let (spki, signature) = match key_type {
        KeyType::P256 | KeyType::P384 => {
            let algorithm = match key_type {
                KeyType::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
                _ => &ECDSA_P384_SHA384_ASN1_SIGNING,
            };
            let pair = EcdsaKeyPair::generate(algorithm).ok()?;
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
            (
                spki.as_ref().to_vec(),
                pair.sign(&random, message).ok()?.as_ref().to_vec(),
            )
        }
        KeyType::Ed25519 => {
            let pair = Ed25519KeyPair::generate().ok()?;
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
            (spki.as_ref().to_vec(), pair.sign(message).as_ref().to_vec())
        }
        KeyType::MlDsa65 => {
            let pair = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).ok()?;
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
            let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
            pair.sign(message, &mut signature).ok()?;
            (spki.as_ref().to_vec(), signature)
        }
        KeyType::Rsa(bits) => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                _ => return None,
            };
            let pair = RsaKeyPair::generate(size).ok()?;
            let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                .ok()?;
            (spki.as_ref().to_vec(), signature)
        }
    };
    Some(Throwaway { spki, signature })
}
