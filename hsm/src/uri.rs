//! PKCS#11 URIs (RFC 7512).
//!
//! A URI names a token or a key. This parser takes the path attributes of
//! section 2.3 and of the query attributes none: a PIN in a URI ends up in
//! configuration files, process lists and logs, and the module is named by its
//! own setting, so both are refused with a text that says where they belong.
//! An attribute that is not known is refused too, because to ignore it could
//! match more objects than the author meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Longest URI that is read, in bytes, as it stands and as `Display` writes it.
const MAX_BYTES: usize = 4096;

/// Why a text is not a usable PKCS#11 URI.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UriError {
    /// The scheme is missing.
    #[error("a PKCS#11 URI starts with `pkcs11:`")]
    Scheme,
    /// Longer than 4096 bytes.
    #[error("the URI is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not `name=value`. Which part it is goes untold: it may be a PIN.
    #[error("a part of it is not of the form name=value")]
    NotAPair,
    /// A path attribute that is given twice (section 2.3 forbids it).
    #[error("the attribute `{0}` is given twice")]
    Twice(String),
    /// An attribute this program does not know.
    #[error("the attribute `{0}` is not known")]
    Unknown(String),
    /// A query attribute that belongs into a setting of its own.
    #[error("`{name}` does not belong into the URI: use the setting `{instead}`")]
    Elsewhere {
        /// The attribute.
        name: String,
        /// The setting that takes its place.
        instead: &'static str,
    },
    /// A character that section 2.3 wants percent-encoded, or a broken `%`.
    #[error("the value of `{0}` has a character that must be percent-encoded")]
    Encoding(String),
    /// Text attributes are UTF-8.
    #[error("the value of `{0}` is not UTF-8")]
    NotUtf8(String),
    /// `slot-id` that is not a number, `type` that is none of the five.
    #[error("the value of `{0}` is not one of those allowed")]
    Value(String),
}

/// The `type` attribute.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ObjectType {
    /// `public`
    Public,
    /// `private`
    Private,
    /// `cert`
    Certificate,
    /// `secret-key`
    SecretKey,
    /// `data`
    Data,
}

impl ObjectType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Certificate => "cert",
            Self::SecretKey => "secret-key",
            Self::Data => "data",
        }
    }
}

/// A parsed PKCS#11 URI: what is `None` matches everything.
///
/// `Display` writes the attributes in one fixed order, so that equal values
/// have equal texts.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Pkcs11Uri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The module's manufacturer.
    pub library_manufacturer: Option<String>,
    /// The module's description.
    pub library_description: Option<String>,
    /// The module's version, `major` or `major.minor`.
    pub library_version: Option<String>,
    /// The slot's description.
    pub slot_description: Option<String>,
    /// The slot's manufacturer.
    pub slot_manufacturer: Option<String>,
    /// The slot's number.
    pub slot_id: Option<u64>,
    /// `CKA_LABEL` of the object.
    pub object: Option<String>,
    /// `CKA_CLASS` of the object.
    pub object_type: Option<ObjectType>,
    /// `CKA_ID` of the object.
    pub id: Option<Vec<u8>>,
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > MAX_BYTES {
            return Err(UriError::TooLong);
        }
        let rest = match text.split_at_checked("pkcs11:".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11:") => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        if let Some(pair) = query.and_then(|query| query.split('&').next()) {
            return Err(refuse_query(pair));
        }
        let mut uri = Self::default();
        if !path.is_empty() {
            for pair in path.split(';') {
                uri.take(pair)?;
            }
        }
        // Written in full, an `id` takes three times the space: what is read can be written and read.
        if uri.to_string().len() > MAX_BYTES {
            return Err(UriError::TooLong);
        }
        Ok(uri)
    }
}

impl Pkcs11Uri {
    fn take(&mut self, pair: &str) -> Result<(), UriError> {
        let (name, value) = pair.split_once('=').ok_or(UriError::NotAPair)?;
        let bytes = decode(name, value)?;
        match name {
            "id" => set(&mut self.id, name, bytes),
            "type" => set(&mut self.object_type, name, object_type(&bytes)?),
            "slot-id" => set(&mut self.slot_id, name, slot_id(&bytes)?),
            "library-version" => {
                let version = utf8(name, bytes)?;
                let number = |part: &str| {
                    !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())
                };
                let valid = match version.split_once('.') {
                    Some((major, minor)) => number(major) && number(minor),
                    None => number(&version),
                };
                if !valid {
                    return Err(UriError::Value(name.to_owned()));
                }
                set(&mut self.library_version, name, version)
            }
            _ => {
                let place = match name {
                    "token" => &mut self.token,
                    "manufacturer" => &mut self.manufacturer,
                    "serial" => &mut self.serial,
                    "model" => &mut self.model,
                    "library-manufacturer" => &mut self.library_manufacturer,
                    "library-description" => &mut self.library_description,
                    "slot-description" => &mut self.slot_description,
                    "slot-manufacturer" => &mut self.slot_manufacturer,
                    "object" => &mut self.object,
                    _ => return Err(UriError::Unknown(name.to_owned())),
                };
                set(place, name, utf8(name, bytes)?)
            }
        }
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot_id = self.slot_id.map(|id| id.to_string());
        let kind = self.object_type.map(ObjectType::as_str);
        let text = |value: &'_ Option<String>| value.as_ref().map(|v| v.clone().into_bytes());
        let pairs = [
            ("token", text(&self.token)),
            ("manufacturer", text(&self.manufacturer)),
            ("serial", text(&self.serial)),
            ("model", text(&self.model)),
            ("library-manufacturer", text(&self.library_manufacturer)),
            ("library-description", text(&self.library_description)),
            ("library-version", text(&self.library_version)),
            ("slot-description", text(&self.slot_description)),
            ("slot-manufacturer", text(&self.slot_manufacturer)),
            ("slot-id", text(&slot_id)),
            ("object", text(&self.object)),
            ("type", kind.map(|kind| kind.as_bytes().to_vec())),
            ("id", self.id.clone()),
        ];
        f.write_str("pkcs11:")?;
        let mut separator = "";
        for (name, value) in pairs {
            let Some(value) = value else { continue };
            write!(f, "{separator}{name}=")?;
            encode(f, name, &value)?;
            separator = ";";
        }
        Ok(())
    }
}

impl Serialize for Pkcs11Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pkcs11Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

fn refuse_query(pair: &str) -> UriError {
    let name = pair.split('=').next().unwrap_or_default().to_owned();
    let instead = match name.as_str() {
        "pin-value" | "pin-source" => "pin_file",
        "module-path" | "module-name" => "module",
        _ => return UriError::Unknown(name),
    };
    UriError::Elsewhere { name, instead }
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice(name.to_owned())),
    }
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, UriError> {
    String::from_utf8(bytes).map_err(|_| UriError::NotUtf8(name.to_owned()))
}

fn object_type(bytes: &[u8]) -> Result<ObjectType, UriError> {
    match bytes {
        b"public" => Ok(ObjectType::Public),
        b"private" => Ok(ObjectType::Private),
        b"cert" => Ok(ObjectType::Certificate),
        b"secret-key" => Ok(ObjectType::SecretKey),
        b"data" => Ok(ObjectType::Data),
        _ => Err(UriError::Value("type".to_owned())),
    }
}

fn slot_id(bytes: &[u8]) -> Result<u64, UriError> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| UriError::Value("slot-id".to_owned()))
}

/// `pk11-path-res-avail`, `&` and `unreserved` of section 2.3.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&".contains(&byte)
}

fn decode(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    let broken = || UriError::Encoding(name.to_owned());
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| broken())?);
        } else if is_plain(byte) {
            bytes.push(byte);
        } else {
            return Err(broken());
        }
    }
    Ok(bytes)
}

/// The `id` is written with every byte encoded, as section 2.3 recommends.
fn encode(f: &mut fmt::Formatter<'_>, name: &str, value: &[u8]) -> fmt::Result {
    for &byte in value {
        if name != "id" && is_plain(byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
