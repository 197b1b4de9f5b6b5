//! The template of a key that is made in a token, and what the token must say of it afterwards.
//!
//! Whoever makes a key (a ceremony, a development home, a person) makes it by this: it can never leave its token,
//! it signs, and it does nothing else. Without `CKA_MODIFIABLE` false a usage could be switched on later, so it is.

use cryptoki::{
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, MlDsaParameterSetType},
};
use sealwright_identity::KeyType;

use crate::{
    ceremony::Reported,
    error::Error,
    operation::mechanism_for,
    public_key::{ED25519_PARAMS, P256_PARAMS, P384_PARAMS},
};

/// The public exponent F4.
const F4: [u8; 3] = [1, 0, 1];

/// What one half of a key must say of itself: attributes by their names in PKCS#11.
pub type Expected = Vec<(&'static str, String)>;

/// What one half of a key says otherwise than it must; what there is to say of an attribute that it does not tell is asked.
pub fn deviations(
    half: &str,
    reported: &Reported,
    expected: Expected,
    mut not_reported: impl FnMut(&'static str) -> Option<String>,
) -> Vec<String> {
    let odd = expected.into_iter().filter_map(|(name, wanted)| {
        match reported.get(name).and_then(Option::as_deref) {
            Some(found) if found == wanted => None,
            Some(found) => Some(format!("{half} {name} is {found}, not {wanted}")),
            None => not_reported(name),
        }
    });
    odd.collect()
}

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
    pub(crate) fn mechanism(&self) -> Result<Mechanism<'static>, Error> {
        match self.key_type {
            KeyType::P256 | KeyType::P384 => Ok(Mechanism::EccKeyPairGen),
            KeyType::Ed25519 => Ok(Mechanism::EccEdwardsKeyPairGen),
            KeyType::Rsa(2048 | 3072 | 4096) => Ok(Mechanism::RsaPkcsKeyPairGen),
            KeyType::MlDsa65 => Ok(Mechanism::MlDsaKeyPairGen),
            other => Err(Error::KeyTypeUnsupported(other)),
        }
    }

    pub(crate) fn public(&self) -> Vec<Attribute> {
        let parameters = match (curve(self.key_type), self.key_type) {
            (Some(curve), _) => vec![Attribute::EcParams(curve.to_vec())],
            (None, KeyType::Rsa(bits)) => vec![
                Attribute::ModulusBits(u64::from(bits).into()),
                Attribute::PublicExponent(F4.to_vec()),
            ],
            (None, KeyType::MlDsa65) => {
                vec![Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_65.into())]
            }
            (None, _) => Vec::new(),
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

    pub(crate) fn private(&self) -> Vec<Attribute> {
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

    /// What the private half must say: that it was made here and stays here, and what it may be used for.
    pub fn expected_private(&self) -> Expected {
        let (generation, signature) = mechanism_name(self.key_type).unwrap_or_default();
        let mut expected = self.expected_of_both("CKO_PRIVATE_KEY");
        expected.extend([
            ("CKA_PRIVATE", yes()),
            ("CKA_SENSITIVE", yes()),
            ("CKA_ALWAYS_SENSITIVE", yes()),
            ("CKA_EXTRACTABLE", no()),
            ("CKA_NEVER_EXTRACTABLE", yes()),
            ("CKA_LOCAL", yes()),
            ("CKA_KEY_GEN_MECHANISM", generation),
            ("CKA_SIGN", yes()),
            ("CKA_SIGN_RECOVER", no()),
            ("CKA_DECRYPT", no()),
            ("CKA_UNWRAP", no()),
            ("CKA_DERIVE", no()),
        ]);
        if self.restrict {
            expected.push(("CKA_ALLOWED_MECHANISMS", signature));
        }
        expected
    }

    /// What the public half must say, but for the key itself.
    pub fn expected_public(&self) -> Expected {
        let mut expected = self.expected_of_both("CKO_PUBLIC_KEY");
        expected.extend([
            ("CKA_PRIVATE", no()),
            ("CKA_VERIFY", yes()),
            ("CKA_ENCRYPT", no()),
            ("CKA_WRAP", no()),
            ("CKA_DERIVE", no()),
        ]);
        match (curve(self.key_type), self.key_type) {
            (Some(curve), _) => expected.push(("CKA_EC_PARAMS", hex::encode(curve))),
            (None, KeyType::Rsa(_)) => expected.push(("CKA_PUBLIC_EXPONENT", hex::encode(F4))),
            // Its parameter set is asked of both halves.
            (None, _) => {}
        }
        expected
    }

    fn expected_of_both(&self, class: &str) -> Expected {
        let kind = match self.key_type {
            KeyType::P256 | KeyType::P384 => "CKK_EC",
            KeyType::Ed25519 => "CKK_EC_EDWARDS",
            KeyType::Rsa(_) => "CKK_RSA",
            KeyType::MlDsa65 => "CKK_ML_DSA",
        };
        let mut expected = vec![
            ("CKA_CLASS", class.to_owned()),
            ("CKA_KEY_TYPE", kind.to_owned()),
            ("CKA_LABEL", self.label.clone()),
            ("CKA_ID", hex::encode(&self.id)),
            ("CKA_TOKEN", yes()),
            ("CKA_MODIFIABLE", no()),
        ];
        if self.key_type == KeyType::MlDsa65 {
            let set = MlDsaParameterSetType::ML_DSA_65.to_string();
            expected.push(("CKA_PARAMETER_SET", set));
        }
        expected
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
        KeyType::MlDsa65 => MechanismType::ML_DSA_KEY_PAIR_GEN,
    };
    Some((generation.to_string(), mechanism_for(key_type)?.to_string()))
}

/// `CKA_EC_PARAMS` of a key that is on a curve.
const fn curve(key_type: KeyType) -> Option<&'static [u8]> {
    match key_type {
        KeyType::P256 => Some(P256_PARAMS),
        KeyType::P384 => Some(P384_PARAMS),
        KeyType::Ed25519 => Some(ED25519_PARAMS),
        KeyType::Rsa(_) | KeyType::MlDsa65 => None,
    }
}

fn yes() -> String {
    "true".to_owned()
}

fn no() -> String {
    "false".to_owned()
}
