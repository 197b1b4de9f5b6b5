//! Attestations of keys: read, bounded, kept as they were given. They are never verified here, and say so.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sealwright_identity::Digest;
use serde::Serialize;

use super::{Hex, Run, officer};
use crate::error::Error;
use crate::plan::{Attestation, KeyStep, MAX_ATTESTATION};

const CALL: &str = "attestation";

/// What a key's fact says of it.
#[derive(Serialize)]
pub(super) struct Attested {
    /// In words; for what is kept it begins with `unverified`.
    pub(super) attestation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attested: Option<Kept>,
}

/// What was kept.
#[derive(Serialize)]
struct Kept {
    file: String,
    octets: usize,
    digest: Digest,
}

impl Run<'_> {
    /// A file that was there before its key cannot speak of it.
    pub(super) fn not_attested_yet(&self, step: &KeyStep) -> Result<(), Error> {
        match &step.attestation {
            Attestation::File(path) if self.room.is_some() && Path::new(path).exists() => {
                Err(Error::State(format!(
                    "{path} is there before the key {} is made, so it cannot be its attestation: take it away",
                    step.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// Keeps what the plan names. What a token does not tell is added to `not_reported`, where the plan accepts that.
    pub(super) fn attest(
        &mut self,
        step: &KeyStep,
        id: &[u8],
        not_reported: &mut Vec<String>,
    ) -> Result<Attested, Error> {
        let name = step.name.as_str();
        let (told, from) = match &step.attestation {
            Attestation::None => {
                return Ok(Attested {
                    attestation: "none: only the people in the room know which device holds the key"
                        .to_owned(),
                    attested: None,
                });
            }
            Attestation::File(path) => {
                let what = format!(
                    "keep {path} as the attestation of the key {:?} with the id {}: make it with the vendor's tool \
                     now",
                    step.label,
                    hex::encode(id)
                );
                self.go(name, CALL, &what)?;
                let told = self.journal.observe(name, CALL, || file(step, path).map(Some))?;
                (told, "from a file".to_owned())
            }
            Attestation::Attribute(attribute) => {
                let told = self.attribute(step, id, attribute)?;
                (told, format!("the token's attribute {attribute}"))
            }
        };
        let Some(Hex(bytes)) = told else {
            return self.silent(step, from, not_reported);
        };
        if bytes.is_empty() || bytes.len() > MAX_ATTESTATION {
            let problem = format!(
                "its attestation has {} octets: 1 to {MAX_ATTESTATION} are kept",
                bytes.len()
            );
            return Err(Error::check(name, problem));
        }
        let kept = Kept {
            file: step.attestation_file(),
            octets: bytes.len(),
            digest: Digest::of(&bytes),
        };
        self.attestations
            .insert(step.name.clone(), (kept.file.clone(), bytes));
        Ok(Attested {
            attestation: format!("unverified: {from}; nobody here can check it"),
            attested: Some(kept),
        })
    }

    /// Of the private key.
    fn attribute(&mut self, step: &KeyStep, id: &[u8], attribute: &str) -> Result<Option<Hex>, Error> {
        let name = step.name.as_str();
        let kind = step.attestation.vendor_attribute();
        let kind = kind.ok_or_else(|| Error::check(name, format!("{attribute} is no vendor's attribute")))?;
        let officers = &self.officers;
        self.journal.observe(name, CALL, || {
            let told = officer(officers, &step.token)?
                .vendor_attribute(&step.label, id, kind, MAX_ATTESTATION)
                .map_err(|error| match error {
                    long @ sealwright_hsm::Error::AttributeTooLong { .. } => Error::check(name, long),
                    other => {
                        Error::token(format!("reading the attribute {attribute} of the key {name}"))(other)
                    }
                })?;
            Ok(told.map(Hex))
        })
    }

    fn silent(
        &self,
        step: &KeyStep,
        from: String,
        not_reported: &mut Vec<String>,
    ) -> Result<Attested, Error> {
        let Attestation::Attribute(attribute) = &step.attestation else {
            return Err(Error::check(
                step.name.as_str(),
                "the file of its attestation is missing",
            ));
        };
        let token = self.plan.token(&step.token);
        if !token.is_some_and(|token| token.accept_not_reported.contains(attribute)) {
            return Err(Error::Attributes {
                step: step.name.to_string(),
                deviations: vec![format!(
                    "private {attribute} is not reported (a plan accepts that by `accept_not_reported`)"
                )],
            });
        }
        not_reported.push(format!("private {attribute}"));
        Ok(Attested {
            attestation: format!(
                "none: not reported, {from}; only the people in the room know which device holds the key"
            ),
            attested: None,
        })
    }
}

fn file(step: &KeyStep, path: &str) -> Result<Hex, Error> {
    let place = Path::new(path);
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_ATTESTATION).unwrap_or(u64::MAX);
    let read = File::open(place).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::State(format!(
            "the attestation of the key {} is not there: make it with the vendor's tool, put it at {path}, and go on \
             with --resume",
            step.name
        ))),
        Err(error) => Err(Error::files(place)(error)),
        // Not written down, so that the right file can be put there.
        Ok(_) if bytes.is_empty() || bytes.len() > MAX_ATTESTATION => Err(Error::State(format!(
            "{path} is empty or larger than {MAX_ATTESTATION} octets, which no attestation of the key {} is: put the \
             right file there, and go on with --resume",
            step.name
        ))),
        Ok(_) => Ok(Hex(bytes)),
    }
}
