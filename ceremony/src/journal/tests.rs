//! Tests of the journal.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use sealwright_identity::{ManualClock, Timestamp};
use serde_json::json;

use super::*;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        Self {
            _folder: folder,
            path,
        }
    }

    fn plan() -> Digest {
        Digest::of(b"plan")
    }

    fn clock() -> SharedClock {
        Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)))
    }

    fn create(&self) -> Journal {
        Journal::create(&self.path, Self::plan(), Self::clock(), Crash::default()).unwrap()
    }

    fn reopen(&self) -> Result<Journal, JournalError> {
        Journal::reopen(&self.path, Self::plan(), Self::clock(), Crash::default())
    }

    fn replay(&self) -> Result<Journal, JournalError> {
        Journal::replay(&self.path, Self::plan(), Self::clock())
    }
}

fn program(journal: &mut Journal, made: &mut Vec<Attempt>) -> Result<String, Error> {
    journal.fact("begin", "plan", &json!({"title": "test"}))?;
    let seen: String = journal.observe("key", "look", || Ok("seen".to_owned()))?;
    let answer: String = journal.perform("key", "make", &json!({"seen": seen}), |attempt| {
        made.push(attempt);
        Ok("made".to_owned())
    })?;
    journal.checkpoint("end")?;
    Ok(answer)
}

/// Cut off behind any byte of the file, the program ends with the same events, and a call whose result is there is not
/// made again.
#[test]
fn a_program_goes_on_wherever_it_was_cut_off() {
    let whole = Place::new();
    program(&mut whole.create(), &mut Vec::new()).unwrap();
    let bytes = fs::read(&whole.path).unwrap();
    let result = String::from_utf8(bytes.clone()).unwrap();
    let result = result.find("\"kind\":\"result\"").unwrap();
    let result_ends = result + result_end(&bytes[result..]);
    let ends = (0..=bytes.len()).filter(|cut| cut % 41 == 0 || bytes[..*cut].ends_with(b"\n"));
    for cut in ends {
        let place = Place::new();
        fs::write(&place.path, &bytes[..cut]).unwrap();
        let mut made = Vec::new();
        assert_eq!(program(&mut place.reopen().unwrap(), &mut made).unwrap(), "made");
        assert_eq!(made.is_empty(), cut >= result_ends, "{cut}");
        let intents = String::from_utf8_lossy(&bytes[..cut])
            .matches("\"kind\":\"intent\"")
            .count();
        let whole_intent = intents == 1 && made == [Attempt::Again];
        assert!(made.is_empty() || made == [Attempt::First] || whole_intent);
        // And whoever reads it follows the same program.
        let mut replay = place.replay().unwrap();
        program(&mut replay, &mut made).unwrap();
        assert_eq!(replay.unexplained(), None);
    }
}

fn result_end(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap() + 1
}

#[test]
fn another_intent_than_the_one_written_down_is_refused() {
    let place = Place::new();
    program(&mut place.create(), &mut Vec::new()).unwrap();
    let mut journal = place.reopen().unwrap();
    let other = journal.perform(
        "key",
        "make",
        &json!({"seen": "other"}),
        |_| Ok("made".to_owned()),
    );
    assert!(matches!(other, Err(Error::Journal(JournalError::Differs { .. }))));
    assert!(journal.fact("begin", "plan", &json!({"title": "other"})).is_err());
    let missing = place.replay().unwrap().fact("begin", "more", &json!({}));
    assert!(matches!(
        missing,
        Err(Error::Journal(JournalError::Missing { .. }))
    ));
}

#[test]
fn a_failure_is_written_down_and_the_call_is_made_again() {
    let place = Place::new();
    let mut journal = place.create();
    let fails = |_: Attempt| -> Result<(), Error> { Err(Error::State("no".to_owned())) };
    journal.perform("key", "make", &json!({}), fails).unwrap_err();
    drop(journal);
    let mut again = None;
    let mut journal = place.reopen().unwrap();
    journal
        .perform("key", "make", &json!({}), |attempt| {
            again = Some(attempt);
            Ok(())
        })
        .unwrap();
    assert_eq!(again, Some(Attempt::Again));
    let kinds: Vec<_> = journal.events().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Intent, Kind::Failure, Kind::Intent, Kind::Result]);
    let mut replay = place.replay().unwrap();
    replay.perform("key", "make", &json!({}), fails).unwrap();
    assert_eq!(replay.unexplained(), None);
}

#[test]
fn an_event_that_the_program_does_not_lead_to_is_found() {
    let place = Place::new();
    let mut journal = place.create();
    program(&mut journal, &mut Vec::new()).unwrap();
    journal.fact("key", "more", &json!({})).unwrap();
    let mut replay = place.replay().unwrap();
    program(&mut replay, &mut Vec::new()).unwrap();
    assert_eq!(replay.unexplained().unwrap().call, "more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any change of any byte breaks the chain, or the program over it, or changes the head.
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let place = Place::new();
        let mut journal = place.create();
        program(&mut journal, &mut Vec::new()).unwrap();
        let head = journal.head();
        let mut bytes = fs::read(&place.path).unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        fs::write(&place.path, &bytes).unwrap();
        let noticed = match place.replay() {
            Err(_) => true,
            Ok(mut journal) => program(&mut journal, &mut Vec::new()).is_err() || journal.head() != head,
        };
        prop_assert!(noticed);
    }

    #[test]
    fn never_panics(text in "(\\{[ -~]{0,80}\\}\n){0,4}") {
        let place = Place::new();
        fs::write(&place.path, text).unwrap();
        let _ = place.replay();
    }
}
