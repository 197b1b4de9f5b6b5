//! The text form: written in one way, and read only when it was written so.

use std::collections::BTreeSet;
use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::Digest;

use super::{Envelope, EnvelopeError, MAX_ARMOUR_BYTES, MAX_SIGNATURES};
use crate::key::PublicKey;
use crate::signature::{self, Signature};
use crate::words::words;

const BEGIN_STATEMENT: &str = "-----BEGIN SEALWRIGHT STATEMENT-----";
const END_STATEMENT: &str = "-----END SEALWRIGHT STATEMENT-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN SEALWRIGHT SIGNATURE-----";
const END_SIGNATURE: &str = "-----END SEALWRIGHT SIGNATURE-----";

const LINE: usize = 64;
const WORDS_IN_LINE: usize = 4;

/// The longest name of a type.
const MAX_TYPE: usize = 64;

pub(super) fn write(envelope: &Envelope, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digest = envelope.digest();
    writeln!(f, "{BEGIN_STATEMENT}")?;
    writeln!(f, "Type: {}", envelope.kind)?;
    writeln!(f, "Digest: {digest}")?;
    let spoken: Vec<_> = words(&digest).collect();
    for line in spoken.chunks(WORDS_IN_LINE) {
        writeln!(f, "Words: {}", line.join(" "))?;
    }
    writeln!(f)?;
    base64_lines(&envelope.bytes, f)?;
    writeln!(f, "{END_STATEMENT}")?;
    for signature in &envelope.signatures {
        writeln!(f, "{BEGIN_SIGNATURE}")?;
        writeln!(f, "Key: {}", signature.key.id())?;
        writeln!(f, "Public: {}", STANDARD.encode(signature.key.spki()))?;
        writeln!(f)?;
        base64_lines(&signature.bytes, f)?;
        writeln!(f, "{END_SIGNATURE}")?;
    }
    Ok(())
}

fn base64_lines(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = STANDARD.encode(bytes);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        writeln!(f, "{line}")?;
        rest = after;
    }
    Ok(())
}

pub(super) fn parse(text: &str) -> Result<Envelope, EnvelopeError> {
    if text.len() > MAX_ARMOUR_BYTES {
        return Err(EnvelopeError::TooLarge(text.len()));
    }
    let mut lines = Lines::of(text);
    lines.exactly(BEGIN_STATEMENT)?;
    let kind = lines.field("Type: ")?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if kind.is_empty() || kind.len() > MAX_TYPE || !kind.bytes().all(plain) {
        return Err(lines.wrong("Type: policy-set"));
    }
    let said = lines.field("Digest: ")?;
    while lines.peek().is_some_and(|line| line.starts_with("Words: ")) {
        lines.next();
    }
    lines.exactly("")?;
    let bytes = lines.base64_until(END_STATEMENT)?;
    let mut envelope = Envelope {
        kind: kind.to_owned(),
        bytes,
        signatures: Vec::new(),
    };
    let found = envelope.digest();
    if said.parse::<Digest>() != Ok(found) {
        return Err(EnvelopeError::Digest {
            said: said.chars().take(80).collect(),
            found,
        });
    }
    let mut keys = BTreeSet::new();
    while lines.peek().is_some() {
        if envelope.signatures.len() == MAX_SIGNATURES {
            return Err(EnvelopeError::TooMany);
        }
        let signature = parse_signature(&mut lines)?;
        if !keys.insert(signature.key.id()) {
            return Err(EnvelopeError::Twice(signature.key.id()));
        }
        envelope.signatures.push(signature);
    }
    // Whatever a reader of the file could see and we did not look at: there is one spelling.
    let written = envelope.to_string();
    let mut given = Lines::of(text);
    for (line, wanted) in (1..).zip(written.lines()) {
        if given.next() != Some(wanted) {
            return Err(EnvelopeError::Spelling {
                line,
                wanted: wanted.to_owned(),
            });
        }
    }
    match given.next() {
        None => Ok(envelope),
        Some(_) => Err(given.wrong("")),
    }
}

fn parse_signature(lines: &mut Lines<'_>) -> Result<Signature, EnvelopeError> {
    lines.exactly(BEGIN_SIGNATURE)?;
    lines.field("Key: ")?;
    let spki = lines.field("Public: ")?;
    let spki = STANDARD
        .decode(spki)
        .map_err(|_invalid| EnvelopeError::Base64(lines.read))?;
    let key = PublicKey::from_spki(&spki).map_err(|source| EnvelopeError::Key {
        line: lines.read,
        source,
    })?;
    lines.exactly("")?;
    let bytes = lines.base64_until(END_SIGNATURE)?;
    if bytes.is_empty() || bytes.len() > signature::MAX_BYTES {
        return Err(EnvelopeError::Base64(lines.read));
    }
    Ok(Signature { key, bytes })
}

/// Lines without their ends, counted. Blank ones at the end of the text are none.
struct Lines<'a> {
    lines: std::iter::Peekable<std::str::Lines<'a>>,
    read: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            lines: text.trim_end_matches(['\r', '\n']).lines().peekable(),
            read: 0,
        }
    }

    fn peek(&mut self) -> Option<&'a str> {
        self.lines.peek().copied()
    }

    fn exactly(&mut self, wanted: &str) -> Result<(), EnvelopeError> {
        match self.next() {
            Some(line) if line == wanted => Ok(()),
            Some(_) => Err(self.wrong(wanted)),
            None => Err(EnvelopeError::CutOff(wanted.to_owned())),
        }
    }

    fn field(&mut self, name: &str) -> Result<&'a str, EnvelopeError> {
        let line = self
            .next()
            .ok_or_else(|| EnvelopeError::CutOff(name.to_owned()))?;
        line.strip_prefix(name).ok_or_else(|| self.wrong(name))
    }

    fn base64_until(&mut self, end: &str) -> Result<Vec<u8>, EnvelopeError> {
        let mut text = String::new();
        loop {
            let line = self.next().ok_or_else(|| EnvelopeError::CutOff(end.to_owned()))?;
            if line == end {
                break;
            }
            text.push_str(line);
        }
        STANDARD
            .decode(text)
            .map_err(|_invalid| EnvelopeError::Base64(self.read))
    }

    fn wrong(&self, wanted: &str) -> EnvelopeError {
        EnvelopeError::Line {
            line: self.read,
            wanted: wanted.to_owned(),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.read += 1;
        Some(line)
    }
}
