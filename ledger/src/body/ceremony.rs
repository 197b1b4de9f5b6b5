//! The body of an entry that says whose ceremony made an issuer's key.

use sealwright_identity::Digest;

use super::tag::{ISSUER, ISSUER_KEY};
use crate::{
    codec::{CodecError, FieldWriter, array, read_body, text},
    entry::CeremonyEntry,
};

mod tag {
    pub(super) const TRANSCRIPT: u8 = 40;
    pub(super) const ROSTER: u8 = 41;
    pub(super) const PLAN: u8 = 42;
    pub(super) const CEREMONY: u8 = 43;
    pub(super) const REHEARSAL: u8 = 44;
    pub(super) const PERSON: u8 = 45;
    pub(super) const BLOB: u8 = 46;
}

pub(crate) fn encode(entry: &CeremonyEntry) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(320);
    fields.put(ISSUER, entry.issuer.as_bytes());
    fields.put(ISSUER_KEY, entry.key.as_bytes());
    fields.put(tag::TRANSCRIPT, entry.transcript.as_bytes());
    fields.put(tag::ROSTER, entry.roster.as_bytes());
    fields.put(tag::PLAN, entry.plan.as_bytes());
    fields.put(tag::CEREMONY, entry.ceremony.as_bytes());
    if entry.rehearsal {
        fields.put(tag::REHEARSAL, &[1]);
    }
    for person in &entry.signed_by {
        fields.put(tag::PERSON, person.as_bytes());
    }
    fields.put(tag::BLOB, entry.blob.as_bytes());
    fields.finish()
}

pub(super) fn decode(body: &[u8]) -> Result<CeremonyEntry, CodecError> {
    let (mut issuer, mut key, mut transcript, mut roster) = (None, None, None, None);
    let (mut plan, mut ceremony, mut blob, mut rehearsal) = (None, None, None, false);
    let mut signed_by = Vec::new();
    let digest = |tag, value| array(tag, value).map(Digest::from_bytes);
    let mut fields = read_body(body)?.with_lists(&[tag::PERSON]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            ISSUER => issuer = Some(text(tag, value)?),
            ISSUER_KEY => key = Some(digest(tag, value)?),
            tag::TRANSCRIPT => transcript = Some(digest(tag, value)?),
            tag::ROSTER => roster = Some(digest(tag, value)?),
            tag::PLAN => plan = Some(digest(tag, value)?),
            tag::CEREMONY => ceremony = Some(text(tag, value)?),
            tag::REHEARSAL if value == [1] => rehearsal = true,
            tag::REHEARSAL => return Err(CodecError::Value(tag)),
            tag::PERSON => signed_by.push(text(tag, value)?),
            tag::BLOB => blob = Some(digest(tag, value)?),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(CeremonyEntry {
        issuer: issuer.ok_or(CodecError::Missing(ISSUER))?,
        key: key.ok_or(CodecError::Missing(ISSUER_KEY))?,
        transcript: transcript.ok_or(CodecError::Missing(tag::TRANSCRIPT))?,
        roster: roster.ok_or(CodecError::Missing(tag::ROSTER))?,
        plan: plan.ok_or(CodecError::Missing(tag::PLAN))?,
        ceremony: ceremony.ok_or(CodecError::Missing(tag::CEREMONY))?,
        rehearsal,
        signed_by,
        blob: blob.ok_or(CodecError::Missing(tag::BLOB))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceremony_reads_back() {
        for rehearsal in [true, false] {
            let entry = CeremonyEntry {
                issuer: "default".into(),
                key: Digest::of(b"key"),
                transcript: Digest::of(b"sums"),
                roster: Digest::of(b"roster"),
                plan: Digest::of(b"plan"),
                ceremony: "00112233445566778899aabbccddeeff".into(),
                rehearsal,
                signed_by: vec!["anna".into(), "bert".into()],
                blob: Digest::of(b"files"),
            };
            assert_eq!(decode(&encode(&entry).unwrap()), Ok(entry));
        }
        assert!(decode(&[]).is_err());
    }
}
