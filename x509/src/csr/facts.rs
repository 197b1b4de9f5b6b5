//! What a request asks for, as texts for policies. Nothing here is ever put into a certificate.

use der::Tag;
use sealwright_identity::{Digest, KeyType};
use serde::{Deserialize, Serialize};

use super::CsrError;
use crate::{
    asn1::{Malformed, Reader},
    extensions::{self, GeneralName},
    name, oids,
    spki::SpkiRef,
    verify::Scheme,
};

/// The facts of a verified request. Texts are the applicant's and unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsrFacts {
    /// URI names asked for.
    pub uris: Vec<String>,
    /// DNS names asked for.
    pub dns: Vec<String>,
    /// Addresses asked for.
    pub ips: Vec<String>,
    /// Mail addresses asked for.
    pub emails: Vec<String>,
    /// The last common name of the subject.
    pub common_name: Option<String>,
    /// The organizations of the subject; pilot-agent sends one empty text.
    pub organizations: Vec<String>,
    /// Whether it asks to be a CA.
    pub is_ca: bool,
    /// Object identifiers of all extensions asked for, in order.
    pub extensions: Vec<String>,
    /// The algorithm of the self-signature, by its name.
    pub signature_algorithm: String,
    /// The kind of the public key.
    pub key_type: KeyType,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub spki_digest: Digest,
}

/// Reads the facts from the contents of the subject and of the attributes.
pub(super) fn read(
    subject: &[u8],
    attributes: &[u8],
    spki: &SpkiRef<'_>,
    scheme: Scheme,
) -> Result<CsrFacts, CsrError> {
    let mut facts = CsrFacts {
        uris: Vec::new(),
        dns: Vec::new(),
        ips: Vec::new(),
        emails: Vec::new(),
        common_name: None,
        organizations: Vec::new(),
        is_ca: false,
        extensions: Vec::new(),
        signature_algorithm: scheme.as_str().to_owned(),
        key_type: spki.key_type(),
        spki_digest: spki.digest(),
    };
    name::for_each_attribute::<Malformed>(subject, |oid, value| {
        match oid {
            oids::COMMON_NAME => facts.common_name = Some(name::lossy_text(value)),
            oids::ORGANIZATION => facts.organizations.push(name::lossy_text(value)),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(request) = extension_request(attributes)? {
        read_extensions(&mut facts, request)?;
    }
    Ok(facts)
}

/// The `Extensions` of the extensionRequest attribute. Other attributes (a challenge password) are passed over.
fn extension_request(attributes: &[u8]) -> Result<Option<Reader<'_>>, CsrError> {
    let mut found = None;
    let mut list = Reader::new(attributes, "Attributes")?;
    while !list.is_finished() {
        let mut attribute = list.nested(Tag::Sequence, "Attribute")?;
        let oid = attribute.take(Tag::ObjectIdentifier)?;
        let mut values = attribute.nested(Tag::Set, "Attribute")?;
        attribute.finish()?;
        if oid != oids::EXTENSION_REQUEST {
            continue;
        }
        let extensions = values.nested(Tag::Sequence, "Extensions")?;
        if found.is_some() || !values.is_finished() {
            return Err(CsrError::RepeatedRequest);
        }
        found = Some(extensions);
    }
    Ok(found)
}

fn read_extensions(facts: &mut CsrFacts, mut request: Reader<'_>) -> Result<(), CsrError> {
    for extension in extensions::read(&mut request)? {
        facts.extensions.push(oids::dotted(extension.oid));
        match extension.oid {
            oids::BASIC_CONSTRAINTS => facts.is_ca = extensions::basic_constraints(extension.value)?.0,
            oids::SUBJECT_ALT_NAME => {
                extensions::general_names::<Malformed>(extension.value, |name| {
                    match name {
                        GeneralName::Email(text) => facts.emails.push(text.to_owned()),
                        GeneralName::Dns(text) => facts.dns.push(text.to_owned()),
                        GeneralName::Uri(text) => facts.uris.push(text.to_owned()),
                        GeneralName::Ip(address) => facts.ips.push(address.to_string()),
                        GeneralName::Other(_) => {}
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}
