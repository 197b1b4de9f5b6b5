//! A token with somebody logged in, on one session that may write.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use serde::{Deserialize, Serialize};

use super::{
    facts::{self, ObjectSummary, Reported},
    module::sync_softhsm,
};
use crate::{
    error::Error,
    key::{KeyHandle, KeySelector},
    module::ModuleSession,
    operation::Operation,
    order::KeyOrder,
    public_key::LATTICE,
    signable::Signable,
    token::Token,
};

/// `CKA_APPLICATION` of the object that says which ceremony a token has seen.
const APPLICATION: &[u8] = b"sealwright-ceremony";

/// Attributes of private keys that are read back.
pub(crate) const PRIVATE: [AttributeType; 19] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::AlwaysSensitive,
    AttributeType::Extractable,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::KeyGenMechanism,
    AttributeType::Modifiable,
    AttributeType::Sign,
    AttributeType::SignRecover,
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::Derive,
    AttributeType::AllowedMechanisms,
];

/// Attributes of public keys that are read back.
const PUBLIC: [AttributeType; 15] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Modifiable,
    AttributeType::Verify,
    AttributeType::Encrypt,
    AttributeType::Wrap,
    AttributeType::Derive,
    AttributeType::EcParams,
    AttributeType::EcPoint,
    AttributeType::Modulus,
    AttributeType::PublicExponent,
];

/// What is read back besides of an ML-DSA key.
const PRIVATE_LATTICE: [AttributeType; 1] = [AttributeType::ParameterSet];

/// Somebody who is logged in to a token.
#[derive(Debug)]
pub struct Officer {
    /// First, so that it is closed before the login ends.
    session: ModuleSession,
    token: Token,
}

/// How many halves of a key pair a token has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PairCount {
    /// Private keys.
    pub private: usize,
    /// Public keys.
    pub public: usize,
}

impl PairCount {
    /// Whether there is no half at all.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.private == 0 && self.public == 0
    }
}

impl Officer {
    pub(crate) fn new(token: Token, session: ModuleSession) -> Self {
        Self { session, token }
    }

    /// Random bytes from the token (`C_GenerateRandom`).
    ///
    /// # Errors
    /// The token fails.
    pub fn random(&self, octets: u32) -> Result<Vec<u8>, Error> {
        self.session
            .call("C_GenerateRandom", |session| session.generate_random_vec(octets))
            .map_err(Error::call("drawing random bytes"))
    }

    /// The marks of ceremonies on the token: label and value.
    ///
    /// # Errors
    /// The token fails.
    pub fn marks(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        marks(&self.session)
    }

    /// Writes the mark of a ceremony (`C_CreateObject`). It is private and cannot be changed, only destroyed.
    ///
    /// # Errors
    /// The token fails.
    pub fn mark(&self, label: &str, value: &[u8]) -> Result<(), Error> {
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Modifiable(false),
            Attribute::Application(APPLICATION.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Value(value.to_vec()),
        ];
        self.session
            .call("C_CreateObject", |session| session.create_object(&template))
            .map_err(Error::call("writing the ceremony's mark"))?;
        sync_softhsm()
    }

    /// How many keys have this label, this id, or both.
    ///
    /// # Errors
    /// The token fails.
    pub fn count(&self, label: Option<&str>, id: Option<&[u8]>) -> Result<PairCount, Error> {
        let of = |class| self.find(&template(class, label, id)).map(|found| found.len());
        Ok(PairCount {
            private: of(ObjectClass::PRIVATE_KEY)?,
            public: of(ObjectClass::PUBLIC_KEY)?,
        })
    }

    /// Makes a key pair (`C_GenerateKeyPair`).
    ///
    /// # Errors
    /// The token refuses.
    pub fn generate(&self, order: &KeyOrder) -> Result<(), Error> {
        let mechanism = order.mechanism()?;
        let (public, private) = (order.public(), order.private());
        self.session
            .call("C_GenerateKeyPair", |session| {
                session.generate_key_pair(&mechanism, &public, &private)
            })
            .map_err(Error::call("generating a key"))?;
        sync_softhsm()
    }

    /// Destroys every half of a key pair with this label and id (`C_DestroyObject`), and says how many there were.
    ///
    /// # Errors
    /// The token refuses; what was destroyed before stays destroyed.
    pub fn destroy_pair(&self, label: &str, id: &[u8]) -> Result<PairCount, Error> {
        let of = |class| -> Result<usize, Error> {
            let found = self.find(&template(class, Some(label), Some(id)))?;
            for object in &found {
                self.session
                    .call("C_DestroyObject", |session| session.destroy_object(*object))
                    .map_err(Error::call("destroying half of a key pair"))?;
            }
            Ok(found.len())
        };
        let count = PairCount {
            private: of(ObjectClass::PRIVATE_KEY)?,
            public: of(ObjectClass::PUBLIC_KEY)?,
        };
        sync_softhsm()?;
        Ok(count)
    }

    /// The attributes of the private and of the public half of a key pair, each of which must be there once.
    ///
    /// # Errors
    /// There is none or more than one, or the token fails.
    pub fn read_pair(&self, label: &str, id: &[u8]) -> Result<(Reported, Reported), Error> {
        let of = |class, wanted: &[AttributeType], lattice: &[AttributeType]| {
            let found = self.find(&template(class, Some(label), Some(id)))?;
            let selector = || format!("{label} ({class})");
            match found.as_slice() {
                [object] => {
                    let mut told = facts::read(&self.session, *object, wanted)?;
                    let kind = told.get("CKA_KEY_TYPE").cloned().flatten();
                    if kind.is_some_and(|kind| kind == KeyType::ML_DSA.to_string()) {
                        told.extend(facts::read(&self.session, *object, lattice)?);
                    }
                    Ok(told)
                }
                [] => Err(Error::KeyAbsent { selector: selector() }),
                several => Err(Error::KeyAmbiguous {
                    selector: selector(),
                    count: several.len(),
                }),
            }
        };
        Ok((
            of(ObjectClass::PRIVATE_KEY, &PRIVATE, &PRIVATE_LATTICE)?,
            of(ObjectClass::PUBLIC_KEY, &PUBLIC, &LATTICE)?,
        ))
    }

    /// An attribute of the vendor's own (`0x80000000` and above) of a private key, as it stands there; none when the
    /// token does not tell it.
    ///
    /// # Errors
    /// The key is not there once, the value is longer than `most` octets, or the token fails.
    pub fn vendor_attribute(
        &self,
        label: &str,
        id: &[u8],
        kind: u32,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let class = ObjectClass::PRIVATE_KEY;
        let found = self.find(&template(class, Some(label), Some(id)))?;
        let selector = || format!("{label} ({class})");
        match found.as_slice() {
            [object] => facts::vendor(&self.session, *object, kind, most),
            [] => Err(Error::KeyAbsent { selector: selector() }),
            several => Err(Error::KeyAmbiguous {
                selector: selector(),
                count: several.len(),
            }),
        }
    }

    /// The key with this label and id.
    ///
    /// # Errors
    /// It is not there once, or cannot be used.
    pub fn key(&self, label: &str, id: &[u8]) -> Result<KeyHandle, Error> {
        let selector = KeySelector::new(Some(label.to_owned()), Some(id.to_vec()))?;
        self.token.find_unclaimed(&selector)
    }

    /// Signs (`C_SignInit`, `C_Sign`). The answer is as X.509 holds it: DER for ECDSA. It is not verified here.
    ///
    /// # Errors
    /// The algorithm in the structure is not the key's, or the token fails.
    pub fn sign(&self, key: &KeyHandle, what: &Signable) -> Result<Vec<u8>, Error> {
        let able = sealwright_x509::SignatureAlgorithm::for_ca_key(key.key_type());
        if what.algorithm() != Some(able) {
            return Err(Error::KeyTypeUnsupported(key.key_type()));
        }
        sign(&self.token, &self.session, key, what)
    }

    /// Every object that this login can see, sorted.
    ///
    /// # Errors
    /// The token fails.
    pub fn inventory(&self) -> Result<Vec<ObjectSummary>, Error> {
        let mut all = Vec::new();
        for object in self.find(&[Attribute::Token(true)])? {
            let wanted = [AttributeType::Class, AttributeType::Label, AttributeType::Id];
            let mut told = facts::read(&self.session, object, &wanted)?;
            let mut of = |name: AttributeType| told.remove(&name.to_string()).flatten();
            all.push(ObjectSummary {
                class: of(AttributeType::Class).unwrap_or_else(|| "not reported".to_owned()),
                label: of(AttributeType::Label),
                id: of(AttributeType::Id),
            });
        }
        all.sort();
        Ok(all)
    }

    fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Error> {
        find(&self.session, template)
    }
}

/// Signs what the key is for (`C_SignInit`, `C_Sign`). The answer is as X.509 holds it; it is not verified here.
pub(crate) fn sign(
    token: &Token,
    session: &ModuleSession,
    key: &KeyHandle,
    what: &Signable,
) -> Result<Vec<u8>, Error> {
    let odd = |reason: String| Error::Signature { reason };
    if what.purpose() != key.purpose() {
        return Err(odd("the key is for something else".to_owned()));
    }
    let operation = Operation::new(key.key_type(), what.message()).map_err(|error| odd(error.to_string()))?;
    let resolved = token.resolve(key, session)?;
    let raw = session
        .call("C_Sign", |session| {
            session.sign(&operation.mechanism(), resolved.handle, operation.input())
        })
        .map_err(Error::call("signing"))?;
    operation.finish(raw).map_err(|error| odd(error.to_string()))
}

/// The marks of ceremonies on a token: label and value.
pub(crate) fn marks(session: &ModuleSession) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut marks = Vec::new();
    let template = [
        Attribute::Class(ObjectClass::DATA),
        Attribute::Application(APPLICATION.to_vec()),
    ];
    for object in find(session, &template)? {
        let (mut label, mut value) = (String::new(), Vec::new());
        let told = session
            .call("C_GetAttributeValue", |session| {
                session.get_attributes(object, &[AttributeType::Label, AttributeType::Value])
            })
            .map_err(Error::call("reading attributes"))?;
        for attribute in told {
            match attribute {
                Attribute::Label(bytes) => label = String::from_utf8_lossy(&bytes).into_owned(),
                Attribute::Value(bytes) => value = bytes,
                _ => {}
            }
        }
        marks.push((label, value));
    }
    marks.sort();
    Ok(marks)
}

fn find(session: &ModuleSession, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Error> {
    session
        .call("C_FindObjects", |session| session.find_objects(template))
        .map_err(Error::call("looking for objects"))
}

fn template(class: ObjectClass, label: Option<&str>, id: Option<&[u8]>) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(label.map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(id.map(|id| Attribute::Id(id.to_vec())));
    template
}
