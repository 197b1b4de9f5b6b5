//! The field encoding of entry bodies.
//!
//! A body is one format byte and then fields, each `tag (1 byte) ‖ length (4 bytes, big endian) ‖ value`, tags never
//! descending, so that the same content has one encoding only. A tag repeats only where a field is a list.

/// The only body format so far.
const FORMAT: u8 = 1;

/// Writes fields. The caller puts them in ascending order of tags.
#[derive(Debug)]
pub(crate) struct FieldWriter {
    bytes: Vec<u8>,
    too_long: bool,
}

impl FieldWriter {
    pub(crate) fn body(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(FORMAT);
        Self {
            bytes,
            too_long: false,
        }
    }

    pub(crate) fn nested() -> Self {
        Self {
            bytes: Vec::new(),
            too_long: false,
        }
    }

    pub(crate) fn put(&mut self, tag: u8, value: &[u8]) {
        let Ok(length) = u32::try_from(value.len()) else {
            self.too_long = true;
            return;
        };
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Puts a field unless its value is empty; an absent field reads back as empty.
    pub(crate) fn put_some(&mut self, tag: u8, value: &[u8]) {
        if !value.is_empty() {
            self.put(tag, value);
        }
    }

    /// The encoding; `None` when a value was longer than 4 GiB.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.too_long).then_some(self.bytes)
    }
}

/// Reads the fields of a body.
pub(crate) fn read_body(body: &[u8]) -> Result<FieldReader<'_>, CodecError> {
    match body.split_first() {
        Some((&FORMAT, fields)) => Ok(read_nested(fields)),
        Some((&format, _)) => Err(CodecError::Format(format)),
        None => Err(CodecError::Truncated),
    }
}

/// Reads the fields of a nested value.
pub(crate) fn read_nested(fields: &[u8]) -> FieldReader<'_> {
    FieldReader {
        rest: fields,
        last: 0,
        lists: &[],
    }
}

#[derive(Debug)]
pub(crate) struct FieldReader<'a> {
    rest: &'a [u8],
    last: u8,
    lists: &'static [u8],
}

impl<'a> FieldReader<'a> {
    /// Lets these tags repeat.
    pub(crate) fn with_lists(mut self, tags: &'static [u8]) -> Self {
        self.lists = tags;
        self
    }

    /// Refuses fields that nobody has read.
    pub(crate) fn finish(mut self) -> Result<(), CodecError> {
        match self.next()? {
            None => Ok(()),
            Some((tag, _)) => Err(CodecError::Unknown(tag)),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, CodecError> {
        let Some((&tag, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        if tag < self.last || (tag == self.last && !self.lists.contains(&tag)) {
            return Err(CodecError::Order(tag));
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(CodecError::Truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CodecError::Truncated)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(CodecError::Truncated)?;
        self.rest = rest;
        self.last = tag;
        Ok(Some((tag, value)))
    }
}

/// A body that this version of the ledger did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The body ends inside a field.
    #[error("the body is cut short")]
    Truncated,
    /// The body is of a later format.
    #[error("the body has format {0}, which this version does not know")]
    Format(u8),
    /// A field stands where it may not.
    #[error("field {0} is out of order")]
    Order(u8),
    /// A field that this kind of entry does not have.
    #[error("field {0} is unknown here")]
    Unknown(u8),
    /// A value is not what its field holds.
    #[error("field {0} has a value that it cannot have")]
    Value(u8),
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(u8),
    /// The number does not stand for a kind of entry.
    #[error("{0} is not a kind of entry")]
    Kind(i64),
}

/// Text of a field.
pub(crate) fn text(tag: u8, value: &[u8]) -> Result<String, CodecError> {
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| CodecError::Value(tag))
}

/// A fixed number of bytes.
pub(crate) fn array<const N: usize>(tag: u8, value: &[u8]) -> Result<[u8; N], CodecError> {
    value.try_into().map_err(|_| CodecError::Value(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(mut fields in prop::collection::vec((1u8.., prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            fields.sort_by_key(|(tag, _)| *tag);
            fields.dedup_by_key(|(tag, _)| *tag);
            let mut writer = FieldWriter::body(0);
            for (tag, value) in &fields { writer.put(*tag, value); }
            let body = writer.finish().unwrap();
            let mut reader = read_body(&body).unwrap();
            let mut read = Vec::new();
            while let Some((tag, value)) = reader.next().unwrap() { read.push((tag, value.to_vec())); }
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(mut reader) = read_body(&body) {
                while let Ok(Some(_)) = reader.next() {}
            }
        }
    }

    #[test]
    fn refuses_descending_tags_and_short_values() {
        let mut writer = FieldWriter::body(0);
        writer.put(2, b"b");
        writer.put(1, b"a");
        let body = writer.finish().unwrap();
        let mut reader = read_body(&body).unwrap();
        reader.next().unwrap();
        assert_eq!(reader.next(), Err(CodecError::Order(1)));
        let twice = [FORMAT, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        let mut reader = read_body(&twice).unwrap();
        reader.next().unwrap();
        assert_eq!(reader.next(), Err(CodecError::Order(1)));
        let mut reader = read_body(&twice).unwrap().with_lists(&[1]);
        reader.next().unwrap();
        assert_eq!(reader.next(), Ok(Some((1, &[][..]))));
        assert_eq!(read_body(&twice).unwrap().finish(), Err(CodecError::Unknown(1)));
        let mut reader = read_body(&[FORMAT, 1, 0, 0, 0, 9, 1]).unwrap();
        assert_eq!(reader.next(), Err(CodecError::Truncated));
        assert_eq!(read_body(&[9]).unwrap_err(), CodecError::Format(9));
    }
}
