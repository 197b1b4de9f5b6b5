//! What varies in a leaf, and the rules that do not depend on any issuer.

use std::time::Duration;

use sealwright_identity::{San, SerialNumber, Usage, Validity};

use super::{SignatureAlgorithm, TbsError};
use crate::{
    BACKDATING,
    name::{self, MAX_COMMON_NAME, excerpt},
};

/// The most names in one certificate.
pub const MAX_SANS: usize = 100;

/// The fields of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFields {
    /// The serial number.
    pub serial: SerialNumber,
    /// The issuer's `Name`, in DER, exactly as its certificate's subject.
    pub issuer_der: Vec<u8>,
    /// From 1970 to 9999.
    pub validity: Validity,
    /// The subject's common name: none, or the first name's text in at most 64 characters ([`common_name_of`]).
    pub common_name: Option<String>,
    /// The certified key, as `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
    /// One to [`MAX_SANS`] names, none twice; which kinds depends on `kind`.
    pub sans: Vec<San>,
    /// One or both usages, server before client.
    pub usages: Vec<Usage>,
    /// The issuer's key identifier, 1 to 64 octets.
    pub aki: Vec<u8>,
    /// How the issuer signs.
    pub signature_algorithm: SignatureAlgorithm,
    /// For whom it is.
    pub kind: LeafKind,
}

impl LeafFields {
    /// How long the leaf is valid from its issuance on: the validity without its backdating.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.validity.duration().saturating_sub(BACKDATING)
    }
}

/// For whom a leaf is. It follows from the names, so it needs no bytes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// A workload: exactly one SPIFFE ID, DNS names beside it, no addresses.
    Workload,
    /// Our own front: DNS names and addresses, no SPIFFE ID, server authentication alone.
    Serving,
}

impl LeafKind {
    /// Its word in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Serving => "serving",
        }
    }

    /// The only kind that could have these names.
    pub(super) fn of(sans: &[San]) -> Self {
        if sans.iter().any(|san| matches!(san, San::Uri(_))) {
            Self::Workload
        } else {
            Self::Serving
        }
    }
}

/// The common name for a first name: its text, or nothing when that has more than 64 characters.
#[must_use]
pub fn common_name_of(san: &San) -> Option<String> {
    let text = match san {
        San::Uri(id) => id.to_string(),
        San::Dns(name) => name.to_string(),
        San::Ip(address) => address.to_string(),
    };
    (text.chars().count() <= MAX_COMMON_NAME).then_some(text)
}

/// Checks every rule but those of the public key and the times, which are checked where they are read.
pub(super) fn check(fields: &LeafFields) -> Result<(), TbsError> {
    check_issuer(&fields.issuer_der)?;
    if !(1..=64).contains(&fields.aki.len()) {
        return Err(TbsError::AuthorityKeyIdentifier);
    }
    check_sans(&fields.sans)?;
    check_common_name(fields)?;
    if !matches!(
        fields.usages.as_slice(),
        [Usage::ServerAuth | Usage::ClientAuth] | [Usage::ServerAuth, Usage::ClientAuth]
    ) {
        return Err(TbsError::Usages {
            found: fields.usages.clone(),
        });
    }
    check_kind(fields)
}

fn check_issuer(issuer_der: &[u8]) -> Result<(), TbsError> {
    match name::check(issuer_der) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(TbsError::Issuer),
    }
}

fn check_sans(sans: &[San]) -> Result<(), TbsError> {
    if !(1..=MAX_SANS).contains(&sans.len()) {
        return Err(TbsError::Sans);
    }
    let mut rest = sans;
    while let [first, after @ ..] = rest {
        if after.contains(first) {
            return Err(TbsError::Sans);
        }
        rest = after;
    }
    Ok(())
}

fn check_common_name(fields: &LeafFields) -> Result<(), TbsError> {
    let Some(found) = &fields.common_name else {
        return Ok(());
    };
    if fields.sans.first().and_then(common_name_of).as_ref() != Some(found) {
        return Err(TbsError::CommonName {
            found: excerpt(found),
        });
    }
    Ok(())
}

fn check_kind(fields: &LeafFields) -> Result<(), TbsError> {
    let uris = fields
        .sans
        .iter()
        .filter(|san| matches!(san, San::Uri(_)))
        .count();
    let addresses = fields.sans.iter().any(|san| matches!(san, San::Ip(_)));
    let reason = match fields.kind {
        LeafKind::Workload if uris != 1 => "a workload's certificate has exactly one SPIFFE ID",
        LeafKind::Workload if addresses => "a workload's certificate has no addresses",
        LeafKind::Serving if uris != 0 => "a serving certificate has no SPIFFE ID",
        LeafKind::Serving if fields.usages != [Usage::ServerAuth] => {
            "a serving certificate is for server authentication alone"
        }
        LeafKind::Workload | LeafKind::Serving => return Ok(()),
    };
    Err(TbsError::Kind { reason })
}
