//! Bytes to fields, for bytes that anybody may have written.
//!
//! Only what has a field is read; the rest is compared with what the profile would write, once for an exact
//! reason (a CA, a key usage) and in the end byte for byte by the caller.

use der::Tag;
use sealwright_identity::{San, SerialNumber, Usage};

use super::{LeafFields, LeafKind, SignatureAlgorithm, TbsError, encode, fields::MAX_SANS};
use crate::{
    asn1::{Reader, context},
    extensions::{self, ExtensionRef, GeneralName},
    name, oids,
    spki::SpkiRef,
    time,
};

pub(super) fn decode(der: &[u8]) -> Result<(LeafFields, SpkiRef<'_>), TbsError> {
    let mut outermost = Reader::new(der, "TBSCertificate")?;
    let mut tbs = outermost.nested(Tag::Sequence, "TBSCertificate")?;
    if !outermost.is_finished() {
        return Err(TbsError::TrailingBytes);
    }
    match tbs.take_optional(context(0, true))? {
        Some([0x02, 0x01, 0x02]) => {}
        _ => return Err(TbsError::Version),
    }
    let serial = SerialNumber::from_der_content(tbs.take(Tag::Integer)?).map_err(TbsError::Serial)?;
    let algorithm = tbs.raw(Tag::Sequence)?;
    let signature_algorithm =
        SignatureAlgorithm::from_identifier_der(algorithm).ok_or(TbsError::Algorithm)?;
    let issuer_der = tbs.raw(Tag::Sequence)?;
    let validity = time::read_validity(&mut tbs)?;
    let common_name = subject(tbs.take(Tag::Sequence)?)?;
    let spki_der = tbs.raw(Tag::Sequence)?;
    let extensions = match tbs.take_optional(context(3, true))? {
        Some(contents) => Reader::open(contents, Tag::Sequence, "Extensions")?,
        None => return Err(TbsError::MissingExtension { name: "any" }),
    };
    tbs.finish()?;

    let spki = SpkiRef::parse_leaf(spki_der).map_err(TbsError::Key)?;
    let Extensions { usages, aki, sans } = read_extensions(extensions, &spki)?;
    let fields = LeafFields {
        serial,
        issuer_der: issuer_der.to_vec(),
        validity,
        common_name,
        spki_der: spki_der.to_vec(),
        kind: LeafKind::of(&sans),
        sans,
        usages,
        aki,
        signature_algorithm,
    };
    Ok((fields, spki))
}

/// The common name of a subject that has nothing else.
fn subject(contents: &[u8]) -> Result<Option<String>, TbsError> {
    let mut common_name = None;
    name::for_each_attribute(contents, |oid, value| {
        let text = name::lossy_text(value);
        if oid != oids::COMMON_NAME || common_name.is_some() {
            return Err(TbsError::SubjectAttribute {
                oid: oids::dotted(oid),
                value: name::excerpt(&text),
            });
        }
        common_name = Some(text);
        Ok(())
    })?;
    Ok(common_name)
}

/// The extensions that have fields.
struct Extensions {
    usages: Vec<Usage>,
    aki: Vec<u8>,
    sans: Vec<San>,
}

fn read_extensions(mut list: Reader<'_>, spki: &SpkiRef<'_>) -> Result<Extensions, TbsError> {
    let (mut basic, mut key_usages, mut ski) = (None, None, None);
    let (mut usages, mut aki, mut sans) = (None, None, None);
    for extension in extensions::read(&mut list)? {
        match extension.oid {
            oids::BASIC_CONSTRAINTS => {
                basic = Some(basic_constraints(value(extension, "basicConstraints", true)?)?);
            }
            oids::KEY_USAGE => {
                key_usages = Some(key_usage(value(extension, "keyUsage", true)?, spki)?);
            }
            oids::EXTENDED_KEY_USAGE => {
                usages = Some(extended_key_usage(value(extension, "extendedKeyUsage", false)?)?);
            }
            // Its octets are compared with the rest, in the end.
            oids::SUBJECT_KEY_IDENTIFIER => ski = Some(value(extension, "subjectKeyIdentifier", false)?),
            oids::AUTHORITY_KEY_IDENTIFIER => {
                let value = value(extension, "authorityKeyIdentifier", false)?;
                aki = match extensions::authority_key_identifier(value)? {
                    (Some(identifier), true) => Some(identifier.to_vec()),
                    _ => return Err(TbsError::AuthorityKeyIdentifier),
                };
            }
            oids::SUBJECT_ALT_NAME => sans = Some(names(value(extension, "subjectAltName", true)?)?),
            other => {
                return Err(TbsError::UnknownExtension {
                    oid: oids::dotted(other),
                });
            }
        }
    }
    let missing = |name| TbsError::MissingExtension { name };
    basic.ok_or_else(|| missing("basicConstraints"))?;
    key_usages.ok_or_else(|| missing("keyUsage"))?;
    ski.ok_or_else(|| missing("subjectKeyIdentifier"))?;
    Ok(Extensions {
        usages: usages.ok_or_else(|| missing("extendedKeyUsage"))?,
        aki: aki.ok_or_else(|| missing("authorityKeyIdentifier"))?,
        sans: sans.ok_or_else(|| missing("subjectAltName"))?,
    })
}

fn value<'a>(extension: ExtensionRef<'a>, name: &'static str, critical: bool) -> Result<&'a [u8], TbsError> {
    if extension.critical != critical {
        return Err(TbsError::Criticality { name });
    }
    Ok(extension.value)
}

fn basic_constraints(value: &[u8]) -> Result<(), TbsError> {
    match extensions::basic_constraints(value)? {
        (false, None) => Ok(()),
        // A path length without being a CA makes no sense, and is refused the same.
        (true, _) | (false, Some(_)) => Err(TbsError::IsCa),
    }
}

fn key_usage(value: &[u8], spki: &SpkiRef<'_>) -> Result<(), TbsError> {
    if value == encode::key_usage(spki.key_type()) {
        return Ok(());
    }
    Err(TbsError::KeyUsage {
        found: extensions::key_usage_names(extensions::key_usage(value)?),
    })
}

/// One more than there may be: enough to be refused.
const MAX_USAGES: usize = 3;

fn extended_key_usage(value: &[u8]) -> Result<Vec<Usage>, TbsError> {
    let found = extensions::extended_key_usage(value)?;
    let usages = found.into_iter().take(MAX_USAGES).map(|oid| match oid {
        oids::SERVER_AUTH => Ok(Usage::ServerAuth),
        oids::CLIENT_AUTH => Ok(Usage::ClientAuth),
        other => Err(TbsError::ExtendedKeyUsage {
            oid: oids::dotted(other),
        }),
    });
    usages.collect()
}

fn names(value: &[u8]) -> Result<Vec<San>, TbsError> {
    let mut sans = Vec::with_capacity(1);
    extensions::general_names(value, |name| {
        if sans.len() == MAX_SANS {
            return Err(TbsError::Sans);
        }
        sans.push(san(name)?);
        Ok(())
    })?;
    Ok(sans)
}

fn san(name: GeneralName<'_>) -> Result<San, TbsError> {
    let refused = |found: &str, reason: String| TbsError::San {
        found: name::excerpt(found),
        reason,
    };
    match name {
        GeneralName::Uri(text) => text
            .parse()
            .map(San::Uri)
            .map_err(|error| refused(text, format!("{error}"))),
        GeneralName::Dns(text) => text
            .parse()
            .map(San::Dns)
            .map_err(|error| refused(text, format!("{error}"))),
        GeneralName::Ip(address) => Ok(San::Ip(address)),
        GeneralName::Email(text) => Err(refused(text, "mail addresses are not issued".to_owned())),
        GeneralName::Other(number) => Err(refused(
            &format!("[{number}]"),
            "names of this kind are not issued".to_owned(),
        )),
    }
}
