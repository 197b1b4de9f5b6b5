//! Fields to bytes.

use sealwright_identity::{KeyType, San, Usage};

use super::{LeafFields, TbsError, fields};
use crate::{
    asn1::{Writer, tag},
    name, oids,
    spki::SpkiRef,
    time,
};

/// `Extension` basicConstraints, critical, of an empty SEQUENCE: not a CA, in the only DER way to say it.
const BASIC_CONSTRAINTS: &[u8] = &[
    0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00,
];

/// keyUsage as the contents of its OCTET STRING: digitalSignature, with keyEncipherment for RSA alone
/// (RFC 8813, section 3, forbids it for elliptic-curve keys).
pub(super) fn key_usage(key_type: KeyType) -> &'static [u8] {
    match key_type {
        KeyType::Rsa(_) => &[tag::BIT_STRING, 2, 5, 0xa0],
        KeyType::P256 | KeyType::P384 | KeyType::Ed25519 | KeyType::MlDsa65 => &[tag::BIT_STRING, 2, 7, 0x80],
    }
}

pub(super) fn encode(leaf: &LeafFields, spki: &SpkiRef<'_>) -> Result<Vec<u8>, TbsError> {
    fields::check(leaf)?;
    let not_before = time::date_time(leaf.validity.not_before())?;
    let not_after = time::date_time(leaf.validity.not_after())?;
    let names: usize = leaf.sans.iter().map(san_size).sum();
    let mut w =
        Writer::with_capacity(320 + leaf.issuer_der.len() + spki.der().len() + leaf.aki.len() + names);
    w.nest(tag::SEQUENCE, |w| {
        w.raw(&[tag::context_constructed(0), 3, tag::INTEGER, 1, 2]);
        w.value(tag::INTEGER, leaf.serial.as_bytes());
        w.raw(leaf.signature_algorithm.identifier_der());
        w.raw(&leaf.issuer_der);
        time::write_validity(w, not_before, not_after);
        name::write_subject(w, leaf.common_name.as_deref());
        w.raw(spki.der());
        w.nest(tag::context_constructed(3), |w| {
            w.nest(tag::SEQUENCE, |w| extensions(w, leaf, spki));
        });
    });
    Ok(w.into_bytes())
}

fn extensions(w: &mut Writer, leaf: &LeafFields, spki: &SpkiRef<'_>) {
    w.raw(BASIC_CONSTRAINTS);
    extension(w, oids::KEY_USAGE, true, |w| w.raw(key_usage(spki.key_type())));
    extension(w, oids::EXTENDED_KEY_USAGE, false, |w| {
        w.nest(tag::SEQUENCE, |w| {
            for usage in &leaf.usages {
                w.value(
                    tag::OID,
                    match usage {
                        Usage::ServerAuth => oids::SERVER_AUTH,
                        Usage::ClientAuth => oids::CLIENT_AUTH,
                    },
                );
            }
        });
    });
    key_identifiers(w, &spki.key_identifier(), &leaf.aki);
    subject_alt_name(w, &leaf.sans);
}

/// Appends subjectAltName, critical.
pub(crate) fn subject_alt_name(w: &mut Writer, sans: &[San]) {
    extension(w, oids::SUBJECT_ALT_NAME, true, |w| {
        w.nest(tag::SEQUENCE, |w| {
            sans.iter().for_each(|san| general_name(w, san));
        });
    });
}

/// Appends an `Extension` whose value `fill` appends.
pub(crate) fn extension(w: &mut Writer, oid: &[u8], critical: bool, fill: impl FnOnce(&mut Writer)) {
    w.nest(tag::SEQUENCE, |w| {
        w.value(tag::OID, oid);
        if critical {
            w.raw(&[tag::BOOLEAN, 1, 0xff]);
        }
        w.nest(tag::OCTET_STRING, fill);
    });
}

/// Appends subjectKeyIdentifier and authorityKeyIdentifier.
pub(crate) fn key_identifiers(w: &mut Writer, subject: &[u8], authority: &[u8]) {
    extension(w, oids::SUBJECT_KEY_IDENTIFIER, false, |w| {
        w.value(tag::OCTET_STRING, subject);
    });
    extension(w, oids::AUTHORITY_KEY_IDENTIFIER, false, |w| {
        w.nest(tag::SEQUENCE, |w| w.value(tag::context(0), authority));
    });
}

fn general_name(w: &mut Writer, san: &San) {
    match san {
        San::Uri(id) => w.value(tag::context(6), id.as_str().as_bytes()),
        San::Dns(name) => w.value(tag::context(2), name.as_str().as_bytes()),
        San::Ip(std::net::IpAddr::V4(v4)) => w.value(tag::context(7), &v4.octets()),
        San::Ip(std::net::IpAddr::V6(v6)) => w.value(tag::context(7), &v6.octets()),
    }
}

fn san_size(san: &San) -> usize {
    4 + match san {
        San::Uri(id) => id.as_str().len(),
        San::Dns(name) => name.as_str().len(),
        San::Ip(_) => 16,
    }
}
