//! A ceremony that is cut off anywhere goes on, and makes nothing twice.

use std::fs;

use sealwright_tests::ceremony::{Room, verify};
use serde_json::Value;

/// Where an event is written: before it, in the midst of it, when it is on the disk.
const PLACES: [&str; 3] = ["--crash-before", "--crash-within", "--crash-after"];

/// Cuts a ceremony off at an event, goes on, and looks at what is there.
fn cut_off_and_go_on(place: &str, event: usize, objects: usize) {
    let room = Room::small();
    room.agree();
    let number = event.to_string();
    let cut = room.run(&[place, &number]);
    assert_ne!(cut.code, 0, "{place} {event}: it was not cut off");
    let before = room.events();
    // An abort before the first event leaves no transcript to go on with but an empty one.
    let ended = room.run(&["--resume"]);
    assert_eq!(ended.code, 0, "{place} {event}: {}", ended.stderr);
    let after = room.events();
    assert_eq!(
        after[..before.len()],
        before[..],
        "{place} {event}: an event was changed"
    );
    let verified = verify(&room.file("out"));
    assert_eq!(verified.code, 0, "{place} {event}: {}", verified.stderr);
    assert_eq!(
        room.objects().len(),
        objects,
        "{place} {event}: something was made twice"
    );
}

fn whole() -> (Vec<Value>, usize) {
    let room = Room::small();
    room.finish();
    (room.events(), room.objects().len())
}

/// On both sides of the calls that make something: the intent is there and the call was not made; the call was made and
/// its result is not there.
#[test]
fn between_intent_call_and_result_nothing_is_lost_or_made_twice() {
    let (events, objects) = whole();
    for call in ["C_InitToken", "C_CreateObject/open", "C_GenerateKeyPair"] {
        let position = |kind: &str| {
            let is = |event: &&Value| event["call"] == *call && event["kind"] == kind;
            let found = events.iter().find(is).unwrap();
            usize::try_from(found["sequence"].as_u64().unwrap()).unwrap()
        };
        cut_off_and_go_on("--crash-after", position("intent"), objects);
        cut_off_and_go_on("--crash-before", position("result"), objects);
    }
}

/// The bytes that were about to be signed are signed, and no others.
#[test]
fn the_same_bytes_are_signed_again() {
    let (events, _) = whole();
    let is = |event: &&Value| event["call"] == "C_Sign" && event["kind"] == "result";
    let result = events.iter().find(is).unwrap()["sequence"].as_u64().unwrap();
    let room = Room::small();
    room.agree();
    room.run(&["--crash-within", &result.to_string()]);
    let torn = fs::read_to_string(room.file("out/events.jsonl")).unwrap();
    assert!(!torn.ends_with('\n'));
    room.run(&["--resume"]).success();
    let events = room.events();
    let intents: Vec<_> = events
        .iter()
        .filter(|event| event["call"] == "C_Sign" && event["kind"] == "intent")
        .collect();
    assert_eq!(intents.len(), 2);
    assert_eq!(intents[0]["data"], intents[1]["data"]);
    verify(&room.file("out")).success();
}

#[test]
#[ignore = "minutes: part of make soak"]
fn a_ceremony_goes_on_from_every_event() {
    let (events, objects) = whole();
    for event in 0..events.len() {
        for place in PLACES {
            cut_off_and_go_on(place, event, objects);
        }
    }
}

#[test]
fn another_plan_or_an_empty_folder_is_not_gone_on_with() {
    let mut room = Room::small();
    room.agree();
    let refused = room.run(&["--resume"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no transcript to go on with"),
        "{}",
        refused.stderr
    );
    room.run(&["--crash-after", "12"]);
    room.replace("Example Root CA", "Another Root CA");
    room.agree();
    let refused = room.run(&["--resume"]);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    // And in earnest nobody can have it cut off.
    let room = Room::of("p256", false);
    let refused = room.sealwright(
        &room
            .arguments()
            .iter()
            .map(String::as_str)
            .filter(|argument| *argument != "--yes")
            .chain(["--crash-after", "1"])
            .collect::<Vec<_>>(),
    );
    assert_ne!(refused.code, 0);
}
