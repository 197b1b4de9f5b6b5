//! Operators who all agree to change what was written down, and sign it again: what is still found, and what is not.

use std::{fs, path::Path};

use sealwright_statement::{
    Envelope, FileSigner, SchemaError, Sealed, Signed, Statement,
    cbor::{Key, Value as Item},
};
use sealwright_tests::ceremony::{Room, copy, sum_up, verify};
use serde_json::Value;

/// The end of a transcript, whatever it says.
struct End(Item);

impl Statement for End {
    const TYPE: &'static str = "ceremony-head";

    fn to_value(&self) -> Item {
        self.0.clone()
    }

    fn from_value(value: Item) -> Result<Self, SchemaError> {
        Ok(Self(value))
    }

    fn check(&self) -> Result<(), SchemaError> {
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hex::encode(digest.as_ref())
}

fn digest_of_event(line: &str) -> String {
    digest(&[b"sealwright/ceremony-event/v1\0", line.as_bytes()].concat())
}

/// Changes events and covers it up with all that operators have: the chain, every mention of it afterwards, the end that
/// people sign, their signatures, and the sums.
fn re_sign(room: &Room, folder: &Path, by: &[&str], change: impl FnOnce(&mut Vec<Value>)) {
    let path = folder.join("events.jsonl");
    let before = fs::read_to_string(&path).unwrap();
    let mut events: Vec<Value> = before
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let digests: Vec<String> = before.lines().map(digest_of_event).collect();
    change(&mut events);
    let mut previous = events[0]["previous"].as_str().unwrap().to_owned();
    let (mut text, mut renamed) = (String::new(), Vec::<(String, String)>::new());
    for (event, was) in events.iter_mut().zip(digests) {
        event["previous"] = previous.into();
        let mut line = event.to_string();
        for (old, new) in &renamed {
            line = line.replace(old, new);
        }
        let now = digest_of_event(&line);
        previous = format!("sha256:{now}");
        text.push_str(&line);
        text.push('\n');
        if was != now {
            renamed.push((was, now));
        }
    }
    assert!(!renamed.is_empty(), "nothing was changed");
    fs::write(&path, text).unwrap();

    let signatures = folder.join("transcript.sig");
    let end: Signed<End> = Envelope::parse(&fs::read_to_string(&signatures).unwrap())
        .unwrap()
        .open()
        .unwrap();
    let Item::Map(mut members) = end.statement.into_inner().0 else {
        panic!("the end is no map");
    };
    members.insert(Key("head".to_owned()), Item::Text(previous));
    let mut end = Signed::unsigned(Sealed::new(End(Item::Map(members))).unwrap());
    for name in by {
        let key = FileSigner::open(&room.file(&format!("{name}.pem"))).unwrap();
        end.sign(&key).unwrap();
    }
    fs::write(&signatures, end.to_string()).unwrap();
    sum_up(folder);
}

/// The number of the first event of that name.
fn position(events: &[Value], step: &str, call: &str) -> usize {
    let at = events
        .iter()
        .position(|event| event["step"] == step && event["call"] == call);
    at.unwrap_or_else(|| panic!("no {call} in {step}"))
}

/// A second later, in a form that nothing can object to.
fn later(event: &mut Value) {
    let time = event["time"].as_str().unwrap().to_owned();
    let (day, _) = time.split_once('T').unwrap();
    event["time"] = format!("{day}T23:59:59Z").into();
}

#[test]
fn what_was_before_the_last_checkpoint_is_confirmed_by_the_new_keys() {
    let room = Room::small();
    room.finish();
    let folder = tempfile::tempdir().unwrap();
    for (step, call) in [
        ("begin", "program"),
        ("root-key", "key"),
        ("root-ca", "certificate"),
    ] {
        let copy_of = folder.path().join(step);
        copy(&room.file("out"), &copy_of);
        re_sign(&room, &copy_of, &["anna", "bert"], |events| {
            let at = position(events, step, call);
            later(&mut events[at]);
        });
        let found = verify(&copy_of);
        assert_eq!(found.code, 8, "{step} {call}: {}", found.stderr);
        assert!(
            found.stderr.contains("the signature of root-key is wrong"),
            "{step} {call}: {}",
            found.stderr
        );
    }
    // Nor is it enough for one of them.
    let copy_of = folder.path().join("alone");
    copy(&room.file("out"), &copy_of);
    let last = |events: &mut Vec<Value>| later(events.last_mut().unwrap());
    re_sign(&room, &copy_of, &["anna"], last);
    let found = verify(&copy_of);
    assert!(found.stderr.contains("1 of 2 operators"), "{}", found.stderr);
}

/// The limits, as docs/ceremony.md has them: only another name of the transcript tells.
#[test]
fn what_no_key_confirmed_can_be_written_again_by_all_operators_together() {
    let room = Room::small();
    room.finish();
    let folder = tempfile::tempdir().unwrap();
    let whole = verify(&room.file("out")).json();
    let copy_of = folder.path().join("last");
    copy(&room.file("out"), &copy_of);
    re_sign(&room, &copy_of, &["anna", "bert"], |events| {
        later(events.last_mut().unwrap());
    });
    let other = verify(&copy_of);
    assert_eq!(other.code, 0, "{}", other.stderr);
    assert_ne!(other.json()["digest"], whole["digest"]);

    // A ceremony that was given up has no confirmations at all.
    let room = Room::small();
    room.agree();
    room.run(&["--crash-after", "30"]);
    let why = [
        "--resume",
        "--declare",
        "failed",
        "--reason",
        "the key was seen by a stranger",
    ];
    assert_eq!(room.run(&why).code, 13);
    let whole = verify(&room.file("out")).json_of(13);
    let copy_of = folder.path().join("given-up");
    copy(&room.file("out"), &copy_of);
    re_sign(&room, &copy_of, &["anna", "bert"], |events| {
        let at = position(events, "closing", "declared");
        events[at]["data"]["reason"] = "the lights went out".into();
    });
    let other = verify(&copy_of);
    assert_ne!(other.json_of(13)["digest"], whole["digest"]);
}
