//! Whose ceremony made the issuers' keys: each transcript is verified again, whole.
//!
//! Nothing that an entry says is believed: the transcript that it names must hold, by the program of the ceremony itself,
//! and say the same. What it cannot know is whether the roster's people are those of the deployment: who reads has to bring
//! the digest of the roster, or of the transcript, as the trust anchors of certificates.

use std::collections::BTreeMap;

use sealwright_ceremony::{Files, Outcome, RELEASE, VerifiedCertificate, recall, verify_files};
use sealwright_identity::Digest;
use sealwright_ledger::{CeremonyEntry, DecisionEntry, StartEntry};
use sealwright_runtime::Chain;

use crate::problem::{Problem, shown};

/// Reads the blob with a transcript's files.
pub type ReadTranscript<'a> = &'a dyn Fn(Digest) -> Result<Vec<u8>, Problem>;

/// A ceremony whose record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The entry.
    pub sequence: u64,
    /// What it says, which the transcript bears out.
    pub entry: CeremonyEntry,
    /// Whether the program was not run again: another release made the transcript.
    pub recalled: bool,
    /// The first roster of those who approve policies, if the ceremony has one.
    pub approvers: Option<Digest>,
}

/// The ceremonies of keys, as far as the entries were read.
#[derive(Clone, Debug, Default)]
pub struct Ceremonies {
    by_key: BTreeMap<Digest, Made>,
    /// Whether anything was said of ceremonies yet: a release that does cannot be followed by one that does not.
    spoken_of: bool,
}

/// Where a certificate's key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A ceremony.
    Ceremony,
    /// None, and the gate said so.
    SaidNone,
    /// Nothing was said of ceremonies so far: the record is of an earlier release.
    Before,
}

impl Ceremonies {
    /// A ceremony's entry. The first one of a key counts, as it does at the gate.
    ///
    /// # Errors
    /// When its transcript does not hold, says something else, or is another one than the key has; then it counts for
    /// nothing here.
    pub fn apply(
        &mut self,
        sequence: u64,
        entry: &CeremonyEntry,
        read: ReadTranscript<'_>,
    ) -> Result<&Made, Problem> {
        self.spoken_of = true;
        let (recalled, approvers) = bears_out(entry, &read(entry.blob)?)?;
        let made = self.by_key.entry(entry.key).or_insert_with(|| Made {
            sequence,
            entry: entry.clone(),
            recalled,
            approvers,
        });
        if made.entry.transcript != entry.transcript {
            return Err(wrong(&format!(
                "by entry {} its key is of another",
                made.sequence
            )));
        }
        Ok(made)
    }

    /// A start of the gate.
    pub fn start(&mut self, start: &StartEntry) {
        self.spoken_of |= start
            .details
            .keys()
            .any(|key| key.starts_with(CeremonyEntry::DETAIL));
    }

    /// The ceremony of a key.
    #[must_use]
    pub fn of(&self, key: &Digest) -> Option<&Made> {
        self.by_key.get(key)
    }

    /// Every ceremony, by key.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Made> {
        self.by_key.values()
    }

    /// Where the key of a certificate comes from, by what was recorded before it.
    ///
    /// # Errors
    /// When nothing says so, or the start in force says something else.
    pub fn origin(&self, decision: &DecisionEntry, start: Option<&StartEntry>) -> Result<Origin, Problem> {
        let detail = format!("{}{}", CeremonyEntry::DETAIL, decision.issuer);
        let said = start.and_then(|start| start.details.get(&detail));
        match (self.of(&decision.issuer_key), said) {
            (Some(made), Some(said)) if *said != made.entry.transcript.to_string() => Err(wrong(&format!(
                "by entry {} its key is of the transcript {}, and the start says {said}",
                made.sequence, made.entry.transcript
            ))),
            (Some(_), _) => Ok(Origin::Ceremony),
            (None, Some(said)) if said == CeremonyEntry::NONE => Ok(Origin::SaidNone),
            (None, _) if !self.spoken_of => Ok(Origin::Before),
            (None, _) => Err(wrong(&format!(
                "no ceremony of its key {} was recorded before it",
                decision.issuer_key
            ))),
        }
    }
}

/// Whether a transcript bears out what an entry says; true when it is of another release, and only looked at. And the
/// approvers that it has.
fn bears_out(entry: &CeremonyEntry, archive: &[u8]) -> Result<(bool, Option<Digest>), Problem> {
    let failed = |error: &sealwright_ceremony::Error| wrong(&Chain(error).to_string());
    let files = Files::from_archive(archive).map_err(|error| failed(&error))?;
    let recalled = recall(&files).map_err(|error| failed(&error))?;
    let same = recalled.digest == entry.transcript
        && recalled.roster == entry.roster
        && recalled.plan == entry.plan
        && recalled.ceremony.to_string() == entry.ceremony
        && recalled.rehearsal == entry.rehearsal
        && recalled.signed_by == entry.signed_by
        && recalled.keys.contains(&entry.key);
    if !same {
        return Err(wrong("its transcript says something else"));
    }
    let approvers = recalled
        .approvers
        .as_ref()
        .map(|roster| roster.statement.digest());
    match verify_files(&files) {
        Ok(verified) => {
            let of_key = |certificate: &VerifiedCertificate| certificate.key == entry.key;
            if verified.outcome != Outcome::Finished || !verified.certificates.iter().any(of_key) {
                return Err(wrong("its transcript has no certificate for the key"));
            }
            Ok((false, approvers))
        }
        Err(_) if recalled.release.as_deref() != Some(RELEASE) => Ok((true, approvers)),
        Err(error) => Err(failed(&error)),
    }
}

fn wrong(what: &str) -> Problem {
    Problem::Ceremony(shown(what))
}
