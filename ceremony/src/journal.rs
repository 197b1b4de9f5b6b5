//! What happens, written down before it happens.
//!
//! A file of JSON lines, each with the digest of the one before. A call of the token is two of them: the *intent* is on
//! the disk before the call is made, the *result* before it is used. A program that runs over a journal gets back
//! what is in it already, and goes on where it ends: so a ceremony is resumed, and a finished one is verified, by the
//! same program. What the program would ask for now and what it asked for then must be the same bytes.

mod event;
mod file;

use std::collections::{BTreeMap, BTreeSet};

use sealwright_identity::{Digest, SharedClock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::event::{Event, Kind, Note, Subject};
use self::file::Sink;
pub use self::file::{Crash, JournalError};
use crate::error::Error;

/// Whether a call may have been made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was not.
    First,
    /// It may have been: its intent is there, its result is not.
    Again,
}

/// The events of a ceremony, and the place where more are written.
#[derive(Debug)]
pub struct Journal {
    sink: Option<Sink>,
    clock: SharedClock,
    events: Vec<Event>,
    head: Digest,
    index: BTreeMap<(String, String), Slot>,
    /// Sequence numbers that the program accounted for in this run.
    explained: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    intents: Vec<usize>,
    failures: Vec<usize>,
    answer: Option<usize>,
}

impl Journal {
    fn over(
        events: Vec<Event>,
        head: Digest,
        sink: Option<Sink>,
        clock: SharedClock,
    ) -> Result<Self, JournalError> {
        let mut journal = Self {
            sink,
            clock,
            events: Vec::new(),
            head,
            index: BTreeMap::new(),
            explained: BTreeSet::new(),
        };
        for event in events {
            journal.enter(event)?;
        }
        Ok(journal)
    }

    /// The digest of the last event; of the plan, when there is none.
    #[must_use]
    pub const fn head(&self) -> Digest {
        self.head
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether the result, fact or observation of that name is there.
    #[must_use]
    pub fn is_answered(&self, step: &str, call: &str) -> bool {
        self.answer(step, call).is_some()
    }

    /// Whether an event of that name is there, be it an intent.
    #[must_use]
    pub fn has(&self, step: &str, call: &str) -> bool {
        self.index.contains_key(&key(step, call))
    }

    /// The number of the first event of that name.
    #[must_use]
    pub fn first(&self, step: &str, call: &str) -> Option<u64> {
        let slot = self.index.get(&key(step, call))?;
        let first = slot.intents.iter().chain(&slot.answer).min()?;
        self.events.get(*first).map(|event| event.sequence)
    }

    /// Accounts for a call that was asked for and, where it has no result, failed or was cut off.
    ///
    /// # Errors
    /// When it was asked for otherwise.
    pub fn attempted(&mut self, step: &str, call: &str, intent: &impl Serialize) -> Result<(), Error> {
        let intent = json(intent)?;
        let slot = self.index.get(&key(step, call));
        let mut intents = slot.iter().flat_map(|slot| &slot.intents);
        let other = intents.find_map(|at| self.events.get(*at).filter(|event| event.data != intent));
        if let Some(event) = other {
            return Err(JournalError::differs(event).into());
        }
        self.explain(step, call);
        Ok(())
    }

    /// Something that follows from what is known: written once, the same whenever it is computed again.
    ///
    /// # Errors
    /// When it is not, or cannot be written.
    pub fn fact(&mut self, step: &str, call: &str, data: &impl Serialize) -> Result<(), Error> {
        let data = json(data)?;
        match self.answer(step, call) {
            Some(event) if event.kind == Kind::Fact && event.data == data => {
                self.explain(step, call);
                Ok(())
            }
            Some(event) => Err(JournalError::differs(event).into()),
            None => self.append(Kind::Fact, step, call, data),
        }
    }

    /// A fact that was written down, if it was.
    ///
    /// # Errors
    /// When it is none, or has another form.
    pub fn follow_fact<T: Serialize + DeserializeOwned>(
        &mut self,
        step: &str,
        call: &str,
    ) -> Result<Option<T>, Error> {
        let Some(event) = self.answer(step, call) else {
            return Ok(None);
        };
        let fact: T = read(event, Kind::Fact)?;
        self.fact(step, call, &fact)?;
        Ok(Some(fact))
    }

    /// Something that was seen, and may be seen otherwise another time: what was seen first counts.
    ///
    /// # Errors
    /// When it cannot be seen, or not be written.
    pub fn observe<T: Serialize + DeserializeOwned>(
        &mut self,
        step: &str,
        call: &str,
        look: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(event) = self.answer(step, call) {
            let seen = read(event, Kind::Observation)?;
            self.explain(step, call);
            return Ok(seen);
        }
        self.writable(step, call)?;
        let seen = look()?;
        self.append(Kind::Observation, step, call, json(&seen)?)?;
        Ok(seen)
    }

    /// A call that changes or uses the token: the intent is on the disk before `act` runs, its result before this
    /// returns. Nothing is done when the result is there already.
    ///
    /// # Errors
    /// When the intent is another than the one that is there, when the call fails, or when nothing can be written.
    pub fn perform<T: Serialize + DeserializeOwned>(
        &mut self,
        step: &str,
        call: &str,
        intent: &impl Serialize,
        act: impl FnOnce(Attempt) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let intent = json(intent)?;
        let slot = self.index.get(&key(step, call));
        let intents = slot.map_or(&[][..], |slot| &slot.intents);
        for event in intents.iter().filter_map(|at| self.events.get(*at)) {
            if event.data != intent {
                return Err(JournalError::differs(event).into());
            }
        }
        let attempt = if intents.is_empty() {
            Attempt::First
        } else {
            Attempt::Again
        };
        if let Some(event) = self.answer(step, call) {
            if attempt == Attempt::First {
                return Err(JournalError::differs(event).into());
            }
            let result = read(event, Kind::Result)?;
            self.explain(step, call);
            return Ok(result);
        }
        if self.sink.is_none() {
            // Where a ceremony was given up, a call may have been asked for and never answered.
            self.explain(step, call);
        }
        self.writable(step, call)?;
        self.append(Kind::Intent, step, call, intent)?;
        match act(attempt) {
            Ok(result) => {
                self.append(Kind::Result, step, call, json(&result)?)?;
                Ok(result)
            }
            Err(error) => {
                let failed = event::Failed::of(&error);
                self.append(Kind::Failure, step, call, json(&failed)?)?;
                Err(error)
            }
        }
    }

    /// Writes down the head as it is now, to be read aloud or confirmed. Gives that head.
    ///
    /// # Errors
    /// When it is not the head at that place, or cannot be written.
    pub fn checkpoint(&mut self, step: &str) -> Result<Digest, Error> {
        if let Some(event) = self.answer(step, "head") {
            let (event, previous) = (event.clone(), event.previous);
            if event.kind != Kind::Checkpoint || event.data != json(&Checkpoint { head: previous })? {
                return Err(JournalError::differs(&event).into());
            }
            self.explain(step, "head");
            return Ok(previous);
        }
        let head = self.head;
        self.append(Kind::Checkpoint, step, "head", json(&Checkpoint { head })?)?;
        Ok(head)
    }

    /// Writes down what somebody had to say.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, note: &Note) -> Result<(), Error> {
        let number = self.events.len();
        self.append(Kind::Note, NOTES, &format!("note-{number}"), json(note)?)
    }

    /// Accounts for the notes, wherever they are.
    ///
    /// # Errors
    /// When one is none.
    pub fn follow_notes(&mut self) -> Result<(), Error> {
        let notes = self.events.iter().filter(|event| event.kind == Kind::Note);
        let mut sequences = Vec::new();
        for event in notes {
            let note: Note = read(event, Kind::Note)?;
            let form = event.step == NOTES
                && event.call == format!("note-{}", event.sequence)
                && json(&note)? == event.data;
            if !form {
                return Err(JournalError::differs(event).into());
            }
            sequences.push(event.sequence);
        }
        self.explained.extend(sequences);
        Ok(())
    }

    /// The first event that no part of the program accounted for.
    #[must_use]
    pub fn unexplained(&self) -> Option<&Event> {
        self.events
            .iter()
            .find(|event| !self.explained.contains(&event.sequence))
    }

    fn answer(&self, step: &str, call: &str) -> Option<&Event> {
        let slot = self.index.get(&key(step, call))?;
        self.events.get(slot.answer?)
    }

    fn explain(&mut self, step: &str, call: &str) {
        if let Some(slot) = self.index.get(&key(step, call)) {
            let all = slot.intents.iter().chain(&slot.failures).chain(&slot.answer);
            let sequences = all
                .filter_map(|at| self.events.get(*at))
                .map(|event| event.sequence);
            self.explained.extend(sequences);
        }
    }

    fn writable(&self, step: &str, call: &str) -> Result<(), JournalError> {
        match self.sink {
            Some(_) => Ok(()),
            None => Err(JournalError::Missing {
                step: step.to_owned(),
                call: call.to_owned(),
            }),
        }
    }

    fn append(&mut self, kind: Kind, step: &str, call: &str, data: Value) -> Result<(), Error> {
        self.writable(step, call)?;
        let event = Event {
            sequence: u64::try_from(self.events.len()).unwrap_or(u64::MAX),
            previous: self.head,
            time: self.clock.now(),
            kind,
            step: step.to_owned(),
            call: call.to_owned(),
            data,
        };
        let line = event.line()?;
        if let Some(sink) = &mut self.sink {
            sink.write(event.sequence, &line)?;
        }
        self.explained.insert(event.sequence);
        self.enter(event)?;
        Ok(())
    }

    fn enter(&mut self, event: Event) -> Result<(), JournalError> {
        self.head = Event::digest(&event.line()?);
        let at = self.events.len();
        let slot = self.index.entry(key(&event.step, &event.call)).or_default();
        let free = match event.kind {
            Kind::Intent => {
                slot.intents.push(at);
                slot.answer.is_none()
            }
            Kind::Failure => {
                slot.failures.push(at);
                slot.failures.len() <= slot.intents.len()
            }
            Kind::Result => slot.answer.replace(at).is_none() && !slot.intents.is_empty(),
            Kind::Fact | Kind::Observation | Kind::Checkpoint | Kind::Note => {
                slot.answer.replace(at).is_none() && slot.intents.is_empty()
            }
        };
        if !free {
            return Err(JournalError::Twice {
                sequence: event.sequence,
            });
        }
        self.events.push(event);
        Ok(())
    }
}

/// The step of notes.
const NOTES: &str = "notes";

#[derive(Serialize)]
struct Checkpoint {
    head: Digest,
}

fn key(step: &str, call: &str) -> (String, String) {
    (step.to_owned(), call.to_owned())
}

fn json(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::Internal(error.to_string()))
}

fn read<T: DeserializeOwned>(event: &Event, kind: Kind) -> Result<T, Error> {
    if event.kind != kind {
        return Err(JournalError::differs(event).into());
    }
    serde_json::from_value(event.data.clone()).map_err(|source| {
        JournalError::Data {
            sequence: event.sequence,
            source,
        }
        .into()
    })
}

#[cfg(test)]
mod tests;
