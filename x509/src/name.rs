//! Distinguished names (RFC 5280, section 4.1.2.4): the few that we write, and any that others wrote.

use std::fmt::Write as _;

use der::{Tag, asn1::AnyRef};

use crate::{
    asn1::{Malformed, Reader, Writer, tag},
    oids,
};

/// The most characters of a common name (ub-common-name, RFC 5280, appendix A.1).
pub const MAX_COMMON_NAME: usize = 64;

/// The DER of a `Name` for an authority: an organization, if one is given, then a common name.
#[must_use]
pub fn authority_name(organization: Option<&str>, common_name: &str) -> Vec<u8> {
    let mut w = Writer::with_capacity(64 + common_name.len());
    w.nest(tag::SEQUENCE, |w| {
        if let Some(organization) = organization {
            attribute(w, oids::ORGANIZATION, organization);
        }
        attribute(w, oids::COMMON_NAME, common_name);
    });
    w.into_bytes()
}

/// Appends a `Name` that is empty or has a common name only.
pub(crate) fn write_subject(w: &mut Writer, common_name: Option<&str>) {
    w.nest(tag::SEQUENCE, |w| {
        if let Some(common_name) = common_name {
            attribute(w, oids::COMMON_NAME, common_name);
        }
    });
}

fn attribute(w: &mut Writer, oid: &[u8], value: &str) {
    w.nest(tag::SET, |w| {
        w.nest(tag::SEQUENCE, |w| {
            w.value(tag::OID, oid);
            w.value(tag::UTF8_STRING, value.as_bytes());
        });
    });
}

/// Hands every attribute of a `Name`'s contents to `each`, in order.
pub(crate) fn for_each_attribute<'a, E: From<Malformed>>(
    contents: &'a [u8],
    mut each: impl FnMut(&'a [u8], AnyRef<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut names = Reader::new(contents, "Name")?;
    while !names.is_finished() {
        let mut set = names.nested(Tag::Set, "RelativeDistinguishedName")?;
        while !set.is_finished() {
            let mut pair = set.nested(Tag::Sequence, "AttributeTypeAndValue")?;
            let oid = pair.take(Tag::ObjectIdentifier)?;
            let value = pair.any()?;
            pair.finish()?;
            each(oid, value)?;
        }
    }
    Ok(())
}

/// Reads the only `Name` in some bytes down to its values; whether it has any attribute.
pub(crate) fn check(name_der: &[u8]) -> Result<bool, Malformed> {
    let mut outer = Reader::new(name_der, "Name")?;
    let contents = outer.take(Tag::Sequence)?;
    outer.finish()?;
    let mut any = false;
    for_each_attribute::<Malformed>(contents, |_, _| {
        any = true;
        Ok(())
    })?;
    Ok(any)
}

/// The text of a string of any of the types that names use; what is not text is replaced, never refused.
pub(crate) fn lossy_text(value: AnyRef<'_>) -> String {
    let bytes = value.value();
    match value.header().tag() {
        // T.61 is read as Latin-1, as everybody does.
        Tag::TeletexString => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Tag::BmpString => {
            let (pairs, _) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// As much of an attacker's text as an error may carry: errors go into records, which are bounded.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 256;
    text.chars().take(SHOWN).collect()
}

/// A `Name` for people, such as `O=Example, CN=Root`; unknown attributes by object identifier.
///
/// # Errors
/// When the bytes are not a `Name`.
pub fn display(name_der: &[u8]) -> Result<String, Malformed> {
    let contents = Reader::new(name_der, "Name")?.take(Tag::Sequence)?;
    let mut text = String::new();
    for_each_attribute::<Malformed>(contents, |oid, value| {
        let separator = if text.is_empty() { "" } else { ", " };
        let label = match oid {
            oids::COMMON_NAME => "CN".to_owned(),
            oids::ORGANIZATION => "O".to_owned(),
            [0x55, 0x04, 0x06] => "C".to_owned(),
            [0x55, 0x04, 0x0b] => "OU".to_owned(),
            other => oids::dotted(other),
        };
        let _ = write!(text, "{separator}{label}={}", lossy_text(value));
        Ok(())
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::Decode as _;
    use std::str::FromStr as _;

    #[test]
    fn writes_what_another_implementation_writes() {
        let ours = authority_name(Some("Example"), "Root");
        let theirs = x509_cert::name::Name::from_str("CN=Root,O=Example").unwrap();
        assert_eq!(x509_cert::name::Name::from_der(&ours).unwrap(), theirs);
        assert_eq!(display(&ours).unwrap(), "O=Example, CN=Root");
    }

    #[test]
    fn reads_old_string_types() {
        let text = |tag, bytes| lossy_text(AnyRef::new(tag, bytes).unwrap());
        assert_eq!(
            text(Tag::BmpString, &[0, b'a', 0x26, 0x3a, 0xd8, 0, 7]),
            "a\u{263a}\u{fffd}"
        );
        assert_eq!(text(Tag::TeletexString, &[0xe9]), "é");
        assert_eq!(text(Tag::Utf8String, &[0xff]), "\u{fffd}");
    }
}
