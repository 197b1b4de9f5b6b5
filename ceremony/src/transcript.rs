//! A transcript that is over, as it lies in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use sealwright_identity::{Digest, SharedClock};
use sealwright_statement::{Envelope, Sealed, Signed, Signer};

use crate::error::Error;
use crate::head::Head;
use crate::journal::{Crash, Journal, Note};
use crate::outputs::{self, PLAN, ROSTER, SIGNATURES};
use crate::plan::LintedPlan;
use crate::roster::Roster;
use crate::run::{self, EVENTS};

/// The longest note, in bytes.
const MAX_NOTE: usize = 4096;

/// A transcript with its head and the signatures over it, of which none was judged yet.
#[derive(Debug)]
pub struct Transcript {
    folder: PathBuf,
    roster: Sealed<Roster>,
    head: Signed<Head>,
}

impl Transcript {
    /// Opens a transcript that is over.
    ///
    /// # Errors
    /// When it is not, or a file of it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let roster = Roster::read(&text(folder, ROSTER)?)?;
        let head = Envelope::parse(&text(folder, SIGNATURES)?)
            .and_then(Envelope::open)
            .map_err(|error| Error::check(SIGNATURES, chain(&error)))?;
        Ok(Self {
            folder: folder.to_owned(),
            roster,
            head,
        })
    }

    /// The end of it.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head.statement
    }

    /// Adds a signature of somebody in the roster, and sums up again. Gives the sums' digest.
    ///
    /// # Errors
    /// When the roster has nobody with this key, or a file cannot be written.
    pub fn sign(mut self, signer: &dyn Signer) -> Result<Digest, Error> {
        if self.roster.digest() != self.head.statement.roster {
            return Err(Error::check(
                ROSTER,
                "it is another than the one that the head names",
            ));
        }
        if self.roster.owner(signer.public_key()).is_none() {
            return Err(Error::NotConfirmed(format!(
                "the roster has nobody with the key {}",
                signer.public_key().id()
            )));
        }
        self.head
            .sign(signer)
            .map_err(|error| Error::Internal(error.to_string()))?;
        outputs::write_signatures(&self.folder, &self.head)?;
        outputs::write_sums(&self.folder)
    }
}

/// Writes down what somebody in the room has to say, while no program runs on the transcript.
///
/// # Errors
/// When the ceremony is over, a program runs on it, or nothing can be written.
pub fn note(folder: &Path, clock: SharedClock, note: &Note) -> Result<(), Error> {
    if note.text.trim().is_empty() || note.text.len() > MAX_NOTE {
        return Err(Error::State(format!("a note has 1 to {MAX_NOTE} bytes")));
    }
    let plan = LintedPlan::read(&text(folder, PLAN)?)?;
    let path = folder.join(EVENTS);
    let mut journal = Journal::reopen(&path, plan.digest(), clock, Crash::default())?;
    if journal.has(run::CLOSING, run::ENDED) {
        return Err(Error::State(
            "the ceremony is over: nothing is added to it".to_owned(),
        ));
    }
    journal.note(note)
}

pub(crate) fn text(folder: &Path, name: &str) -> Result<String, Error> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(Error::files(&path))
}

/// An error with what is behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
