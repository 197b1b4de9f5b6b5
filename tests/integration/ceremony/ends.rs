//! Ends that nobody wished for, and what is typed in between.

use std::{fs, process::Command};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, files, verify};

#[test]
fn a_ceremony_that_is_given_up_is_signed_as_that_and_stays_so() {
    let room = Room::small();
    room.agree();
    // Cut off between the key and its certificate.
    room.run(&["--crash-after", "30"]);
    let note = [
        "ceremony",
        "note",
        &room.path("out"),
        "--about",
        "exception",
        "--text",
        "the lights went out",
    ];
    room.sealwright(&note).success();
    let given_up = [
        "--resume",
        "--declare",
        "failed",
        "--reason",
        "the lights went out",
    ];
    let ended = room.run(&given_up).json_of(13);
    assert_eq!(ended["outcome"], "failed");
    let verified = verify(&room.file("out"));
    assert_eq!(verified.json_of(13)["outcome"], "failed");
    assert!(!room.file("out/certificates").exists());

    let refused = room.run(&["--resume"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    let refused = room.run(&given_up);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    let refused = room.sealwright(&note);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing is added"), "{}", refused.stderr);
}

#[test]
fn it_can_be_given_up_from_anywhere() {
    let whole = Room::small();
    whole.finish();
    let events = whole.events().len();
    for event in (0..events - 1).step_by(6) {
        let room = Room::small();
        room.agree();
        room.run(&["--crash-before", &(event + 1).to_string()]);
        let ended = room.run(&["--resume", "--declare", "aborted", "--reason", "practice"]);
        assert_eq!(ended.code, 13, "{event}: {}", ended.stderr);
        let verified = verify(&room.file("out"));
        assert_eq!(verified.code, 13, "{event}: {}", verified.stderr);
    }
}

#[test]
fn a_session_that_a_precondition_stopped_is_followed_by_one_that_goes_on() {
    stopped_once(Room::small());
}

/// All tokens are seen before anybody logs in to the first: what was seen of the second is explained, too.
#[test]
fn a_session_that_the_first_of_two_tokens_stopped_is_followed_by_one_that_goes_on() {
    stopped_once(Room::new());
}

/// What a session saw and could not go on with stands in the transcript; a later one, for which the way was cleared, ends well.
fn stopped_once(mut room: Room) {
    let util = |arguments: &[&str]| {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", room.file("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let pins = ["--pin", PIN, "--so-pin", SO_PIN];
    util(&[&["--init-token", "--free", "--label", "Example Root"], &pins[..]].concat());
    let slots = util(&["--show-slots"]);
    let serial = slots
        .lines()
        .find_map(|line| line.trim().strip_prefix("Serial number:"))
        .unwrap()
        .trim()
        .to_owned();
    let stray = room.path("stray.pem");
    let made = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ])
        .arg(&stray)
        .status()
        .unwrap();
    assert!(made.success());
    let before = files(&room.file("tokens"));
    let import = [
        "--import",
        &stray,
        "--token",
        "Example Root",
        "--label",
        "root",
        "--id",
        "01",
    ];
    util(&[&import[..], &pins[..2]].concat());
    room.replace(
        "Example Root\"\ninitialize = true",
        &format!("Example Root\"\nserial = \"{serial}\""),
    );
    room.agree();
    let stopped = room.run(&[]);
    assert_eq!(stopped.code, 7, "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains("has a key with the label"),
        "{}",
        stopped.stderr
    );
    // Somebody takes the stray key away, and says so.
    for (path, _) in files(&room.file("tokens")) {
        if !before.iter().any(|(known, _)| *known == path) {
            fs::remove_file(path).unwrap();
        }
    }
    let out = room.path("out");
    room.sealwright(&["ceremony", "note", &out, "--text", "a stray key was destroyed"])
        .success();
    room.run(&["--resume"]).success();
    let verified = verify(&room.file("out"));
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    let remarks = verified.json()["remarks"].to_string();
    assert!(remarks.contains("session-1 stopped"), "{remarks}");
}

#[test]
fn what_people_say_stands_in_the_transcript() {
    let room = Room::small();
    room.agree();
    room.run(&["--crash-after", "20"]);
    let out = room.path("out");
    fs::write(room.file("photo.jpg"), "light").unwrap();
    let (photo, note) = (room.path("photo.jpg"), ["ceremony", "note", &out]);
    let say = |more: &[&str]| room.sealwright(&[&note, more].concat());
    say(&["--about", "leaves", "--text", "Carl leaves the room"]).success();
    say(&[
        "--about",
        "photograph",
        "--text",
        "the seal of the safe",
        "--file",
        &photo,
    ])
    .success();
    assert_ne!(say(&["--text", " "]).code, 0);
    room.run(&["--resume"]).success();
    let notes: Vec<_> = room
        .events()
        .into_iter()
        .filter(|event| event["kind"] == "note")
        .collect();
    assert_eq!(notes.len(), 2);
    assert_eq!(notes[0]["data"]["subject"], "leaves");
    assert!(notes[1]["data"]["file"].as_str().unwrap().starts_with("sha256:"));
    verify(&room.file("out")).success();
}
