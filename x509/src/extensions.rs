//! Extensions (RFC 5280, section 4.2) as they arrive: walked once, none twice, none without a bound.

use der::Tag;

use crate::{
    asn1::{Malformed, Reader, context},
    oids,
};

/// More than anybody has in good faith; it bounds the search for repetitions.
pub(crate) const MAX_EXTENSIONS: usize = 64;

/// One extension, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtensionRef<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
}

/// Reads the contents of `Extensions`.
pub(crate) fn read<'a>(list: &mut Reader<'a>) -> Result<Vec<ExtensionRef<'a>>, ExtensionsError> {
    let mut found: Vec<ExtensionRef<'a>> = Vec::with_capacity(8);
    while !list.is_finished() {
        let mut parts = list.nested(Tag::Sequence, "Extension")?;
        let oid = parts.take(Tag::ObjectIdentifier)?;
        let critical = match parts.take_optional(Tag::Boolean)? {
            None => false,
            Some([0xff]) => true,
            // A default that is written out, or an odd truth: both not DER.
            Some(_) => return Err(Malformed::value("Extension", Tag::Boolean).into()),
        };
        let value = parts.take(Tag::OctetString)?;
        parts.finish()?;
        if found.iter().any(|other| other.oid == oid) {
            return Err(ExtensionsError::Repeated {
                oid: oids::dotted(oid),
            });
        }
        if found.len() == MAX_EXTENSIONS {
            return Err(ExtensionsError::TooMany);
        }
        found.push(ExtensionRef { oid, critical, value });
    }
    Ok(found)
}

/// Why a list of extensions is refused before any is looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionsError {
    /// Not DER.
    #[error("the extensions cannot be read")]
    Malformed(#[from] Malformed),
    /// The same extension twice (forbidden by RFC 5280, section 4.2).
    #[error("the extension {oid} is there twice")]
    Repeated {
        /// Its object identifier.
        oid: String,
    },
    /// More than anybody needs.
    #[error("there are more than 64 extensions")]
    TooMany,
}

/// `BasicConstraints`: whether it is a CA, and the path length (section 4.2.1.9).
pub(crate) fn basic_constraints(value: &[u8]) -> Result<(bool, Option<u8>), Malformed> {
    const WHAT: &str = "BasicConstraints";
    let mut parts = Reader::open(value, Tag::Sequence, WHAT)?;
    let ca = match parts.take_optional(Tag::Boolean)? {
        None => false,
        Some([0xff]) => true,
        Some(_) => return Err(Malformed::value(WHAT, Tag::Boolean)),
    };
    let path_len = match parts.take_optional(Tag::Integer)? {
        None => None,
        // A longer path than 127 is as good as none.
        Some([length @ 0..=0x7f]) => Some(*length),
        Some([first, ..]) if *first < 0x80 => Some(u8::MAX),
        Some(_) => return Err(Malformed::value(WHAT, Tag::Integer)),
    };
    parts.finish()?;
    Ok((ca, path_len))
}

/// `KeyUsage` as its first octet: the eight usages below decipherOnly (section 4.2.1.3).
pub(crate) fn key_usage(value: &[u8]) -> Result<u8, Malformed> {
    const WHAT: &str = "KeyUsage";
    let mut outer = Reader::new(value, WHAT)?;
    let bits = outer.take(Tag::BitString)?;
    outer.finish()?;
    match bits {
        [0..=7, first, ..] => Ok(*first),
        _ => Err(Malformed::value(WHAT, Tag::BitString)),
    }
}

/// keyCertSign in [`key_usage`]'s octet.
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;

/// The names of the usages in [`key_usage`]'s octet.
pub(crate) fn key_usage_names(octet: u8) -> String {
    const NAMES: [&str; 8] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
    ];
    let set = NAMES.iter().zip(0_u32..);
    let names = set.filter(|(_, bit)| octet & (0x80 >> bit) != 0);
    names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The object identifiers of `ExtKeyUsageSyntax` (section 4.2.1.12).
pub(crate) fn extended_key_usage(value: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut list = Reader::open(value, Tag::Sequence, "ExtKeyUsageSyntax")?;
    let mut usages = Vec::with_capacity(2);
    while !list.is_finished() {
        usages.push(list.take(Tag::ObjectIdentifier)?);
    }
    Ok(usages)
}

/// The `keyIdentifier` of an `AuthorityKeyIdentifier` (section 4.2.1.1), and whether nothing else is there.
pub(crate) fn authority_key_identifier(value: &[u8]) -> Result<(Option<&[u8]>, bool), Malformed> {
    let mut parts = Reader::open(value, Tag::Sequence, "AuthorityKeyIdentifier")?;
    let identifier = parts.take_optional(context(0, false))?;
    Ok((identifier, parts.is_finished()))
}

/// The octets of a `SubjectKeyIdentifier` (section 4.2.1.2).
pub(crate) fn subject_key_identifier(value: &[u8]) -> Result<&[u8], Malformed> {
    let mut outer = Reader::new(value, "SubjectKeyIdentifier")?;
    let identifier = outer.take(Tag::OctetString)?;
    outer.finish()?;
    Ok(identifier)
}

/// One of `GeneralNames` (section 4.2.1.6), by its context tag and contents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GeneralName<'a> {
    Email(&'a str),
    Dns(&'a str),
    Uri(&'a str),
    Ip(std::net::IpAddr),
    /// Another kind, by its number.
    Other(u32),
}

/// Reads `GeneralNames`, handing each to `each`.
pub(crate) fn general_names<'a, E: From<Malformed>>(
    value: &'a [u8],
    mut each: impl FnMut(GeneralName<'a>) -> Result<(), E>,
) -> Result<(), E> {
    const WHAT: &str = "GeneralNames";
    let mut list = Reader::open(value, Tag::Sequence, WHAT)?;
    while !list.is_finished() {
        let name = list.any()?;
        let Tag::ContextSpecific { number, .. } = name.header().tag() else {
            return Err(Malformed::value(WHAT, name.header().tag()).into());
        };
        let bytes = name.value();
        // IA5String: ASCII, and no NUL, which would end the name for a verifier written in C.
        let text = || match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() && !text.contains('\0') => Ok(text),
            _ => Err(Malformed::value(WHAT, Tag::Ia5String)),
        };
        let number = number.value();
        if matches!(number, 1 | 2 | 6 | 7) && name.header().is_constructed() {
            return Err(Malformed::value(WHAT, name.header().tag()).into());
        }
        each(match number {
            1 => GeneralName::Email(text()?),
            2 => GeneralName::Dns(text()?),
            6 => GeneralName::Uri(text()?),
            7 => match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
                (Ok(v4), _) => GeneralName::Ip(v4.into()),
                (_, Ok(v6)) => GeneralName::Ip(v6.into()),
                _ => return Err(Malformed::value(WHAT, Tag::OctetString).into()),
            },
            other => GeneralName::Other(other),
        })?;
    }
    Ok(())
}
