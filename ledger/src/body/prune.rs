//! The body of an entry that says what was pruned. Its first field is the last sequence that goes: the trigger on DELETE
//! reads it there (`schema/0005_prune.sql`).

use sealwright_identity::{Digest, Timestamp};

use crate::{
    chain::Head,
    codec::{CodecError, FieldWriter, array, read_body, read_nested, text},
    prune::{PruneEntry, PrunedExport, Tally},
};

mod tag {
    pub(super) const LAST: u8 = 50;
    pub(super) const LAST_HASH: u8 = 51;
    pub(super) const BEFORE: u8 = 52;
    pub(super) const KEPT: u8 = 53;
    pub(super) const SERIALS: u8 = 54;
    pub(super) const BY: u8 = 55;
    pub(super) const EXPORT: u8 = 56;
}

pub(crate) fn encode(entry: &PruneEntry) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(256 + entry.exports.len() * 224);
    fields.put(tag::LAST, &entry.last.sequence.to_be_bytes());
    fields.put(tag::LAST_HASH, entry.last.hash.as_bytes());
    fields.put(tag::BEFORE, &entry.before.micros().to_be_bytes());
    fields.put(tag::KEPT, &counted(entry.kept.count, &entry.kept.digest));
    fields.put(tag::SERIALS, &counted(entry.serials.count, &entry.serials.digest));
    fields.put(tag::BY, entry.by.as_bytes());
    for export in &entry.exports {
        fields.put(tag::EXPORT, &encode_export(export)?);
    }
    fields.finish()
}

pub(super) fn decode(body: &[u8]) -> Result<PruneEntry, CodecError> {
    let (mut last, mut hash, mut before) = (None, None, None);
    let (mut kept, mut serials, mut by) = (None, None, None);
    let mut exports = Vec::new();
    let mut fields = read_body(body)?.with_lists(&[tag::EXPORT]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            tag::LAST => last = Some(u64::from_be_bytes(array(tag, value)?)),
            tag::LAST_HASH => hash = Some(Digest::from_bytes(array(tag, value)?)),
            tag::BEFORE => before = Some(Timestamp::from_micros(i64::from_be_bytes(array(tag, value)?))),
            tag::KEPT => kept = Some(tally(tag, value)?),
            tag::SERIALS => serials = Some(tally(tag, value)?),
            tag::BY => by = Some(text(tag, value)?),
            tag::EXPORT => exports.push(decode_export(value)?),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(PruneEntry {
        last: Head {
            sequence: last.ok_or(CodecError::Missing(tag::LAST))?,
            hash: hash.ok_or(CodecError::Missing(tag::LAST_HASH))?,
        },
        before: before.ok_or(CodecError::Missing(tag::BEFORE))?,
        kept: kept.ok_or(CodecError::Missing(tag::KEPT))?,
        serials: serials.ok_or(CodecError::Missing(tag::SERIALS))?,
        by: by.ok_or(CodecError::Missing(tag::BY))?,
        exports,
    })
}

fn encode_export(export: &PrunedExport) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::nested();
    fields.put(1, export.file.as_bytes());
    fields.put(2, &counted(export.after.sequence, &export.after.hash));
    fields.put(3, &counted(export.head.sequence, &export.head.hash));
    fields.put(4, export.name.as_bytes());
    fields.finish()
}

fn decode_export(value: &[u8]) -> Result<PrunedExport, CodecError> {
    let (mut file, mut after, mut head, mut name) = (None, None, None, None);
    let mut fields = read_nested(value);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => file = Some(Digest::from_bytes(array(tag, value)?)),
            2 => after = Some(place(tag, value)?),
            3 => head = Some(place(tag, value)?),
            4 => name = Some(text(tag, value)?),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(PrunedExport {
        file: file.ok_or(CodecError::Missing(1))?,
        after: after.ok_or(CodecError::Missing(2))?,
        head: head.ok_or(CodecError::Missing(3))?,
        name: name.ok_or(CodecError::Missing(4))?,
    })
}

/// A number and a digest.
fn counted(number: u64, digest: &Digest) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), digest.as_bytes().as_slice()].concat()
}

fn read_counted(tag: u8, value: &[u8]) -> Result<(u64, Digest), CodecError> {
    let (number, digest) = value.split_at_checked(8).ok_or(CodecError::Value(tag))?;
    Ok((
        u64::from_be_bytes(array(tag, number)?),
        Digest::from_bytes(array(tag, digest)?),
    ))
}

fn tally(tag: u8, value: &[u8]) -> Result<Tally, CodecError> {
    read_counted(tag, value).map(|(count, digest)| Tally { count, digest })
}

fn place(tag: u8, value: &[u8]) -> Result<Head, CodecError> {
    read_counted(tag, value).map(|(sequence, hash)| Head { sequence, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> Head {
        Head {
            sequence,
            hash: Digest::of(&sequence.to_be_bytes()),
        }
    }

    #[test]
    fn a_pruning_reads_back_and_begins_with_what_the_trigger_reads() {
        let entry = PruneEntry {
            last: head(0x0102),
            before: Timestamp::from_micros(1_795_341_600_000_001),
            kept: Tally {
                count: 3,
                digest: Digest::of(b"kept"),
            },
            serials: Tally {
                count: 0,
                digest: Digest::of(b"serials"),
            },
            by: "ca (990)".into(),
            exports: (0..3)
                .map(|number| PrunedExport {
                    name: format!("{number}.jsonl"),
                    file: Digest::of(b"file"),
                    after: head(number),
                    head: head(number + 1),
                })
                .collect(),
        };
        let body = encode(&entry).unwrap();
        assert_eq!(&body[..14], b"\x01\x32\0\0\0\x08\0\0\0\0\0\0\x01\x02");
        assert_eq!(decode(&body), Ok(entry));
        assert!(decode(&[]).is_err());
        assert!(decode(&body[..body.len() - 1]).is_err());
    }
}
