//! Whoever holds a whole ledger can write it anew, with all hashes. This does it to an export, as the format's description
//! says, and not with the ledger's own code.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::{Digest, SerialNumber, Timestamp};
use serde_json::{Value as Json, json};

/// Tags and values of a body.
pub(crate) type Fields = Vec<(u8, Vec<u8>)>;

const KINDS: [&str; 10] = [
    "start",
    "decision",
    "certificate",
    "denied",
    "refused",
    "failed",
    "unreleased",
    "blob",
    "policy",
    "ceremony",
];
const BLOBS: [&str; 9] = [
    "module",
    "settings",
    "engine-profile",
    "chain",
    "other",
    "statement",
    "source",
    "report",
    "transcript",
];

/// An export of a whole ledger, to be changed.
#[derive(Clone)]
pub(crate) struct Ledger {
    header: Json,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) fields: Fields,
    /// Of a blob's entry: kind and bytes.
    pub(crate) blob: Option<(String, Vec<u8>)>,
    sequence: u64,
    recorded_at: String,
    refers: Option<u64>,
    serial: Option<String>,
}

impl Entry {
    pub(crate) fn field(&mut self, wanted: u8) -> &mut Vec<u8> {
        let place = self.fields.iter_mut().find(|(tag, _)| *tag == wanted);
        &mut place.unwrap_or_else(|| panic!("no field {wanted}")).1
    }
}

impl Ledger {
    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap());
        let header = lines.next().unwrap();
        assert_eq!(header["after"]["sequence"], 0, "only a whole ledger");
        let mut blobs = BTreeMap::new();
        let mut entries = Vec::new();
        for line in lines {
            let sequence = line["sequence"].as_u64();
            let bytes = |member: &str| STANDARD.decode(line[member].as_str().unwrap()).unwrap();
            match line["type"].as_str().unwrap() {
                "blob" => {
                    let kind = line["kind"].as_str().unwrap().to_owned();
                    blobs.insert(sequence.unwrap(), (kind, bytes("bytes")));
                }
                "entry" => entries.push(Entry {
                    kind: line["kind"].as_str().unwrap().to_owned(),
                    fields: fields(&bytes("body")),
                    blob: blobs.remove(&sequence.unwrap()),
                    sequence: sequence.unwrap(),
                    recorded_at: line["recorded_at"].as_str().unwrap().to_owned(),
                    refers: line["refers"].as_u64(),
                    serial: line["serial"].as_str().map(str::to_owned),
                }),
                _ => {}
            }
        }
        Self { header, entries }
    }

    /// The place of the first entry of a kind.
    pub(crate) fn first(&self, kind: &str) -> usize {
        self.entries.iter().position(|entry| entry.kind == kind).unwrap()
    }

    /// Puts an entry before another, of the same time.
    pub(crate) fn insert(&mut self, place: usize, kind: &str, fields: Fields) {
        let recorded_at = self.entries[place].recorded_at.clone();
        self.entries.insert(
            place,
            Entry {
                kind: kind.to_owned(),
                fields,
                blob: None,
                sequence: 0,
                recorded_at,
                refers: None,
                serial: None,
            },
        );
    }

    /// Puts a blob before an entry; the digest of its bytes.
    pub(crate) fn insert_blob(&mut self, place: usize, kind: &str, bytes: &[u8]) -> Digest {
        self.insert(place, "blob", Vec::new());
        self.entries[place].blob = Some((kind.to_owned(), bytes.to_vec()));
        Digest::of(bytes)
    }

    /// Changes the bytes of a blob; their new digest.
    pub(crate) fn replace_blob(&mut self, digest: Digest, bytes: Vec<u8>) -> Digest {
        let mut blobs = self.entries.iter_mut().filter_map(|entry| entry.blob.as_mut());
        let blob = blobs.find(|(_, bytes)| Digest::of(bytes) == digest).unwrap();
        let fresh = Digest::of(&bytes);
        blob.1 = bytes;
        fresh
    }

    pub(crate) fn blob(&self, digest: Digest) -> &[u8] {
        let mut blobs = self.entries.iter().filter_map(|entry| entry.blob.as_ref());
        &blobs.find(|(_, bytes)| Digest::of(bytes) == digest).unwrap().1
    }

    /// All of it, numbered and hashed anew.
    pub(crate) fn written(&self) -> String {
        let mut text = format!("{}\n", self.header);
        let mut previous = self.header["after"]["hash"].as_str().unwrap().to_owned();
        let (mut numbers, mut open, mut blobs) = (BTreeMap::new(), BTreeSet::new(), 0);
        for (entry, sequence) in self.entries.iter().zip(1_u64..) {
            if entry.sequence > 0 {
                numbers.insert(entry.sequence, sequence);
            }
            let mut body = entry.fields.clone();
            if let Some((kind, bytes)) = &entry.blob {
                let code = BLOBS.iter().position(|name| name == kind).unwrap() + 1;
                body = vec![
                    (24, Digest::of(bytes).as_bytes().to_vec()),
                    (25, vec![u8::try_from(code).unwrap()]),
                    (26, (bytes.len() as u64).to_be_bytes().to_vec()),
                ];
                let digest = Digest::of(bytes);
                let line = json!({
                    "type": "blob", "sequence": sequence, "kind": kind, "digest": digest,
                    "bytes": STANDARD.encode(bytes),
                });
                text.push_str(&format!("{line}\n"));
                blobs += 1;
            }
            let refers = entry.refers.map(|decision| numbers[&decision]);
            if entry.kind == "decision" {
                open.insert(sequence);
            }
            if let Some(decision) = refers {
                open.remove(&decision);
            }
            let settled = open.first().copied().unwrap_or(sequence + 1);
            let body = body_of(&body);
            let hash = hash(entry, sequence, settled, refers, &body, &previous);
            let line = json!({
                "type": "entry", "sequence": sequence, "kind": entry.kind, "recorded_at": entry.recorded_at,
                "settled": settled, "refers": refers, "serial": entry.serial, "previous": previous,
                "hash": hash, "body": STANDARD.encode(&body),
            });
            text.push_str(&format!("{line}\n"));
            previous = hash;
        }
        let (entries, digest) = (self.entries.len(), Digest::of(text.as_bytes()));
        // As the format has it: the last line must be these bytes and no others.
        text.push_str(&format!(
            "{{\"type\":\"end\",\"entries\":{entries},\"blobs\":{blobs},\
             \"head\":{{\"sequence\":{entries},\"hash\":\"{previous}\"}},\"digest\":\"{digest}\"}}\n"
        ));
        text
    }
}

fn hash(
    entry: &Entry,
    sequence: u64,
    settled: u64,
    refers: Option<u64>,
    body: &[u8],
    previous: &str,
) -> String {
    let mut hashed = b"sealwright/ledger/entry/v1\0".to_vec();
    hashed.extend(sequence.to_be_bytes());
    let kind = KINDS.iter().position(|name| *name == entry.kind).unwrap();
    hashed.push(u8::try_from(kind).unwrap() + 1);
    let at: Timestamp = entry.recorded_at.parse().unwrap();
    hashed.extend(at.micros().to_be_bytes());
    hashed.extend(settled.to_be_bytes());
    match refers {
        None => hashed.push(0),
        Some(decision) => {
            hashed.push(1);
            hashed.extend(decision.to_be_bytes());
        }
    }
    match &entry.serial {
        None => hashed.push(0),
        Some(serial) => {
            let serial: SerialNumber = serial.parse().unwrap();
            hashed.push(1);
            hashed.extend(u32::try_from(serial.as_bytes().len()).unwrap().to_be_bytes());
            hashed.extend(serial.as_bytes());
        }
    }
    hashed.extend(Digest::of(body).as_bytes());
    hashed.extend(previous.parse::<Digest>().unwrap().as_bytes());
    Digest::of(&hashed).to_string()
}

fn fields(body: &[u8]) -> Fields {
    let mut fields = Vec::new();
    let mut rest = &body[1..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        fields.push((rest[0], rest[5..5 + length].to_vec()));
        rest = &rest[5 + length..];
    }
    fields
}

fn body_of(fields: &Fields) -> Vec<u8> {
    let mut body = vec![1];
    for (tag, value) in fields {
        body.push(*tag);
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
    }
    body
}
