//! Tokens whose PINs are typed at a pad of their own: waited for, attested by people, never asked for here.

use std::fs;

use sealwright_tests::{
    Outcome,
    ceremony::{PIN, Room, SO_PIN, files, verify},
};
use serde_json::Value;

use super::tamper::{edit, tampered_of};

const PAD: &str = "label = \"Example Root\"\npin = \"pad\"\npin_parts = 2\n";

/// A small plan whose token has a pad, by the plan; agreed to.
fn room() -> Room {
    let mut room = Room::small().faulty();
    room.replace("label = \"Example Root\"\n", PAD);
    room.agree();
    room
}

/// Somebody types the right PINs, and this goes wrong.
fn inject(room: &Room, faults: &str) {
    let (user, so) = (room.path("pin"), room.path("so-pin"));
    room.inject(&format!("pad-user={user}\npad-so={so}\n{faults}\n"));
}

/// Runs it without a source of any PIN: a prompt would find no terminal.
fn run(room: &Room, more: &[&str]) -> Outcome {
    let arguments = without_pins(room);
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    room.sealwright(&arguments)
}

fn without_pins(room: &Room) -> Vec<String> {
    let all = room.arguments();
    let mut left = Vec::new();
    let mut all = all.into_iter();
    while let Some(one) = all.next() {
        if one == "--pin" || one == "--so-pin" {
            all.next();
        } else {
            left.push(one);
        }
    }
    left
}

fn events<'a>(events: &'a [Value], kind: &str, call: &str) -> Vec<&'a Value> {
    let fits = |event: &&Value| event["kind"] == kind && event["call"] == call;
    events.iter().filter(fits).collect()
}

#[test]
fn pins_that_are_typed_at_a_pad_are_waited_for_and_never_seen() {
    let room = room();
    // Whoever types takes a moment.
    inject(&room, "login=sleep:200\ninit_pin=sleep:200");
    let run = run(&room, &["--people-deadline", "1m"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let waiting: Vec<_> = run
        .stderr
        .lines()
        .filter(|line| line.contains("at the pad of"))
        .collect();
    assert_eq!(waiting.len(), 3, "{}", run.stderr);
    for line in waiting {
        assert!(line.contains("2 people, one after the other"), "{line}");
        assert!(line.contains("waiting, for 1m at most"), "{line}");
    }

    let all = room.events();
    for call in ["C_InitToken", "C_InitPIN", "C_Login/root"] {
        let intents = events(&all, "intent", call);
        assert_eq!(intents.len(), 1, "{call}");
        assert_eq!(intents[0]["data"]["pin"], "pad", "{call}");
    }
    for (call, what) in [
        ("pad", "new PINs of the token root"),
        ("pad/root", "the user PIN"),
    ] {
        let said = events(&all, "observation", call);
        assert_eq!(said.len(), 1, "{call}");
        assert!(said[0]["data"]["what"].as_str().unwrap().contains(what));
        assert_eq!(said[0]["data"]["attested"], "not asked, in a rehearsal");
    }

    let verified = verify(&room.file("out")).json();
    let remarks = verified["remarks"].to_string();
    assert!(remarks.contains("typed at its pad: people said so"), "{remarks}");
    let (plan, roster, out) = (room.path("plan.toml"), room.path("roster.toml"), room.path("out"));
    let script = room.sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster]);
    let shown = "typed at its own pad, by 2 people";
    let linted = room.sealwright(&["ceremony", "plan", "lint", &plan]);
    let linted = format!("{}{}", linted.stdout, linted.stderr);
    assert!(linted.contains("by-people") && linted.contains(shown), "{linted}");
    assert!(script.success().contains(shown));
    let page = room.path("page.html");
    room.sealwright(&["ceremony", "report", &out, "--html", &page])
        .success();
    assert!(fs::read_to_string(page).unwrap().contains(shown));

    // The PINs are in their own files and nowhere else.
    for (path, bytes) in files(room.file("").as_path()) {
        let own = ["pin", "so-pin"].map(|name| room.file(name)).contains(&path);
        let token = path.starts_with(room.file("tokens"));
        let text = String::from_utf8_lossy(&bytes);
        let there = text.contains(PIN) || text.contains(SO_PIN);
        assert!(own || token || !there, "{}", path.display());
    }
    assert!(!room.file("out.state/pin-refused").exists());

    // What people said is about this token and no other.
    for (said, other) in [
        (
            "the user PIN of the token root was",
            "the user PIN of the token rook was",
        ),
        ("the new PINs of the token root", "the new PINs of the token rook"),
    ] {
        let found = tampered_of(&room, said, |out| {
            edit(&out.join("events.jsonl"), |text| text.replace(said, other));
        });
        assert!(found.contains("it is about this"), "{found}");
    }
}

#[test]
fn where_a_pin_is_given_is_as_planned_or_nothing_is_made() {
    let planned = room();
    let refused = run(&planned, &[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("stage 1") && refused.stderr.contains("says that it has none"),
        "{}",
        refused.stderr
    );
    let unplanned = Room::small().faulty();
    unplanned.agree();
    inject(&unplanned, "");
    let refused = unplanned.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("stage 1") && refused.stderr.contains("waits for it"),
        "{}",
        refused.stderr
    );
    for room in [planned, unplanned] {
        let made = files(&room.file("tokens"));
        assert!(made.is_empty(), "{made:?}");
    }
}

/// The same for a token that is there before the ceremony.
#[test]
fn a_token_that_lost_its_pad_is_not_logged_in_to() {
    let room = room();
    inject(&room, "generate_random=device_removed");
    assert_eq!(run(&room, &[]).code, 10);
    room.inject("");
    let refused = run(&room, &["--resume"]);
    assert_eq!(refused.code, 10, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("says that it has none"),
        "{}",
        refused.stderr
    );
    // Once it is as planned again, it goes on, and the start that stopped is explained.
    inject(&room, "");
    run(&room, &["--resume"]).success();
    let verified = verify(&room.file("out")).json();
    assert_eq!(verified["sessions"], 3, "{verified}");
}

#[test]
fn nobody_is_asked_a_second_time_by_itself() {
    for (fault, call, answer, says, code) in [
        (
            "init_token=function_canceled",
            "C_InitToken",
            "CKR_FUNCTION_CANCELED",
            "was not given at its pad",
            7,
        ),
        (
            "init_pin=function_canceled",
            "C_InitPIN",
            "CKR_FUNCTION_CANCELED",
            "was not given at its pad",
            7,
        ),
        // The security officer's login comes first.
        (
            "login=function_canceled after:1",
            "C_Login/root",
            "CKR_FUNCTION_CANCELED",
            "was not given at its pad",
            7,
        ),
        (
            "login=pin_incorrect after:1",
            "C_Login/root",
            "CKR_PIN_INCORRECT",
            "refused the PIN: incorrect; it is not tried again",
            7,
        ),
        (
            "login=pin_locked after:1",
            "C_Login/root",
            "CKR_PIN_LOCKED",
            "refused the PIN: locked",
            7,
        ),
        (
            "login=hang after:1",
            "C_Login/root",
            "",
            "did not answer within 1s while waiting for the PIN at its pad",
            10,
        ),
    ] {
        let room = room();
        inject(&room, fault);
        let stopped = run(&room, &["--people-deadline", "1s"]);
        assert_eq!(stopped.code, code, "{fault}: {}", stopped.stderr);
        assert!(stopped.stderr.contains(says), "{fault}: {}", stopped.stderr);
        let all = room.events();
        assert_eq!(events(&all, "intent", call).len(), 1, "{fault}");
        let failed = events(&all, "failure", call);
        assert_eq!(failed.len(), 1, "{fault}");
        let told = failed[0]["data"]["return_value"].as_str().unwrap_or_default();
        assert_eq!(told, answer, "{fault}");
        // A person who starts it again is another matter.
        inject(&room, "");
        let resumed = run(&room, &["--resume"]);
        assert_eq!(resumed.code, 0, "{fault}: {}", resumed.stderr);
        verify(&room.file("out")).success();
    }
}

/// The token counts by itself what people type.
#[test]
fn a_wrong_pin_at_the_pad_is_one_try_of_the_token() {
    let room = room();
    inject(&room, "generate_random=device_removed");
    assert_eq!(run(&room, &[]).code, 10);
    fs::write(room.file("wrong"), "0000000000").unwrap();
    let (user, so) = (room.path("wrong"), room.path("so-pin"));
    room.inject(&format!("pad-user={user}\npad-so={so}\n"));
    let refused = run(&room, &["--resume"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("refused the PIN: incorrect"),
        "{}",
        refused.stderr
    );
    inject(&room, "");
    let resumed = run(&room, &["--resume"]);
    assert!(
        resumed.stderr.contains("wrong PINs were tried on it"),
        "{}",
        resumed.stderr
    );
    resumed.success();
}

#[test]
fn people_say_whether_it_was_so() {
    let room = room();
    inject(&room, "");
    let asked: Vec<_> = without_pins(&room)
        .into_iter()
        .filter(|one| one != "--yes")
        .collect();
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    // It may be initialised, and then somebody else typed.
    let denied = room.command(&asked, "yes\nno\n");
    assert_eq!(denied.code, 10, "{}", denied.stderr);
    assert!(
        denied
            .stderr
            .contains("not confirmed: the user PIN of the token root was typed at its pad"),
        "{}",
        denied.stderr
    );
    asked.push("--resume");
    let (resumed, _) = room.talk(&asked);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let all = room.events();
    for call in ["pad", "pad/root"] {
        let said = events(&all, "observation", call);
        assert_eq!(said.len(), 1, "{call}");
        assert_eq!(said[0]["data"]["attested"], "yes typed", "{call}");
    }
    verify(&room.file("out")).success();
}

#[test]
fn an_inventory_waits_at_the_pad_too() {
    let room = room();
    inject(&room, "");
    run(&room, &[]).success();
    let all = room.events();
    let serial = events(&all, "fact", "identity")[0]["data"]["serial"]
        .as_str()
        .unwrap();
    let module = sealwright_tests::fault::module();
    let surveyed = room.sealwright(&[
        "ceremony",
        "inventory",
        "--module",
        module.to_str().unwrap(),
        "--serial",
        serial,
        "--state",
        &room.path("state"),
        "--transcript",
        &room.path("out"),
    ]);
    assert!(surveyed.stderr.contains("at the pad of"), "{}", surveyed.stderr);
    surveyed.success();
}
