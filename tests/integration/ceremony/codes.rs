//! What an exit code says of where a ceremony is left. Others are asserted where they come from: 8 in `tamper` and
//! `faults`, 11 and 12 in `survey`, 13 in `ends`.

use std::fs;

use sealwright_tests::ceremony::{PIN, Room, verify};

/// Runs it with somebody who types these answers.
fn asked(room: &Room, more: &[&str], answers: &str) -> (i32, String) {
    let arguments = room.arguments();
    let arguments = arguments.iter().map(String::as_str).filter(|one| *one != "--yes");
    let arguments: Vec<&str> = arguments.chain(more.iter().copied()).collect();
    let outcome = room.command(&arguments, answers);
    (outcome.code, outcome.stderr)
}

#[test]
fn a_no_before_something_was_made_and_after_it_are_two_codes() {
    let room = Room::small();
    room.agree();
    let (code, said) = asked(&room, &[], "no\n");
    assert_eq!(code, 4, "{said}");
    assert!(fs::read_dir(room.file("tokens")).unwrap().next().is_none());
    // The token is made, the key is not.
    let (code, said) = asked(&room, &["--resume"], "yes\nno\n");
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("--resume goes on"), "{said}");
    room.run(&["--resume"]).success();
    assert_eq!(verify(&room.file("out")).json()["sessions"], 3);
    // What is over is not open.
    let over = room.run(&["--resume", "--declare", "failed", "--reason", "too late"]);
    assert_eq!(over.code, 7, "{}", over.stderr);
}

#[test]
fn a_refused_pin_is_one_code_wherever_it_is() {
    let room = Room::small();
    room.agree();
    room.run(&["--crash-after", "30"]);
    fs::write(room.file("pin"), "0000\n").unwrap();
    for says in ["refused the PIN", "not tried again"] {
        let refused = room.run(&["--resume"]);
        assert_eq!(refused.code, 7, "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    fs::write(room.file("pin"), format!("{PIN}\n")).unwrap();
    room.run(&["--resume"]).success();
}

/// What is in the help is what there is.
#[test]
fn the_help_names_every_code() {
    let room = Room::small();
    let help = room.sealwright(&["ceremony", "--help"]).success();
    let (_, codes) = help.split_once("Exit codes:").unwrap();
    for code in ["0", "2", "4", "5", "6", "7", "8", "10", "11", "12", "13", "70"] {
        assert!(
            codes.split_whitespace().any(|word| word == code),
            "{code}: {codes}"
        );
    }
}
