//! The journal's file: appended, synced, read back strictly.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sealwright_identity::{Digest, SharedClock};

use super::{Event, Journal};
use crate::error::Class;

/// The most bytes of a journal that is read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where a rehearsal is to be cut off, for its tests: the process is aborted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// Before the event of this number is written.
    pub before: Option<u64>,
    /// When half of it is written.
    pub within: Option<u64>,
    /// When it is on the disk.
    pub after: Option<u64>,
}

/// Two programs on one journal would each believe to be the only one.
fn lock(path: &Path, file: &File) -> Result<(), JournalError> {
    file.try_lock().map_err(|error| JournalError::Write {
        path: path.to_owned(),
        source: match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::other("another program is writing it"),
        },
    })
}

#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    file: File,
    crash: Crash,
}

impl Sink {
    pub(super) fn write(&mut self, sequence: u64, line: &str) -> Result<(), JournalError> {
        let at = |place: Option<u64>| place == Some(sequence);
        if at(self.crash.before) {
            std::process::abort();
        }
        if at(self.crash.within) {
            let half = line.as_bytes().get(..line.len() / 2).unwrap_or_default();
            let _ = self.file.write_all(half).and_then(|()| self.file.sync_all());
            std::process::abort();
        }
        let mut bytes = line.as_bytes().to_vec();
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_all());
        written.map_err(|source| JournalError::Write {
            path: self.path.clone(),
            source,
        })?;
        if at(self.crash.after) {
            std::process::abort();
        }
        Ok(())
    }
}

impl Journal {
    /// A new journal; `plan` is what its first event follows.
    ///
    /// # Errors
    /// When the file is there already, or cannot be made.
    pub fn create(path: &Path, plan: Digest, clock: SharedClock, crash: Crash) -> Result<Self, JournalError> {
        let write = |source| JournalError::Write {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map_err(write)?;
        lock(path, &file)?;
        if let Some(folder) = path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(write)?;
        }
        let sink = Sink {
            path: path.to_owned(),
            file,
            crash,
        };
        Self::over(Vec::new(), plan, Some(sink), clock)
    }

    /// A journal that goes on. A last line without its end was cut off while it was written, so nobody acted on it: it
    /// is taken away.
    ///
    /// # Errors
    /// When the file cannot be used, or is not a chain of events from the plan on.
    pub fn reopen(path: &Path, plan: Digest, clock: SharedClock, crash: Crash) -> Result<Self, JournalError> {
        let write = |source| JournalError::Write {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new().append(true).open(path).map_err(write)?;
        lock(path, &file)?;
        let text = read(path)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(u64::try_from(whole).unwrap_or(0))
                .and_then(|()| file.sync_all())
                .map_err(write)?;
        }
        let events = parse(text.get(..whole).unwrap_or_default(), plan)?;
        let sink = Sink {
            path: path.to_owned(),
            file,
            crash,
        };
        Self::over(events, plan, Some(sink), clock)
    }

    /// A journal that is only read: what it does not hold is an error.
    ///
    /// # Errors
    /// As [`Self::reopen`]; a last line that was cut off is one, too.
    pub fn replay(path: &Path, plan: Digest, clock: SharedClock) -> Result<Self, JournalError> {
        Self::replay_text(&read(path)?, plan, clock)
    }

    /// The same of a text that was read already.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn replay_text(text: &str, plan: Digest, clock: SharedClock) -> Result<Self, JournalError> {
        if !text.ends_with('\n') {
            return Err(JournalError::CutOff);
        }
        Self::over(parse(text, plan)?, plan, None, clock)
    }
}

fn read(path: &Path) -> Result<String, JournalError> {
    let unreadable = |source| JournalError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_BYTES {
        return Err(unreadable(io::Error::other("it is larger than 64 MiB")));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Each line is the one spelling of its event, and names the one before.
fn parse(text: &str, plan: Digest) -> Result<Vec<Event>, JournalError> {
    let mut previous = plan;
    let mut events = Vec::new();
    for (line, sequence) in text.lines().zip(0_u64..) {
        let event: Event =
            serde_json::from_str(line).map_err(|source| JournalError::Data { sequence, source })?;
        if event.sequence != sequence || event.previous != previous || event.line()? != line {
            return Err(JournalError::Chain { sequence });
        }
        previous = Event::digest(line);
        events.push(event);
    }
    Ok(events)
}

/// Why what was written down cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be written.
    #[error("cannot write down what happens, in {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An event that is none.
    #[error("event {sequence} cannot be read")]
    Data {
        /// Which.
        sequence: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// An event that does not follow the one before.
    #[error("event {sequence} does not follow the one before: the chain is broken")]
    Chain {
        /// Which.
        sequence: u64,
    },
    /// The last line has no end.
    #[error("the last event is cut off")]
    CutOff,
    /// Something that happens once is there again.
    #[error("event {sequence} is one that cannot be there, or not again")]
    Twice {
        /// Which.
        sequence: u64,
    },
    /// What was done is not what the plan leads to.
    #[error("event {sequence} ({step}, {call}) is not what the plan and the events before lead to")]
    Differs {
        /// Which.
        sequence: u64,
        /// Its step.
        step: String,
        /// Its call.
        call: String,
    },
    /// Something that must be there is not.
    #[error("there is no event of {call} in step {step}")]
    Missing {
        /// The step.
        step: String,
        /// The call.
        call: String,
    },
}

impl JournalError {
    pub(super) fn differs(event: &Event) -> Self {
        Self::Differs {
            sequence: event.sequence,
            step: event.step.clone(),
            call: event.call.clone(),
        }
    }

    pub(crate) const fn class(&self) -> Class {
        match self {
            Self::Write { .. } | Self::Read { .. } => Class::Unavailable,
            _ => Class::Check,
        }
    }
}
