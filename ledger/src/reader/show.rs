//! `log show`: one record whole.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::{SerialNumber, Timestamp};
use serde_json::{Map, Value, json};

use super::{LedgerReader, Pruned, ReadError, outcome_of};
use crate::{
    body::Body,
    chain::RawEntry,
    entry::{CertificateKind, DecisionEntry, EntryKind, Outcome, SetRef},
};

/// Which record is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The decision with this serial.
    Serial(SerialNumber),
    /// The entry at this place.
    Sequence(u64),
}

impl FromStr for Selector {
    type Err = String;

    /// `#12` or a decimal number of up to 10 digits is a sequence, anything else a serial in hex: serials are longer.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        if digits.len() <= 10 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return digits
                .parse()
                .map(Self::Sequence)
                .map_err(|_| format!("{text:?} is not a sequence"));
        }
        text.parse()
            .map(Self::Serial)
            .map_err(|_| format!("{text:?} is neither a serial nor a sequence"))
    }
}

/// An entry with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The entry; for a serial, or a settling entry, the decision.
    pub entry: RawEntry,
    /// Its body, read.
    pub body: Body,
    /// The entry that settles it, with its body.
    pub settlement: Option<(RawEntry, Body)>,
    /// The gate start under which it was made.
    pub start: Option<RawEntry>,
}

impl Record {
    /// What became of the request; `None` for an entry that is about none.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let kind = self.entry.entry_kind().ok()?;
        let settlement = self
            .settlement
            .as_ref()
            .and_then(|(entry, _)| entry.entry_kind().ok());
        matches!(self.body, Body::Decision(_)).then(|| outcome_of(kind, settlement))
    }

    /// The certificate (DER), if there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        match (&self.body, &self.settlement) {
            (Body::Decision(decision), Some((_, Body::Certificate(part)))) => part.certificate(&decision.tbs),
            _ => None,
        }
    }

    /// The whole record. PKCS#10 and certificate are PEM, other bytes base64.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = entry_json(&self.entry);
        match &self.body {
            Body::Decision(decision) => self.decision_json(decision, &mut json),
            Body::Start(start) => put(&mut json, "start", json!(start)),
            Body::Blob(blob) => put(
                &mut json,
                "blob",
                json!({ "digest": blob.digest, "kind": blob.kind, "size": blob.size }),
            ),
            Body::Failed { reason } => put(&mut json, "reason", json!(reason)),
            Body::Certificate(part) => put(&mut json, "fingerprint", json!(part.fingerprint)),
            Body::Policy(policy) => put(&mut json, "policy", json!(policy)),
            Body::Ceremony(ceremony) => put(&mut json, "ceremony", json!(ceremony)),
            Body::Prune(prune) => put(&mut json, "prune", json!(prune)),
            Body::Unreleased => {}
        }
        Value::Object(json)
    }

    fn decision_json(&self, decision: &DecisionEntry, json: &mut Map<String, Value>) {
        put(json, "outcome", json!(self.outcome()));
        put(json, "serial", json!(decision.serial));
        put(json, "certificate_kind", json!(decision.kind));
        put(json, "issuer", json!(decision.issuer));
        put(json, "issuer_key", json!(decision.issuer_key));
        put(json, "identity", json!(decision.identities.first()));
        put(json, "identities", json!(decision.identities));
        put(json, "policies", json!(decision.policies));
        put(json, "set", json!(decision.set.map(|set| set.number)));
        put(json, "approvals", json!(decision.set.map(approvals)));
        put(json, "denial", json!(decision.denial));
        let renewal = decision.renewal.as_ref();
        put(
            json,
            "previous_serial",
            json!(renewal.map(|renewal| &renewal.previous)),
        );
        put(
            json,
            "first_authenticated_at",
            json!(self.first_authenticated_at(decision)),
        );
        put(json, "csr", optional_pem("CERTIFICATE REQUEST", &decision.csr));
        put(json, "tbs", optional_base64(&decision.tbs));
        put(json, "evidence", optional_base64(&decision.evidence));
        put(
            json,
            "certificate",
            optional_pem("CERTIFICATE", &self.certificate().unwrap_or_default()),
        );
        if let Some((entry, body)) = &self.settlement {
            let mut settlement = entry_json(entry);
            match body {
                Body::Failed { reason } => put(&mut settlement, "reason", json!(reason)),
                Body::Certificate(part) => put(&mut settlement, "fingerprint", json!(part.fingerprint)),
                _ => {}
            }
            put(json, "settled_by", Value::Object(settlement));
        }
        if let Some(start) = &self.start {
            put(json, "start", Value::Object(entry_json(start)));
        }
    }
}

impl Record {
    /// Of a renewal, what was found then; of a workload's first certificate, its own time.
    fn first_authenticated_at(&self, decision: &DecisionEntry) -> Option<Timestamp> {
        if let Some(renewal) = &decision.renewal {
            return Some(renewal.first_authenticated_at);
        }
        let first =
            self.entry.entry_kind() == Ok(EntryKind::Decision) && decision.kind == CertificateKind::Workload;
        first.then_some(self.entry.recorded_at)
    }
}

impl LedgerReader {
    /// One record as JSON.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], or as for [`Self::entry`].
    pub async fn show(&self, selector: &Selector) -> Result<Value, ReadError> {
        self.record(selector).await.map(|record| record.to_json())
    }

    /// One record.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], [`ReadError::Pruned`], or as for [`Self::entry`].
    pub async fn record(&self, selector: &Selector) -> Result<Record, ReadError> {
        let sequence = match selector {
            Selector::Serial(serial) => match self.sequence_of(serial).await? {
                Some(sequence) => sequence,
                None => {
                    let pruned = self.pruned_serial(serial).await?;
                    return Err(absent(pruned, serial.to_string()));
                }
            },
            Selector::Sequence(sequence) => *sequence,
        };
        let mut entry = self.present(sequence).await?;
        if let Some(decision) = entry.refers {
            entry = self.present(decision).await?;
        }
        let body = read_body(&entry)?;
        let settlement = match entry.entry_kind() {
            Ok(EntryKind::Decision) => self.settlement(entry.sequence).await?,
            _ => None,
        };
        let settlement = match settlement {
            Some(entry) => Some((entry.clone(), read_body(&entry)?)),
            None => None,
        };
        let start = self.start_before(entry.sequence).await?;
        Ok(Record {
            entry,
            body,
            settlement,
            start,
        })
    }

    async fn present(&self, sequence: u64) -> Result<RawEntry, ReadError> {
        match self.entry(sequence).await? {
            Some(entry) => Ok(entry),
            None => Err(absent(self.pruned(sequence).await?, sequence.to_string())),
        }
    }
}

fn absent(pruned: Option<Pruned>, name: String) -> ReadError {
    match pruned {
        Some(pruned) => ReadError::Pruned(Box::new(pruned)),
        None => ReadError::NotFound(name),
    }
}

/// A number of people; the word says more than a zero.
fn approvals(set: SetRef) -> Value {
    match set.approvals {
        0 => json!("none"),
        people => json!(people),
    }
}

fn read_body(entry: &RawEntry) -> Result<Body, ReadError> {
    entry.body().map_err(|source| ReadError::Body {
        sequence: entry.sequence,
        source,
    })
}

fn entry_json(entry: &RawEntry) -> Map<String, Value> {
    let mut json = Map::new();
    put(&mut json, "sequence", json!(entry.sequence));
    put(&mut json, "kind", json!(entry.entry_kind().ok()));
    put(&mut json, "recorded_at", json!(entry.recorded_at));
    put(&mut json, "previous", json!(entry.previous));
    put(&mut json, "hash", json!(entry.hash));
    json
}

fn put(json: &mut Map<String, Value>, key: &str, value: Value) {
    json.insert(key.to_owned(), value);
}

fn optional_base64(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        Value::Null
    } else {
        Value::String(STANDARD.encode(bytes))
    }
}

/// PEM (RFC 7468), lines of 64.
fn optional_pem(label: &str, der: &[u8]) -> Value {
    if der.is_empty() {
        return Value::Null;
    }
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, later) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = later;
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    Value::String(pem)
}
