//! What is read out of client certificates: dates, usage, URI names.

use std::time::Duration;

use der::Decode;
use der::oid::ObjectIdentifier;
use sealwright_identity::Timestamp;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

use super::Error;

/// id-kp-clientAuth (RFC 5280 section 4.2.1.12).
const ID_KP_CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// The seconds during which a certificate, or each of several, is valid. Both ends are
/// inside (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Window {
    pub(super) fn contains(self, now: Timestamp) -> bool {
        let now = now.unix_seconds();
        self.not_before.unix_seconds() <= now && now <= self.not_after.unix_seconds()
    }

    /// Where the last second begins. That second is inside, but the gate holds moments against it and not seconds:
    /// what goes on ends before the gate refuses it.
    pub(super) fn end(self) -> Timestamp {
        self.not_after
    }

    pub(super) fn intersect(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// What counts of a leaf.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) window: Window,
    pub(super) client_auth: bool,
    pub(super) uri: String,
}

/// Reads a certificate's dates.
pub(super) fn window(der: &[u8]) -> Result<Window, Error> {
    let certificate = Certificate::from_der(der).map_err(Error::Encoding)?;
    Ok(window_of(&certificate))
}

/// Reads a leaf; it must have exactly one URI name, beside any others.
pub(super) fn read(der: &[u8]) -> Result<Leaf, Error> {
    let certificate = Certificate::from_der(der).map_err(Error::Encoding)?;
    let tbs = certificate.tbs_certificate();
    let usages = tbs.get_extension::<ExtendedKeyUsage>().map_err(Error::Encoding)?;
    let client_auth = usages.is_some_and(|(_, usages)| usages.0.contains(&ID_KP_CLIENT_AUTH));
    let names = tbs
        .get_extension::<SubjectAltName>()
        .map_err(Error::Encoding)?
        .map_or_else(Vec::new, |(_, names)| names.0);
    let mut uris = names.into_iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri),
        _ => None,
    });
    let uri = uris.next().ok_or(Error::UriNames { count: 0 })?;
    let more = uris.count();
    if more > 0 {
        return Err(Error::UriNames { count: more + 1 });
    }
    Ok(Leaf {
        window: window_of(&certificate),
        client_auth,
        uri: uri.to_string(),
    })
}

fn window_of(certificate: &Certificate) -> Window {
    let validity = certificate.tbs_certificate().validity();
    Window {
        not_before: timestamp(validity.not_before.to_unix_duration()),
        not_after: timestamp(validity.not_after.to_unix_duration()),
    }
}

fn timestamp(since_epoch: Duration) -> Timestamp {
    Timestamp::from_unix_seconds(0).saturating_add(since_epoch)
}
