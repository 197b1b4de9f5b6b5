//! The little DER (X.690) that certificates need: a strict borrowing reader and an appending writer.
//!
//! The reader is the `der` crate's, with the name of what is being read kept for error texts. The writer
//! is our own, because a derived `Encode` walks every nested level once for each level above it; this one
//! fills contents in place and puts the length in afterwards. It can only append, so what it makes is DER
//! as long as its callers order what they append.

use std::fmt;

use der::{Reader as _, SliceReader, Tag, TagNumber, asn1::AnyRef};

/// DER tag octets, as the writer takes them.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[number]`, primitive; numbers below 31 only.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed; numbers below 31 only.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// `[number]` as the reader sees it.
pub(crate) const fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber(number),
    }
}

/// Bytes that are not the DER that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is not well-formed DER")]
pub struct Malformed {
    /// The ASN.1 type or field that was being read.
    pub what: &'static str,
    /// What the decoder met.
    #[source]
    pub source: der::Error,
}

impl Malformed {
    pub(crate) fn value(what: &'static str, tag: Tag) -> Self {
        Self {
            what,
            source: der::ErrorKind::Value { tag }.into(),
        }
    }
}

/// Reads one level of DER from borrowed bytes.
pub(crate) struct Reader<'a> {
    inner: SliceReader<'a>,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Result<Self, Malformed> {
        let inner = SliceReader::new(bytes).map_err(|source| Malformed { what, source })?;
        Ok(Self { inner, what })
    }

    /// Opens the only value in `bytes`, which has the tag, for reading its contents.
    pub(crate) fn open(bytes: &'a [u8], tag: Tag, what: &'static str) -> Result<Self, Malformed> {
        let mut outer = Self::new(bytes, what)?;
        let inner = outer.nested(tag, what)?;
        outer.finish()?;
        Ok(inner)
    }

    pub(crate) fn any(&mut self) -> Result<AnyRef<'a>, Malformed> {
        self.inner.decode().map_err(|source| self.error(source))
    }

    /// The contents of the next value, which must have the tag.
    pub(crate) fn take(&mut self, tag: Tag) -> Result<&'a [u8], Malformed> {
        let value = self.any()?;
        let header = value.header();
        header.tag().assert_eq(tag).map_err(|source| self.error(source))?;
        Ok(value.value())
    }

    /// The contents of the next value if it has the tag.
    pub(crate) fn take_optional(&mut self, tag: Tag) -> Result<Option<&'a [u8]>, Malformed> {
        if self.is_finished() || self.peek()? != tag {
            return Ok(None);
        }
        self.take(tag).map(Some)
    }

    /// The whole next value, header included, which must have the tag.
    pub(crate) fn raw(&mut self, tag: Tag) -> Result<&'a [u8], Malformed> {
        let found = self.peek()?;
        found.assert_eq(tag).map_err(|source| self.error(source))?;
        self.inner.tlv_bytes().map_err(|source| self.error(source))
    }

    /// A reader of the next value's contents; it must have the tag.
    pub(crate) fn nested(&mut self, tag: Tag, what: &'static str) -> Result<Self, Malformed> {
        Self::new(self.take(tag)?, what)
    }

    /// The octets of the next value, a BIT STRING of whole octets.
    pub(crate) fn octet_aligned_bits(&mut self) -> Result<&'a [u8], Malformed> {
        match self.take(Tag::BitString)?.split_first() {
            Some((0, octets)) => Ok(octets),
            _ => Err(Malformed::value(self.what, Tag::BitString)),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Refuses bytes that nobody has read.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        let what = self.what;
        self.inner.finish().map_err(|source| Malformed { what, source })
    }

    fn peek(&self) -> Result<Tag, Malformed> {
        Tag::peek(&self.inner).map_err(|source| self.error(source))
    }

    fn error(&self, source: der::Error) -> Malformed {
        Malformed {
            what: self.what,
            source,
        }
    }
}

/// The magnitude of an INTEGER's contents, which must be positive or zero and minimal.
pub(crate) fn unsigned<'a>(contents: &'a [u8], what: &'static str) -> Result<&'a [u8], Malformed> {
    match contents {
        [0, second, ..] if *second >= 0x80 => Ok(contents.get(1..).unwrap_or_default()),
        [] | [0, _, ..] => Err(Malformed::value(what, Tag::Integer)),
        [first, ..] if *first >= 0x80 => Err(Malformed::value(what, Tag::Integer)),
        _ => Ok(contents),
    }
}

/// Appends DER to one buffer.
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// A value whose contents `fill` appends.
    pub(crate) fn nest(&mut self, tag: u8, fill: impl FnOnce(&mut Self)) {
        self.out.push(tag);
        self.out.push(0);
        let start = self.out.len();
        fill(self);
        let length = self.out.len() - start;
        let (form, count, octets) = length_octets(length);
        if let Some(first) = self.out.get_mut(start - 1) {
            *first = form;
        }
        if count > 0 {
            self.out
                .splice(start..start, octets.into_iter().skip(octets.len() - count));
        }
    }

    /// A value with these contents.
    pub(crate) fn value(&mut self, tag: u8, contents: &[u8]) {
        let (form, count, octets) = length_octets(contents.len());
        self.out.push(tag);
        self.out.push(form);
        self.out.extend(octets.into_iter().skip(octets.len() - count));
        self.out.extend_from_slice(contents);
    }

    /// A BIT STRING of whole octets.
    pub(crate) fn bits(&mut self, octets: &[u8]) {
        self.nest(tag::BIT_STRING, |w| {
            w.out.push(0);
            w.out.extend_from_slice(octets);
        });
    }

    /// Bytes that are DER already.
    pub(crate) fn raw(&mut self, der: &[u8]) {
        self.out.extend_from_slice(der);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The first length octet, how many follow it, and those at the end of a fixed array (X.690, 8.1.3).
fn length_octets(length: usize) -> (u8, usize, [u8; 8]) {
    let octets = (length as u64).to_be_bytes();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => (short, 0, octets),
        _ => {
            let zeros = octets.iter().take_while(|octet| **octet == 0).count();
            let count = octets.len() - zeros;
            // At most 8, so it fits beside the long form's bit.
            (0x80 | u8::try_from(count).unwrap_or(8), count, octets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode as _, Encode as _, asn1::OctetString};
    use proptest::prelude::*;

    #[test]
    fn lengths_are_written_as_another_encoder_writes_them() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 100_000] {
            let contents = vec![7; length];
            let expected = OctetString::new(contents.clone()).unwrap().to_der().unwrap();
            let mut whole = Writer::with_capacity(0);
            whole.value(tag::OCTET_STRING, &contents);
            assert_eq!(whole.into_bytes(), expected, "{length}");
            let mut nested = Writer::with_capacity(0);
            nested.nest(tag::OCTET_STRING, |w| w.raw(&contents));
            assert_eq!(nested.into_bytes(), expected, "{length}");
        }
    }

    #[test]
    fn integers_are_unsigned_and_minimal() {
        assert_eq!(unsigned(&[0, 0x80], "n").unwrap(), &[0x80]);
        assert_eq!(unsigned(&[0], "n").unwrap(), &[0]);
        assert_eq!(unsigned(&[0x7f, 0], "n").unwrap(), &[0x7f, 0]);
        for contents in [&[][..], &[0x80], &[0, 0x7f], &[0, 0]] {
            assert!(unsigned(contents, "n").is_err(), "{contents:?}");
        }
    }

    proptest! {
        #[test]
        fn nested_values_read_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)) {
            let mut w = Writer::with_capacity(0);
            w.nest(tag::SEQUENCE, |w| for part in &parts { w.value(tag::OCTET_STRING, part); });
            let der = w.into_bytes();
            prop_assert!(AnyRef::from_der(&der).is_ok());
            let mut reader = Reader::open(&der, Tag::Sequence, "test").unwrap();
            for part in &parts {
                prop_assert_eq!(reader.take(Tag::OctetString).unwrap(), part.as_slice());
            }
            reader.finish().unwrap();
        }
    }
}
