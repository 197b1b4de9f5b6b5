//! Private keys in a token: chosen by label and id, found once, and known by
//! their public key from then on.
//!
//! A handle number is worth nothing after a lost login. So a [`KeyHandle`] is
//! the key's identity (label, id, public key), and the number that the module
//! gave it is kept with the epoch of the login it belongs to.

use std::{fmt, str::FromStr, sync::Arc};

use cryptoki::object::{Attribute, AttributeType, KeyType as KeyKind, ObjectClass, ObjectHandle};
use parking_lot::Mutex;
use sealwright_identity::KeyType;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    module::ModuleSession,
    public_key::{self, PublicKey, PublicKeyError},
    statement,
    uri::{ObjectType, Pkcs11Uri, UriError},
};

/// Which private key of the token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Pkcs11Uri", into = "Pkcs11Uri")]
pub struct KeySelector {
    label: Option<String>,
    id: Option<Vec<u8>>,
}

impl KeySelector {
    pub(crate) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    pub(crate) fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// By label, id or both.
    ///
    /// # Errors
    /// Neither is given.
    pub fn new(label: Option<String>, id: Option<Vec<u8>>) -> Result<Self, Error> {
        let label = label.filter(|label| !label.is_empty());
        let id = id.filter(|id| !id.is_empty());
        match (&label, &id) {
            (None, None) => Err(Error::KeySelector),
            _ => Ok(Self { label, id }),
        }
    }

    fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
        if let Some(label) = &self.label {
            template.push(Attribute::Label(label.clone().into_bytes()));
        }
        if let Some(id) = &self.id {
            template.push(Attribute::Id(id.clone()));
        }
        template
    }
}

impl TryFrom<Pkcs11Uri> for KeySelector {
    type Error = Error;

    fn try_from(uri: Pkcs11Uri) -> Result<Self, Error> {
        match uri.object_type {
            None | Some(ObjectType::Private) => Self::new(uri.object, uri.id),
            Some(_) => Err(Error::KeySelector),
        }
    }
}

impl From<KeySelector> for Pkcs11Uri {
    fn from(selector: KeySelector) -> Self {
        Self {
            object: selector.label,
            id: selector.id,
            ..Self::default()
        }
    }
}

/// A text is no URI, or the URI names no private key.
#[derive(Debug, thiserror::Error)]
#[error("a key is named by a URI such as `pkcs11:object=issuing;id=%01`")]
pub struct KeySelectorError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl From<UriError> for KeySelectorError {
    fn from(error: UriError) -> Self {
        Self {
            source: Box::new(error),
        }
    }
}

impl From<Error> for KeySelectorError {
    fn from(error: Error) -> Self {
        Self {
            source: Box::new(error),
        }
    }
}

impl FromStr for KeySelector {
    type Err = KeySelectorError;

    fn from_str(text: &str) -> Result<Self, KeySelectorError> {
        Ok(Self::try_from(text.parse::<Pkcs11Uri>()?)?)
    }
}

impl fmt::Display for KeySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Pkcs11Uri::from(self.clone()).fmt(f)
    }
}

/// What a key may sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyPurpose {
    /// Certificates and certification requests.
    Issuing,
    /// Health probes, and nothing else.
    Health,
    /// Statements of a person, and nothing else.
    Statement,
}

/// What the token says about how a private key is guarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct KeyProtection {
    /// `CKA_SENSITIVE`: its value cannot be read.
    pub sensitive: bool,
    /// `CKA_EXTRACTABLE`: it can leave the token wrapped.
    pub extractable: bool,
    /// `CKA_LOCAL`: it was generated in the token. NSS says no for all keys.
    pub local: bool,
}

/// A private key of an open token. Cheap to clone.
#[derive(Clone)]
pub struct KeyHandle(Arc<Inner>);

struct Inner {
    /// The number of the open token that it is a key of.
    token: u64,
    selector: KeySelector,
    public: PublicKey,
    purpose: KeyPurpose,
    protection: KeyProtection,
    resolved: Mutex<Resolved>,
}

/// The module's number for the key, and the login it is good for.
#[derive(Clone, Copy)]
pub(crate) struct Resolved {
    pub(crate) epoch: u64,
    pub(crate) handle: ObjectHandle,
}

impl KeyHandle {
    /// The public key, as `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.public.spki_der
    }

    /// Its kind and size.
    pub fn key_type(&self) -> KeyType {
        self.0.public.key_type
    }

    /// What it may sign.
    pub fn purpose(&self) -> KeyPurpose {
        self.0.purpose
    }

    /// How the token guards it.
    pub fn protection(&self) -> KeyProtection {
        self.0.protection
    }

    /// Its label and id as the token has them.
    pub fn selector(&self) -> &KeySelector {
        &self.0.selector
    }

    pub(crate) fn resolved(&self) -> Resolved {
        *self.0.resolved.lock()
    }

    pub(crate) fn token(&self) -> u64 {
        self.0.token
    }

    /// Finds the key with a session of its token and remembers its number.
    pub(crate) fn find(
        session: &ModuleSession,
        (token, epoch): (u64, u64),
        selector: &KeySelector,
        purpose: KeyPurpose,
    ) -> Result<Self, Error> {
        let handle = find_one(session, selector)?;
        let private = read_private(session, handle, selector)?;
        statement::check_use(&private.exact, purpose)?;
        let public = read_public(session, handle, &private.exact, selector)?;
        Ok(Self(Arc::new(Inner {
            token,
            selector: private.exact,
            public,
            purpose,
            protection: private.protection,
            resolved: Mutex::new(Resolved { epoch, handle }),
        })))
    }

    /// Finds the key again after its number went bad, and makes sure that it
    /// is still the same key.
    pub(crate) fn find_again(&self, session: &ModuleSession, epoch: u64) -> Result<Resolved, Error> {
        let selector = &self.0.selector;
        let handle = find_one(session, selector)?;
        if read_public(session, handle, selector, selector)? != self.0.public {
            return Err(Error::KeyChanged {
                selector: selector.to_string(),
            });
        }
        let found = Resolved { epoch, handle };
        let mut resolved = self.0.resolved.lock();
        if resolved.epoch <= epoch {
            *resolved = found;
        }
        Ok(found)
    }
}

impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHandle")
            .field("selector", &self.0.selector.to_string())
            .field("key_type", &self.key_type())
            .field("purpose", &self.0.purpose)
            .finish_non_exhaustive()
    }
}

/// How many private keys fit.
pub(crate) fn count(session: &ModuleSession, selector: &KeySelector) -> Result<usize, Error> {
    Ok(objects(session, selector, ObjectClass::PRIVATE_KEY)?.len())
}

fn find_one(session: &ModuleSession, selector: &KeySelector) -> Result<ObjectHandle, Error> {
    let found = objects(session, selector, ObjectClass::PRIVATE_KEY)?;
    match found.as_slice() {
        [handle] => Ok(*handle),
        [] => Err(Error::KeyAbsent {
            selector: selector.to_string(),
        }),
        several => Err(Error::KeyAmbiguous {
            selector: selector.to_string(),
            count: several.len(),
        }),
    }
}

fn objects(
    session: &ModuleSession,
    selector: &KeySelector,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, Error> {
    let template = selector.template(class);
    session
        .call("C_FindObjects", |session| session.find_objects(&template))
        .map_err(Error::call("looking for a key"))
}

fn attributes(
    session: &ModuleSession,
    handle: ObjectHandle,
    types: &[AttributeType],
) -> Result<Vec<Attribute>, Error> {
    session
        .call("C_GetAttributeValue", |session| {
            session.get_attributes(handle, types)
        })
        .map_err(Error::call("reading a key's attributes"))
}

struct Private {
    /// Label and id as they are, so that the key is found again by both.
    exact: KeySelector,
    protection: KeyProtection,
}

fn read_private(
    session: &ModuleSession,
    handle: ObjectHandle,
    selector: &KeySelector,
) -> Result<Private, Error> {
    let types = [
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Local,
    ];
    let (mut label, mut id) = (None, None);
    let (mut may_sign, mut always_authenticate) = (true, false);
    let mut protection = KeyProtection {
        sensitive: false,
        extractable: true,
        local: false,
    };
    for attribute in attributes(session, handle, &types)? {
        match attribute {
            Attribute::Label(value) => label = String::from_utf8(value).ok(),
            Attribute::Id(value) => id = Some(value),
            Attribute::Sign(value) => may_sign = value,
            Attribute::AlwaysAuthenticate(value) => always_authenticate = value,
            Attribute::Sensitive(value) => protection.sensitive = value,
            Attribute::Extractable(value) => protection.extractable = value,
            Attribute::Local(value) => protection.local = value,
            _ => {}
        }
    }
    if always_authenticate {
        return Err(Error::KeyAlwaysAuthenticate {
            selector: selector.to_string(),
        });
    }
    if !may_sign {
        return Err(Error::KeyNotForSigning {
            selector: selector.to_string(),
        });
    }
    let exact = KeySelector::new(label, id).unwrap_or_else(|_| selector.clone());
    Ok(Private { exact, protection })
}

/// The public key object with the same label and id; failing that the one with
/// the same id; failing that what the private key tells (RSA keys do).
fn read_public(
    session: &ModuleSession,
    private: ObjectHandle,
    exact: &KeySelector,
    selector: &KeySelector,
) -> Result<PublicKey, Error> {
    let unusable = |source| Error::KeyPublic {
        selector: selector.to_string(),
        source,
    };
    let mut found = objects(session, exact, ObjectClass::PUBLIC_KEY)?;
    if found.is_empty() && exact.id.is_some() {
        let by_id = KeySelector {
            label: None,
            id: exact.id.clone(),
        };
        found = objects(session, &by_id, ObjectClass::PUBLIC_KEY)?;
    }
    let source = match found.as_slice() {
        [public] => *public,
        [] => private,
        several => {
            return Err(unusable(PublicKeyError::Unsupported(format!(
                "{} public keys of that name",
                several.len()
            ))));
        }
    };
    let mut attributes = attributes(session, source, &public_key::ATTRIBUTES)?;
    if source != private && attributes.contains(&Attribute::KeyType(KeyKind::ML_DSA)) {
        attributes.extend(self::attributes(session, source, &public_key::LATTICE)?);
    }
    PublicKey::from_attributes(&attributes).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_uri_with_a_label_or_an_id() {
        let selector: KeySelector = "pkcs11:object=issuing;id=%01;type=private".parse().unwrap();
        assert_eq!(selector.to_string(), "pkcs11:object=issuing;id=%01");
        for refused in [
            "pkcs11:",
            "pkcs11:token=a",
            "pkcs11:object=",
            "pkcs11:object=a;type=cert",
            "object=a",
        ] {
            assert!(refused.parse::<KeySelector>().is_err(), "{refused}");
        }
    }
}
