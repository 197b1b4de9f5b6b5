//! What tokens and objects say of themselves, as texts that a transcript can hold.

use std::{collections::BTreeMap, ffi::c_ulong};

use cryptoki::{
    object::{Attribute, AttributeInfo, AttributeType, MlDsaParameterSetType, ObjectHandle},
    slot::TokenInfo as RawTokenInfo,
};
use serde::{Deserialize, Serialize};

use crate::{error::Error, module::ModuleSession};

/// What a token tells without a login.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFacts {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its hardware's version.
    pub hardware: String,
    /// Its firmware's version.
    pub firmware: String,
    /// The module's own description and version.
    pub library: String,
    /// `CKF_PROTECTED_AUTHENTICATION_PATH`: the PIN is typed at the token.
    pub protected_path: bool,
    /// `CKF_WRITE_PROTECTED`.
    pub write_protected: bool,
    /// `CKF_USER_PIN_INITIALIZED`.
    pub user_pin_set: bool,
    /// Free room for private objects, in bytes; none when it does not tell.
    pub free_private_bytes: Option<u64>,
    /// The names of its mechanisms.
    pub mechanisms: Vec<String>,
}

impl TokenFacts {
    pub(super) fn of(token: &RawTokenInfo, library: String, mechanisms: Vec<String>) -> Self {
        let bytes = token.free_private_memory();
        Self {
            label: token.label().to_owned(),
            serial: token.serial_number().to_owned(),
            manufacturer: token.manufacturer_id().to_owned(),
            model: token.model().to_owned(),
            hardware: token.hardware_version().to_string(),
            firmware: token.firmware_version().to_string(),
            library,
            protected_path: token.protected_authentication_path(),
            write_protected: token.write_protected(),
            user_pin_set: token.user_pin_initialized(),
            free_private_bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            mechanisms,
        }
    }
}

/// An object's attributes by their names in PKCS#11; none where the token does not tell.
pub type Reported = BTreeMap<String, Option<String>>;

/// One object of a token.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectSummary {
    /// `CKO_…`.
    pub class: String,
    /// `CKA_LABEL`, what is not text replaced.
    pub label: Option<String>,
    /// `CKA_ID`, in hexadecimal digits.
    pub id: Option<String>,
}

/// Asks for each attribute alone: a token that has not one of them must not hide, or zero, the others.
pub(crate) fn read(
    session: &ModuleSession,
    object: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Reported, Error> {
    let mut reported = Reported::new();
    for kind in wanted {
        reported.insert(kind.to_string(), one(session, object, *kind)?);
    }
    Ok(reported)
}

fn one(session: &ModuleSession, object: ObjectHandle, kind: AttributeType) -> Result<Option<String>, Error> {
    let ask = |kind| {
        session.call("C_GetAttributeValue", |session| {
            session.get_attribute_info(object, &[kind])
        })
    };
    let told = match ask(kind) {
        Ok(told) => told,
        // An attribute that a module always fails on is one that it does not tell, as long as it tells others: p11-kit
        // 0.24 answers so for CKA_ALLOWED_MECHANISMS. A token that is gone tells nothing.
        Err(error) => match (ask(AttributeType::Class), ask(kind)) {
            (Ok(_), Ok(told)) => told,
            (Ok(_), Err(_)) => return Ok(None),
            (Err(_), _) => return Err(Error::call("asking for an attribute")(error)),
        },
    };
    if !matches!(told.as_slice(), [AttributeInfo::Available(_)]) {
        return Ok(None);
    }
    let read = session.call("C_GetAttributeValue", |session| {
        session.get_attributes(object, &[kind])
    });
    // A value that the binding cannot read is one that nobody may rely on.
    Ok(read.ok().and_then(|values| text(values.first()?)))
}

/// An attribute that only its vendor knows, as bytes of a bounded length.
pub(super) fn vendor(
    session: &ModuleSession,
    object: ObjectHandle,
    kind: u32,
    most: usize,
) -> Result<Option<Vec<u8>>, Error> {
    const DOING: &str = "asking for a vendor's attribute";
    let Ok(wanted @ AttributeType::VendorDefined(_)) = AttributeType::try_from(c_ulong::from(kind)) else {
        return Ok(None);
    };
    let told = session
        .call("C_GetAttributeValue", |session| {
            session.get_attribute_info(object, &[wanted])
        })
        .map_err(Error::call(DOING))?;
    let fits = |octets: usize| match octets {
        octets if octets > most => Err(Error::AttributeTooLong { kind, octets, most }),
        _ => Ok(()),
    };
    match told.as_slice() {
        [AttributeInfo::Available(octets)] => fits(*octets)?,
        _ => return Ok(None),
    }
    let read = session
        .call("C_GetAttributeValue", |session| {
            session.get_attributes(object, &[wanted])
        })
        .map_err(Error::call(DOING))?;
    match read.into_iter().next() {
        Some(Attribute::VendorDefined((_, bytes))) => fits(bytes.len()).map(|()| Some(bytes)),
        _ => Ok(None),
    }
}

pub(super) fn text(attribute: &Attribute) -> Option<String> {
    Some(match attribute {
        Attribute::AlwaysAuthenticate(flag)
        | Attribute::AlwaysSensitive(flag)
        | Attribute::Copyable(flag)
        | Attribute::Decrypt(flag)
        | Attribute::Derive(flag)
        | Attribute::Destroyable(flag)
        | Attribute::Encrypt(flag)
        | Attribute::Extractable(flag)
        | Attribute::Local(flag)
        | Attribute::Modifiable(flag)
        | Attribute::NeverExtractable(flag)
        | Attribute::Private(flag)
        | Attribute::Sensitive(flag)
        | Attribute::Sign(flag)
        | Attribute::SignRecover(flag)
        | Attribute::Token(flag)
        | Attribute::Trusted(flag)
        | Attribute::Unwrap(flag)
        | Attribute::Verify(flag)
        | Attribute::VerifyRecover(flag)
        | Attribute::Wrap(flag)
        | Attribute::WrapWithTrusted(flag) => flag.to_string(),
        Attribute::Class(class) => class.to_string(),
        Attribute::KeyType(kind) => kind.to_string(),
        // Its number means something for a kind of key only, which is told beside: no other kind is made here.
        Attribute::ParameterSet(set) => MlDsaParameterSetType::from(*set).to_string(),
        Attribute::KeyGenMechanism(mechanism) => mechanism.to_string(),
        Attribute::AllowedMechanisms(mechanisms) => {
            let mut names: Vec<_> = mechanisms.iter().map(ToString::to_string).collect();
            names.sort();
            names.join(" ")
        }
        Attribute::Label(bytes) | Attribute::Application(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Attribute::Id(bytes)
        | Attribute::EcParams(bytes)
        | Attribute::EcPoint(bytes)
        | Attribute::Modulus(bytes)
        | Attribute::PublicExponent(bytes)
        // Asked for of ML-DSA public keys alone.
        | Attribute::Value(bytes)
        | Attribute::PublicKeyInfo(bytes) => hex::encode(bytes),
        _ => return None,
    })
}
