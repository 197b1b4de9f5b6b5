//! The template of a key that a ceremony makes.

use cryptoki::{
    mechanism::{Mechanism, MechanismType},
    object::Attribute,
};
use sealwright_identity::KeyType;

use crate::{
    error::Error,
    operation::mechanism_for,
    public_key::{ED25519_PARAMS, P256_PARAMS, P384_PARAMS},
};

/// The public exponent F4.
const F4: [u8; 3] = [1, 0, 1];

/// A key pair to be made in a token. It can never leave it, signs, and does nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyOrder {
    /// `CKA_LABEL` of both halves.
    pub label: String,
    /// `CKA_ID` of both halves, drawn before.
    pub id: Vec<u8>,
    /// Kind and size.
    pub key_type: KeyType,
    /// Whether `CKA_ALLOWED_MECHANISMS` limits it to the one mechanism that we sign with.
    pub restrict: bool,
}

impl KeyOrder {
    pub(super) fn mechanism(&self) -> Result<Mechanism<'static>, Error> {
        match self.key_type {
            KeyType::P256 | KeyType::P384 => Ok(Mechanism::EccKeyPairGen),
            KeyType::Ed25519 => Ok(Mechanism::EccEdwardsKeyPairGen),
            KeyType::Rsa(2048 | 3072 | 4096) => Ok(Mechanism::RsaPkcsKeyPairGen),
            other => Err(Error::KeyTypeUnsupported(other)),
        }
    }

    pub(super) fn public(&self) -> Vec<Attribute> {
        let parameters = match self.key_type {
            KeyType::P256 => vec![Attribute::EcParams(P256_PARAMS.to_vec())],
            KeyType::P384 => vec![Attribute::EcParams(P384_PARAMS.to_vec())],
            KeyType::Ed25519 => vec![Attribute::EcParams(ED25519_PARAMS.to_vec())],
            KeyType::Rsa(bits) => vec![
                Attribute::ModulusBits(u64::from(bits).into()),
                Attribute::PublicExponent(F4.to_vec()),
            ],
        };
        let mut template = self.name();
        template.extend(parameters);
        template.extend([
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::Encrypt(false),
            Attribute::Wrap(false),
            Attribute::Derive(false),
        ]);
        template
    }

    pub(super) fn private(&self) -> Vec<Attribute> {
        let mut template = self.name();
        template.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::SignRecover(false),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
        ]);
        if let Some(mechanism) = mechanism_for(self.key_type).filter(|_| self.restrict) {
            template.push(Attribute::AllowedMechanisms(vec![mechanism]));
        }
        template
    }

    fn name(&self) -> Vec<Attribute> {
        vec![
            Attribute::Token(true),
            Attribute::Label(self.label.clone().into_bytes()),
            Attribute::Id(self.id.clone()),
            // Else a usage could be switched on later.
            Attribute::Modifiable(false),
        ]
    }
}

/// The names of the mechanisms that make a key of this type and sign with it; none if it is not made here.
pub fn mechanism_name(key_type: KeyType) -> Option<(String, String)> {
    let generation = match key_type {
        KeyType::P256 | KeyType::P384 => MechanismType::ECC_KEY_PAIR_GEN,
        KeyType::Ed25519 => MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
        KeyType::Rsa(_) => MechanismType::RSA_PKCS_KEY_PAIR_GEN,
    };
    Some((generation.to_string(), mechanism_for(key_type)?.to_string()))
}
