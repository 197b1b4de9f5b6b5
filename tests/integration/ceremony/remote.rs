//! A ceremony on a token in another process, which is reached through `p11-kit`: one that goes away, and one that does
//! less than the token behind it.

use std::fs;

use rustix::process::Signal;
use sealwright_tests::{
    Outcome,
    ceremony::{Room, files, verify},
    remote::Remote,
};
use serde_json::Value;

/// What `p11-kit` 0.24 does not tell of a key.
const UNTOLD: &str = "accept_not_reported = [\"CKA_ALLOWED_MECHANISMS\"]\n";

fn room(algorithm: &str) -> Room {
    accepting(algorithm, UNTOLD)
}

/// A small plan of this algorithm for a token that is there, behind `p11-kit`; agreed to.
fn accepting(algorithm: &str, accept: &str) -> Room {
    let mut room = Room::small();
    let serial = room.token("Example Root");
    room.replace("initialize = true\n", &format!("serial = \"{serial}\"\n{accept}"));
    room.replace("\"p256\"", &format!("\"{algorithm}\""));
    let room = room.remote();
    room.agree();
    room
}

/// Runs it with somebody at the terminal, who does something at each question before answering.
fn talk(room: &Room, at_question: impl FnMut(usize)) -> (Outcome, usize) {
    let arguments = room.arguments();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| *one != "--yes")
        .collect();
    room.talk_and(&arguments, at_question)
}

/// Whatever people are asked next, the token is gone by then.
#[test]
fn a_remote_token_that_dies_in_the_middle_is_gone_on_with() {
    let whole = room("p256");
    let _remote = Remote::start(whole.file("").as_path());
    let (finished, questions) = talk(&whole, |_| {});
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    assert!(questions > 3, "{questions}");
    assert_eq!(whole.objects().len(), 4);

    let mut died = 0;
    for at in 1..=questions {
        let room = room("p256");
        let remote = Remote::start(room.file("").as_path());
        let (killed, _) = talk(&room, |question| {
            if question == at {
                assert!(!remote.children().is_empty());
                remote.to_children(Signal::KILL);
            }
        });
        assert_eq!(killed.code, 10, "{at}: {}", killed.stderr);
        assert!(
            killed.stderr.contains("the token did not do it") && killed.stderr.contains("CKR_DEVICE_ERROR"),
            "{at}: {}",
            killed.stderr
        );
        let failures = room
            .events()
            .iter()
            .filter(|event| event["kind"] == "failure")
            .count();
        died += failures;
        let before = ids(&room);
        let resumed = room.run(&["--resume"]);
        assert_eq!(resumed.code, 0, "{at}: {}", resumed.stderr);
        // Nothing twice: one pair of halves, two marks; and what had its id, or was signed, stays as it was.
        assert_eq!(room.objects().len(), 4, "{at}");
        assert!(ids(&room).starts_with(&before), "{at}");
        verify(&room.file("out")).success();
    }
    assert!(died > 1, "{died} calls failed");
}

/// Of every call that has its answer, what was asked and what was answered.
fn ids(room: &Room) -> Vec<Value> {
    let events = room.events();
    let fits = |event: &&Value| {
        event["kind"] == "result" && !event["step"].as_str().unwrap().starts_with("session-")
    };
    events
        .iter()
        .filter(fits)
        .map(|event| event["data"].clone())
        .collect()
}

/// The whole server is gone for a while: that is told, and nothing is taken for done.
#[test]
fn a_remote_token_that_is_not_there_is_waited_for_by_people() {
    let room = room("p256");
    let remote = Remote::start(room.file("").as_path());
    let mut remote = Some(remote);
    let (killed, _) = talk(&room, |question| {
        if question == 2 {
            remote.take();
        }
    });
    assert_eq!(killed.code, 10, "{}", killed.stderr);
    let gone = room.run(&["--resume"]);
    assert_eq!(gone.code, 10, "{}", gone.stderr);
    assert!(!room.file("out/transcript.sig").exists());
    let _remote = Remote::start(room.file("").as_path());
    let resumed = room.run(&["--resume"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(room.objects().len(), 4);
    verify(&room.file("out")).success();
}

/// What is lost on the way is not told, which is not the same as good.
#[test]
fn what_a_module_fails_to_tell_is_not_assumed() {
    let room = accepting("p256", "");
    let _remote = Remote::start(room.file("").as_path());
    let refused = room.run(&[]);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("CKA_ALLOWED_MECHANISMS"),
        "{}",
        refused.stderr
    );
}

/// The token can, and what is before it cannot: that is seen before anything is made.
#[test]
fn a_module_that_filters_eddsa_makes_no_ed25519_key() {
    let room = room("ed25519");
    let _remote = Remote::start(room.file("").as_path());
    let before = files(&room.file("tokens"));
    let refused = room.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("stage 1")
            && refused
                .stderr
                .contains("the token root has no CKM_EC_EDWARDS_KEY_PAIR_GEN"),
        "{}",
        refused.stderr
    );
    assert_eq!(files(&room.file("tokens")), before);
    assert!(room.events().iter().all(|event| event["kind"] != "intent"));
    // Without the filter it is made.
    let direct = Room::small();
    let text = fs::read_to_string(direct.file("plan.toml")).unwrap();
    let mut direct = direct;
    direct.write_plan(&text.replace("\"p256\"", "\"ed25519\""));
    direct.finish();
}
