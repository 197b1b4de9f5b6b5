//! The bodies of entries: what each kind writes into the `body` column.
//!
//! The to-be-signed bytes are kept once, in the decision. The certificate entry holds what follows them in the
//! certificate (algorithm and signature) and the SHA-256 of the whole, from which the certificate is put together again.

use sealwright_identity::{Digest, SerialNumber, Timestamp};

mod ceremony;
mod policy;
mod prune;

use crate::{
    codec::{CodecError, FieldWriter, array, read_body, read_nested, text},
    entry::{
        BlobKind, CeremonyEntry, CertificateKind, DecisionEntry, Denial, EntryKind, PolicyEntry, PolicyRef,
        Renewal, SetRef, StartEntry,
    },
    prune::PruneEntry,
};

/// A decoded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A gate start.
    Start(StartEntry),
    /// A decision, a denial or a refusal, as the kind of the entry says. The serial of a decision is in the row.
    Decision(DecisionEntry),
    /// A certificate, without its to-be-signed part.
    Certificate(SignedPart),
    /// Why a decision has no certificate.
    Failed {
        /// The reason, in one line.
        reason: String,
    },
    /// Nothing more is known.
    Unreleased,
    /// A blob that was stored.
    Blob(BlobRef),
    /// What decides was changed.
    Policy(PolicyEntry),
    /// A key's ceremony was verified.
    Ceremony(CeremonyEntry),
    /// Entries were pruned.
    Prune(PruneEntry),
}

/// What a certificate has besides the to-be-signed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPart {
    /// SHA-256 of the whole certificate (its fingerprint).
    pub fingerprint: Digest,
    /// The DER that follows the TBSCertificate: signatureAlgorithm and signatureValue.
    pub tail: Vec<u8>,
}

/// A stored blob, by digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// What it is.
    pub kind: BlobKind,
    /// How many bytes.
    pub size: u64,
}

impl SignedPart {
    /// Puts the certificate together; `None` when the result is not the one that was recorded.
    #[must_use]
    pub fn certificate(&self, tbs: &[u8]) -> Option<Vec<u8>> {
        let mut der = sequence_header(tbs.len().checked_add(self.tail.len())?)?;
        der.extend_from_slice(tbs);
        der.extend_from_slice(&self.tail);
        (Digest::of(&der) == self.fingerprint).then_some(der)
    }

    /// Takes a certificate apart: the to-be-signed bytes, and the rest.
    #[must_use]
    pub(crate) fn split(certificate: &[u8]) -> Option<(&[u8], Self)> {
        let (header, length) = read_sequence_header(certificate)?;
        let content = certificate.get(header..)?;
        if content.len() != length || sequence_header(length)? != certificate.get(..header)? {
            return None;
        }
        let (inner, inner_length) = read_sequence_header(content)?;
        let (tbs, tail) = content.split_at_checked(inner.checked_add(inner_length)?)?;
        Some((
            tbs,
            Self {
                fingerprint: Digest::of(certificate),
                tail: tail.to_vec(),
            },
        ))
    }
}

/// The DER header of a SEQUENCE of so many bytes.
fn sequence_header(length: usize) -> Option<Vec<u8>> {
    let short = u8::try_from(length).ok().filter(|length| *length < 0x80);
    if let Some(length) = short {
        return Some(vec![0x30, length]);
    }
    let bytes = u32::try_from(length).ok()?.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0)?;
    let significant = bytes.get(start..)?;
    let mut header = vec![0x30, 0x80 | u8::try_from(significant.len()).ok()?];
    header.extend_from_slice(significant);
    Some(header)
}

/// Length of the header and of the content of a SEQUENCE.
fn read_sequence_header(der: &[u8]) -> Option<(usize, usize)> {
    match der {
        [0x30, length @ 0..=0x7f, ..] => Some((2, usize::from(*length))),
        [0x30, count @ 0x81..=0x84, rest @ ..] => {
            let count = usize::from(count & 0x7f);
            let length = rest
                .get(..count)?
                .iter()
                .fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
            Some((2 + count, length))
        }
        _ => None,
    }
}

mod tag {
    pub(super) const IDENTITY: u8 = 1;
    pub(super) const POLICY: u8 = 2;
    pub(super) const ISSUER: u8 = 3;
    pub(super) const ISSUER_KEY: u8 = 4;
    pub(super) const KIND: u8 = 5;
    pub(super) const DENIAL: u8 = 6;
    pub(super) const ASKED_SERIAL: u8 = 7;
    pub(super) const CSR: u8 = 8;
    pub(super) const TBS: u8 = 9;
    pub(super) const EVIDENCE: u8 = 10;
    pub(super) const PREVIOUS: u8 = 11;
    pub(super) const FIRST_AUTHENTICATED: u8 = 12;
    pub(super) const SET: u8 = 13;
    pub(super) const APPROVALS: u8 = 14;
    pub(super) const FINGERPRINT: u8 = 20;
    pub(super) const TAIL: u8 = 21;
    pub(super) const REASON: u8 = 22;
    pub(super) const START: u8 = 23;
    pub(super) const BLOB_DIGEST: u8 = 24;
    pub(super) const BLOB_KIND: u8 = 25;
    pub(super) const BLOB_SIZE: u8 = 26;
}

/// A decision's body. The serial is written here only when the row has no serial column for it.
pub(crate) fn encode_decision(entry: &DecisionEntry, serial_in_row: bool) -> Option<Vec<u8>> {
    let size = entry.csr.len() + entry.tbs.len() + entry.evidence.len();
    let mut fields = FieldWriter::body(size + 512);
    for identity in &entry.identities {
        fields.put(tag::IDENTITY, identity.as_bytes());
    }
    for policy in &entry.policies {
        fields.put(tag::POLICY, &encode_policy(policy)?);
    }
    fields.put_some(tag::ISSUER, entry.issuer.as_bytes());
    fields.put(tag::ISSUER_KEY, entry.issuer_key.as_bytes());
    if entry.kind == CertificateKind::Serving {
        fields.put(tag::KIND, &[1]);
    }
    if let Some(denial) = &entry.denial {
        fields.put(tag::DENIAL, &encode_denial(denial)?);
    }
    if let Some(serial) = entry.serial.as_ref().filter(|_| !serial_in_row) {
        fields.put(tag::ASKED_SERIAL, serial.as_bytes());
    }
    fields.put_some(tag::CSR, &entry.csr);
    fields.put_some(tag::TBS, &entry.tbs);
    fields.put_some(tag::EVIDENCE, &entry.evidence);
    if let Some(renewal) = &entry.renewal {
        fields.put(tag::PREVIOUS, renewal.previous.as_bytes());
        let first = renewal.first_authenticated_at.micros();
        fields.put(tag::FIRST_AUTHENTICATED, &first.to_be_bytes());
    }
    if let Some(set) = &entry.set {
        fields.put(tag::SET, &set.number.to_be_bytes());
        fields.put(tag::APPROVALS, &set.approvals.to_be_bytes());
    }
    fields.finish()
}

pub(crate) fn encode_certificate(part: &SignedPart) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(part.tail.len() + 48);
    fields.put(tag::FINGERPRINT, part.fingerprint.as_bytes());
    fields.put(tag::TAIL, &part.tail);
    fields.finish()
}

pub(crate) fn encode_failed(reason: &str) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(reason.len() + 8);
    fields.put(tag::REASON, reason.as_bytes());
    fields.finish()
}

pub(crate) fn encode_unreleased() -> Option<Vec<u8>> {
    FieldWriter::body(1).finish()
}

pub(crate) fn encode_start(entry: &StartEntry) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(entry).ok()?;
    let mut fields = FieldWriter::body(json.len() + 8);
    fields.put(tag::START, &json);
    fields.finish()
}

pub(crate) fn encode_blob(blob: &BlobRef) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::body(64);
    fields.put(tag::BLOB_DIGEST, blob.digest.as_bytes());
    fields.put(tag::BLOB_KIND, &[blob.kind.code()]);
    fields.put(tag::BLOB_SIZE, &blob.size.to_be_bytes());
    fields.finish()
}

pub(crate) use ceremony::encode as encode_ceremony;
pub(crate) use policy::encode as encode_policy_entry;
pub(crate) use prune::encode as encode_prune;

/// Reads a body of a given kind; `serial` is the row's.
pub(crate) fn decode(kind: EntryKind, serial: Option<&[u8]>, body: &[u8]) -> Result<Body, CodecError> {
    match kind {
        EntryKind::Start => decode_start(body),
        EntryKind::Decision | EntryKind::Denied | EntryKind::Refused => {
            decode_decision(serial, body).map(Body::Decision)
        }
        EntryKind::Certificate => decode_certificate(body),
        EntryKind::Failed => decode_failed(body),
        EntryKind::Unreleased => match read_body(body)?.next()? {
            None => Ok(Body::Unreleased),
            Some((tag, _)) => Err(CodecError::Unknown(tag)),
        },
        EntryKind::Blob => decode_blob(body),
        EntryKind::Policy => policy::decode(body).map(Body::Policy),
        EntryKind::Ceremony => ceremony::decode(body).map(Body::Ceremony),
        EntryKind::Prune => prune::decode(body).map(Body::Prune),
    }
}

fn decode_decision(serial: Option<&[u8]>, body: &[u8]) -> Result<DecisionEntry, CodecError> {
    let mut entry = DecisionEntry {
        issuer: String::new(),
        issuer_key: Digest::from_bytes([0; 32]),
        serial: serial.map(serial_number).transpose()?,
        identities: Vec::new(),
        policies: Vec::new(),
        csr: Vec::new(),
        tbs: Vec::new(),
        evidence: Vec::new(),
        kind: CertificateKind::Workload,
        denial: None,
        renewal: None,
        set: None,
    };
    let (mut previous, mut first) = (None, None);
    let (mut set, mut approvals) = (None, None);
    let mut fields = read_body(body)?.with_lists(&[tag::IDENTITY, tag::POLICY]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            tag::IDENTITY => entry.identities.push(text(tag, value)?),
            tag::POLICY => entry.policies.push(decode_policy(value)?),
            tag::ISSUER => entry.issuer = text(tag, value)?,
            tag::ISSUER_KEY => entry.issuer_key = Digest::from_bytes(array(tag, value)?),
            tag::KIND if value == [1] => entry.kind = CertificateKind::Serving,
            tag::KIND => return Err(CodecError::Value(tag)),
            tag::DENIAL => entry.denial = Some(decode_denial(value)?),
            tag::ASKED_SERIAL => entry.serial = Some(serial_number(value)?),
            tag::CSR => entry.csr = value.to_vec(),
            tag::TBS => entry.tbs = value.to_vec(),
            tag::EVIDENCE => entry.evidence = value.to_vec(),
            tag::PREVIOUS => previous = Some(serial_number(value)?),
            tag::FIRST_AUTHENTICATED => {
                first = Some(Timestamp::from_micros(i64::from_be_bytes(array(tag, value)?)));
            }
            tag::SET => set = Some(u64::from_be_bytes(array(tag, value)?)),
            tag::APPROVALS => approvals = Some(u32::from_be_bytes(array(tag, value)?)),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    entry.renewal = match (previous, first) {
        (Some(previous), Some(first_authenticated_at)) => Some(Renewal {
            previous,
            first_authenticated_at,
        }),
        (None, None) => None,
        (Some(_), None) => return Err(CodecError::Missing(tag::FIRST_AUTHENTICATED)),
        (None, Some(_)) => return Err(CodecError::Missing(tag::PREVIOUS)),
    };
    entry.set = match (set, approvals) {
        (Some(number), Some(approvals)) => Some(SetRef { number, approvals }),
        (None, None) => None,
        (Some(_), None) => return Err(CodecError::Missing(tag::APPROVALS)),
        (None, Some(_)) => return Err(CodecError::Missing(tag::SET)),
    };
    Ok(entry)
}

fn decode_certificate(body: &[u8]) -> Result<Body, CodecError> {
    let (mut fingerprint, mut tail) = (None, None);
    let mut fields = read_body(body)?;
    while let Some((tag, value)) = fields.next()? {
        match tag {
            tag::FINGERPRINT => fingerprint = Some(Digest::from_bytes(array(tag, value)?)),
            tag::TAIL => tail = Some(value.to_vec()),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(Body::Certificate(SignedPart {
        fingerprint: fingerprint.ok_or(CodecError::Missing(tag::FINGERPRINT))?,
        tail: tail.ok_or(CodecError::Missing(tag::TAIL))?,
    }))
}

fn decode_failed(body: &[u8]) -> Result<Body, CodecError> {
    let reason = text(tag::REASON, only(body, tag::REASON)?)?;
    Ok(Body::Failed { reason })
}

fn decode_start(body: &[u8]) -> Result<Body, CodecError> {
    serde_json::from_slice(only(body, tag::START)?)
        .map(Body::Start)
        .map_err(|_| CodecError::Value(tag::START))
}

/// The value of the only field that a body may have.
fn only(body: &[u8], wanted: u8) -> Result<&[u8], CodecError> {
    let mut fields = read_body(body)?;
    match fields.next()? {
        Some((found, value)) if found == wanted => fields.finish().map(|()| value),
        Some((found, _)) => Err(CodecError::Unknown(found)),
        None => Err(CodecError::Missing(wanted)),
    }
}

fn decode_blob(body: &[u8]) -> Result<Body, CodecError> {
    let (mut digest, mut kind, mut size) = (None, None, None);
    let mut fields = read_body(body)?;
    while let Some((tag, value)) = fields.next()? {
        match tag {
            tag::BLOB_DIGEST => digest = Some(Digest::from_bytes(array(tag, value)?)),
            tag::BLOB_KIND => {
                let [code] = array::<1>(tag, value)?;
                kind = Some(BlobKind::from_code(code).ok_or(CodecError::Value(tag))?);
            }
            tag::BLOB_SIZE => size = Some(u64::from_be_bytes(array(tag, value)?)),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(Body::Blob(BlobRef {
        digest: digest.ok_or(CodecError::Missing(tag::BLOB_DIGEST))?,
        kind: kind.ok_or(CodecError::Missing(tag::BLOB_KIND))?,
        size: size.ok_or(CodecError::Missing(tag::BLOB_SIZE))?,
    }))
}

fn serial_number(octets: &[u8]) -> Result<SerialNumber, CodecError> {
    SerialNumber::from_der_content(octets).map_err(|_| CodecError::Value(tag::ASKED_SERIAL))
}

fn encode_policy(policy: &PolicyRef) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::nested();
    fields.put(1, policy.name.as_bytes());
    fields.put(2, policy.module.as_bytes());
    fields.put(3, policy.settings.as_bytes());
    fields.put(4, policy.verdict.as_bytes());
    fields.put(5, &policy.fuel.to_be_bytes());
    fields.finish()
}

fn decode_policy(value: &[u8]) -> Result<PolicyRef, CodecError> {
    let mut policy = PolicyRef {
        name: String::new(),
        module: Digest::from_bytes([0; 32]),
        settings: Digest::from_bytes([0; 32]),
        verdict: String::new(),
        fuel: 0,
    };
    let mut fields = read_nested(value);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => policy.name = text(tag, value)?,
            2 => policy.module = Digest::from_bytes(array(tag, value)?),
            3 => policy.settings = Digest::from_bytes(array(tag, value)?),
            4 => policy.verdict = text(tag, value)?,
            5 => policy.fuel = u64::from_be_bytes(array(tag, value)?),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(policy)
}

fn encode_denial(denial: &Denial) -> Option<Vec<u8>> {
    let mut fields = FieldWriter::nested();
    fields.put_some(1, denial.policy.as_bytes());
    fields.put_some(2, denial.code.as_bytes());
    fields.put_some(3, denial.message.as_bytes());
    if let Some(field) = &denial.field {
        fields.put(4, field.as_bytes());
    }
    if let Some(hint) = &denial.hint {
        fields.put(5, hint.as_bytes());
    }
    fields.finish()
}

fn decode_denial(value: &[u8]) -> Result<Denial, CodecError> {
    let mut denial = Denial::default();
    let mut fields = read_nested(value);
    while let Some((tag, value)) = fields.next()? {
        let value = text(tag, value)?;
        match tag {
            1 => denial.policy = value,
            2 => denial.code = value,
            3 => denial.message = value,
            4 => denial.field = Some(value),
            5 => denial.hint = Some(value),
            _ => return Err(CodecError::Unknown(tag)),
        }
    }
    Ok(denial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> DecisionEntry {
        DecisionEntry {
            issuer: "default".into(),
            issuer_key: Digest::of(b"key"),
            serial: Some("1a2b".parse().unwrap()),
            identities: vec!["spiffe://td/ns/a/sa/b".into(), "spiffe://td/ns/a/sa/c".into()],
            policies: vec![PolicyRef {
                name: "baseline".into(),
                module: Digest::of(b"m"),
                settings: Digest::of(b"s"),
                verdict: "allow".into(),
                fuel: 4711,
            }],
            csr: vec![1, 2, 3],
            tbs: vec![4; 300],
            evidence: vec![5; 70],
            kind: CertificateKind::Serving,
            denial: Some(Denial {
                code: "NO".into(),
                hint: Some(String::new()),
                ..Denial::default()
            }),
            renewal: Some(Renewal {
                previous: "0b".parse().unwrap(),
                first_authenticated_at: Timestamp::from_micros(1_795_341_600_000_001),
            }),
            set: Some(SetRef {
                number: 7,
                approvals: 2,
            }),
        }
    }

    #[test]
    fn a_decision_reads_back() {
        let entry = decision();
        let body = encode_decision(&entry, false).unwrap();
        assert_eq!(
            decode(EntryKind::Refused, None, &body),
            Ok(Body::Decision(entry.clone()))
        );
        let body = encode_decision(&entry, true).unwrap();
        assert_eq!(
            decode(EntryKind::Decision, Some(&[0x1a, 0x2b]), &body),
            Ok(Body::Decision(entry))
        );
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let body = encode_decision(&decision(), true).unwrap();
        assert!(decode(EntryKind::Certificate, None, &body).is_err());
        assert!(decode(EntryKind::Unreleased, None, &body).is_err());
        assert!(decode(EntryKind::Start, None, &body).is_err());
    }

    #[test]
    fn a_body_has_one_spelling() {
        let failed = encode_failed("x").unwrap();
        assert!(decode(EntryKind::Failed, None, &failed).is_ok());
        let more = [failed, vec![tag::TAIL + 10, 0, 0, 0, 0]].concat();
        assert!(decode(EntryKind::Failed, None, &more).is_err());
        let mut twice = FieldWriter::body(0);
        twice.put(tag::ISSUER_KEY, &[0; 32]);
        twice.put(tag::CSR, b"shown");
        twice.put(tag::CSR, b"kept");
        let twice = twice.finish().unwrap();
        assert!(decode(EntryKind::Denied, None, &twice).is_err());
    }

    #[test]
    fn a_certificate_is_put_together_again() {
        for inner in [0usize, 100, 127, 128, 200, 255, 256, 70_000] {
            let mut tbs = sequence_header(inner).unwrap();
            tbs.resize(tbs.len() + inner, 7);
            let tail = [0x30, 0x00, 0x03, 0x01, 0x00];
            let mut der = sequence_header(tbs.len() + tail.len()).unwrap();
            der.extend_from_slice(&tbs);
            der.extend_from_slice(&tail);
            let (found, part) = SignedPart::split(&der).unwrap();
            assert_eq!((found, part.tail.as_slice()), (tbs.as_slice(), tail.as_slice()));
            assert_eq!(part.certificate(&tbs), Some(der.clone()));
            assert_eq!(part.certificate(&der), None);
            der.push(0);
            assert_eq!(SignedPart::split(&der), None);
        }
        assert_eq!(SignedPart::split(&[0x30, 0x81, 0x00]), None);
        assert_eq!(SignedPart::split(b""), None);
    }
}
