//! The end: what was made is named, the head is confirmed by people and by the new keys, and the tokens are marked.

use sealwright_identity::Digest;
use sealwright_statement::{Sealed, Signed, Signer};
use serde::{Deserialize, Serialize};

use super::session::{step, write_mark};
use super::{Run, officer};
use crate::error::Error;
use crate::head::{Head, Outcome};
use crate::outputs::{self, OutputFile};
use crate::preconditions::{Mark, MarkState, Place, uses};

pub(crate) const CLOSING: &str = "closing";
pub(crate) const DECLARED: &str = "declared";
pub(crate) const ENDED: &str = "ended";

/// Why a ceremony is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Aborted or failed.
    pub outcome: Outcome,
    /// In words.
    pub reason: String,
    /// Whether the tokens are told. A token that is not told refuses every other ceremony.
    pub tokens_told: bool,
}

#[derive(Serialize)]
struct Named {
    path: String,
    digest: Digest,
}

#[derive(Serialize)]
struct Ended {
    outcome: Outcome,
}

impl Run<'_> {
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.confirm_all()?;
        let outcome = Outcome::Finished;
        self.journal.fact(CLOSING, ENDED, &Ended { outcome })
    }

    /// All of the end but its last word.
    pub(super) fn confirm_all(&mut self) -> Result<(), Error> {
        let named: Vec<_> = outputs::products(self)?
            .into_iter()
            .map(|file| Named {
                digest: Digest::of(&file.bytes),
                path: file.path,
            })
            .collect();
        self.journal.fact(CLOSING, "outputs", &named)?;
        self.checkpoint(CLOSING)?;
        let head = self.journal.checkpoint(CLOSING)?;
        for key in self.keys.values().cloned().collect::<Vec<_>>() {
            let call = format!("C_Sign/{}", key.name);
            let der = self.confirm((CLOSING, &call), &key, &head)?;
            self.confirmations.insert(key.name, der);
        }
        for token in self.plan.tokens.iter().filter(|token| uses(self.plan, token)) {
            let mark = Mark::of(self.approved, MarkState::Finished);
            if self.officers.is_empty() {
                // Only a journal is followed: the mark must be in it.
                self.follow_mark(&step(token), &mark)?;
            } else {
                let officer = officer(&self.officers, &token.name)?;
                write_mark(&mut self.journal, &step(token), officer, &mark)?;
            }
        }
        Ok(())
    }

    /// The end of a ceremony that was given up.
    pub(super) fn end(&mut self, declared: &Declared) -> Result<(), Error> {
        let mark = Mark::of(self.approved, MarkState::GivenUp);
        for token in self.plan.tokens.iter().filter(|token| uses(self.plan, token)) {
            let step = step(token);
            let open = Mark::of(self.approved, MarkState::Open);
            if !declared.tokens_told || !self.journal.is_answered(&step, open.call()) {
                continue;
            }
            match self.officers.get(&token.name) {
                Some(officer) => write_mark(&mut self.journal, &step, officer, &mark)?,
                None => self.follow_mark(&step, &mark)?,
            }
        }
        let outcome = declared.outcome;
        self.journal.fact(CLOSING, ENDED, &Ended { outcome })
    }

    pub(super) fn follow_mark(&mut self, step: &str, mark: &Mark) -> Result<(), Error> {
        let call = mark.call();
        let _: super::session::Done = self
            .journal
            .perform(step, call, mark, |_| Err(super::nobody(step, call)))?;
        Ok(())
    }
}

/// A ceremony that is over. What remains is to write it out and to have it signed.
#[derive(Debug)]
pub struct Finished {
    place: Place,
    head: Head,
    files: Vec<OutputFile>,
}

impl Finished {
    pub(super) const fn new(place: Place, head: Head, files: Vec<OutputFile>) -> Self {
        Self { place, head, files }
    }

    /// The end of the transcript.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Writes everything that was made, the signatures over the head, and the sums over all of it. Gives the sums'
    /// digest, which names the transcript.
    ///
    /// # Errors
    /// When a signer does not sign, or a file cannot be written.
    pub fn write(self, signers: &[&dyn Signer]) -> Result<Digest, Error> {
        let folder = &self.place.transcript;
        for file in &self.files {
            outputs::write(folder, file)?;
        }
        let sealed = Sealed::new(self.head).map_err(|error| Error::Internal(error.to_string()))?;
        let mut signed = Signed::unsigned(sealed);
        for signer in signers {
            signed
                .sign(*signer)
                .map_err(|error| Error::Internal(error.to_string()))?;
        }
        outputs::write_signatures(folder, &signed)?;
        outputs::write_sums(folder)
    }
}
