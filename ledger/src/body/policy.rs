//! The body of an entry that says how what decides was changed.

use sealwright_identity::{Digest, Timestamp};

use crate::{
    codec::{CodecError, FieldWriter, array, read_body},
    entry::{CanaryStop, PolicyEntry, PolicyEvent, StatementRef},
};

mod tag {
    pub(super) const EVENT: u8 = 30;
    pub(super) const NUMBER: u8 = 31;
    pub(super) const STATEMENT: u8 = 32;
    pub(super) const JUDGED_AT: u8 = 33;
    pub(super) const APPROVALS: u8 = 34;
    pub(super) const SEEDED: u8 = 35;
    pub(super) const BRINGS: u8 = 36;
    pub(super) const STOPPED: u8 = 37;
}

pub(crate) fn encode(entry: &PolicyEntry) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(128 + entry.brings.len() * 69);
    fields.put(tag::EVENT, &[entry.event.code()]);
    fields.put(tag::NUMBER, &entry.number.to_be_bytes());
    fields.put(tag::STATEMENT, entry.statement.as_bytes());
    fields.put(tag::JUDGED_AT, &entry.judged_at.micros().to_be_bytes());
    fields.put(tag::APPROVALS, &entry.approvals.to_be_bytes());
    if entry.seeded {
        fields.put(tag::SEEDED, &[1]);
    }
    for brought in &entry.brings {
        let both = [*brought.statement.as_bytes(), *brought.blob.as_bytes()].concat();
        fields.put(tag::BRINGS, &both);
    }
    if let Some(stop) = &entry.stopped {
        let counts = [stop.decisions, stop.denied, stop.aborted].map(u64::to_be_bytes);
        let both = [stop.revision.as_bytes().as_slice(), counts.as_flattened()].concat();
        fields.put(tag::STOPPED, &both);
    }
    fields.finish()
}

pub(super) fn decode(body: &[u8]) -> Result<PolicyEntry, CodecError> {
    let (mut event, mut number, mut statement) = (None, None, None);
    let (mut judged_at, mut approvals, mut seeded) = (None, None, false);
    let (mut brings, mut stopped) = (Vec::new(), None);
    let mut fields = read_body(body)?.with_lists(&[tag::BRINGS]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            tag::EVENT => {
                let [code] = array::<1>(tag, value)?;
                event = Some(PolicyEvent::from_code(code).ok_or(CodecError::Value(tag))?);
            }
            tag::NUMBER => number = Some(u64::from_be_bytes(array(tag, value)?)),
            tag::STATEMENT => statement = Some(Digest::from_bytes(array(tag, value)?)),
            tag::JUDGED_AT => {
                judged_at = Some(Timestamp::from_micros(i64::from_be_bytes(array(tag, value)?)));
            }
            tag::APPROVALS => approvals = Some(u32::from_be_bytes(array(tag, value)?)),
            tag::SEEDED if value == [1] => seeded = true,
            tag::SEEDED => return Err(CodecError::Value(tag)),
            tag::BRINGS => {
                let (statement, blob) = value.split_at_checked(32).ok_or(CodecError::Value(tag))?;
                brings.push(StatementRef {
                    statement: Digest::from_bytes(array(tag, statement)?),
                    blob: Digest::from_bytes(array(tag, blob)?),
                });
            }
            tag::STOPPED => stopped = Some(decode_stop(value)?),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(PolicyEntry {
        event: event.ok_or(CodecError::Missing(tag::EVENT))?,
        number: number.ok_or(CodecError::Missing(tag::NUMBER))?,
        statement: statement.ok_or(CodecError::Missing(tag::STATEMENT))?,
        judged_at: judged_at.ok_or(CodecError::Missing(tag::JUDGED_AT))?,
        approvals: approvals.ok_or(CodecError::Missing(tag::APPROVALS))?,
        seeded,
        brings,
        stopped,
    })
}

fn decode_stop(value: &[u8]) -> Result<CanaryStop, CodecError> {
    let wrong = || CodecError::Value(tag::STOPPED);
    let (revision, counts) = value.split_at_checked(32).ok_or_else(wrong)?;
    let (counts, rest) = counts.as_chunks::<8>();
    let [decisions, denied, aborted] = counts else {
        return Err(wrong());
    };
    if !rest.is_empty() {
        return Err(wrong());
    }
    Ok(CanaryStop {
        revision: Digest::from_bytes(array(tag::STOPPED, revision)?),
        decisions: u64::from_be_bytes(*decisions),
        denied: u64::from_be_bytes(*denied),
        aborted: u64::from_be_bytes(*aborted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reads_back() {
        for event in PolicyEvent::ALL {
            let entry = PolicyEntry {
                event,
                number: 3,
                statement: Digest::of(b"set"),
                judged_at: Timestamp::from_micros(1_795_341_600_000_001),
                approvals: 2,
                seeded: event == PolicyEvent::Set,
                brings: vec![
                    StatementRef {
                        statement: Digest::of(b"set"),
                        blob: Digest::of(b"armour"),
                    };
                    usize::from(event.code())
                ],
                stopped: (event == PolicyEvent::Stop).then_some(CanaryStop {
                    revision: Digest::of(b"canary"),
                    decisions: 200,
                    denied: 199,
                    aborted: 1,
                }),
            };
            assert_eq!(decode(&encode(&entry).unwrap()), Ok(entry));
        }
        assert!(decode(&[]).is_err());
    }
}
