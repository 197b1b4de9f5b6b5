//! Tokens that a quorum of their own must open: waited for, attested by people, never taken for proven.

use std::fs;

use sealwright_tests::{
    Outcome,
    ceremony::{Room, verify},
};
use serde_json::Value;

use super::tamper::{edit, tampered_of};

const WORDS: &str = "Insert two of the three cards, one after the other.";

/// A small plan whose token is there already, and takes two of its own people; agreed to.
fn room(more: &str) -> Room {
    let mut room = Room::small().faulty();
    let serial = room.token("Example Root");
    let token = format!(
        "label = \"Example Root\"\nserial = \"{serial}\"\n{more}\
         hsm_quorum = {{ threshold = 2, instruction = \"{WORDS}\" }}\n"
    );
    room.replace("label = \"Example Root\"\ninitialize = true\n", &token);
    room.agree();
    room
}

/// Runs it with somebody at the terminal.
fn talk(room: &Room, more: &[&str]) -> Outcome {
    let arguments = room.arguments();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| *one != "--yes")
        .chain(more.iter().copied())
        .collect();
    room.talk(&arguments).0
}

fn count(room: &Room, kind: &str, call: &str) -> usize {
    let events = room.events();
    let fits = |event: &&Value| event["kind"] == kind && event["call"] == call;
    events.iter().filter(fits).count()
}

fn times(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn a_quorum_of_the_token_is_waited_for_and_only_attested() {
    let room = room("");
    let run = talk(&room, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        times(&run.stderr, "2 people of its own quorum open it."),
        1,
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("Waiting, for 10m at most"), "{}", run.stderr);

    let events = room.events();
    let at = |call: &str| {
        let found = events.iter().position(|event| event["call"] == call);
        found.unwrap_or_else(|| panic!("no {call}"))
    };
    let said = &events[at("quorum/root/1")];
    assert!(at("quorum/root/1") < at("C_Login/root"));
    assert!(said["data"]["what"].as_str().unwrap().contains(WORDS));
    assert!(
        said["data"]["attested"].as_str().unwrap().contains("typed"),
        "{said}"
    );

    let verified = verify(&room.file("out")).json();
    let remarks = verified["remarks"].to_string();
    let remark = "opened by 2 people of its own quorum";
    assert!(
        remarks.contains(remark) && remarks.contains("people said so, and nothing verifies it"),
        "{remarks}"
    );
    let (plan, roster, out) = (room.path("plan.toml"), room.path("roster.toml"), room.path("out"));
    let script = room
        .sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster])
        .success();
    assert!(
        script.contains(WORDS) && script.contains("who opened it: ____"),
        "{script}"
    );
    let page = room.path("page.html");
    room.sealwright(&["ceremony", "report", &out, "--html", &page])
        .success();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains(WORDS) && page.contains("nothing verifies it"));

    // Neither what was said changes, nor when.
    let found = tampered_of(&room, "what was said", |out| {
        edit(&out.join("events.jsonl"), |text| {
            text.replace("was opened by 2 people", "was opened by 3 people")
        });
    });
    assert!(found.contains("it is about this"), "{found}");
    let found = tampered_of(&room, "who said it", |out| {
        edit(&out.join("events.jsonl"), |text| {
            text.replace("quorum/root/1", "quorum/root/2")
        });
    });
    assert!(found.contains("before people said that its quorum"), "{found}");
}

/// It is asked again after people said so again, and never by itself.
#[test]
fn a_token_that_is_not_open_yet_is_asked_again_only_after_people() {
    for (answer, name) in [
        ("vendor_defined", "CKR_VENDOR_DEFINED (0x80000012)"),
        ("user_not_logged_in", "CKR_USER_NOT_LOGGED_IN"),
        ("function_canceled", "CKR_FUNCTION_CANCELED"),
    ] {
        let room = room("");
        room.inject(&format!("login={answer} count:2\n"));
        let run = talk(&room, &[]);
        assert_eq!(run.code, 0, "{answer}: {}", run.stderr);
        assert_eq!(times(&run.stderr, "is not open"), 2, "{answer}: {}", run.stderr);
        assert!(run.stderr.contains(name), "{answer}: {}", run.stderr);
        assert_eq!(count(&room, "intent", "C_Login/root"), 3, "{answer}");
        assert_eq!(count(&room, "failure", "C_Login/root"), 2, "{answer}");
        for number in 1..=3 {
            let call = format!("quorum/root/{number}");
            assert_eq!(count(&room, "observation", &call), 1, "{answer}");
        }
        verify(&room.file("out")).success();
    }

    // It does not go on for ever.
    let never = room("");
    never.inject("login=vendor_defined\n");
    let run = talk(&never, &[]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert_eq!(count(&never, "intent", "C_Login/root"), 5);
    // Where nobody is asked, nobody said so.
    let nobody = room("");
    nobody.inject("login=vendor_defined\n");
    let run = nobody.run(&[]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("--yes asks nobody"), "{}", run.stderr);
    assert_eq!(count(&nobody, "intent", "C_Login/root"), 1);
    nobody.inject("");
    nobody.run(&["--resume"]).success();
    verify(&nobody.file("out")).success();
}

/// A PIN that is wrong is one try, quorum or not.
#[test]
fn a_wrong_pin_is_no_matter_of_the_quorum() {
    let room = room("");
    fs::write(room.file("pin"), "0000000000").unwrap();
    let refused = talk(&room, &[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert_eq!(count(&room, "intent", "C_Login/root"), 1);
    let again = talk(&room, &["--resume"]);
    assert_eq!(again.code, 7, "{}", again.stderr);
    assert!(
        again.stderr.contains("it was not tried again"),
        "{}",
        again.stderr
    );
}

#[test]
fn people_who_do_not_say_so_are_not_waited_for_without_end() {
    let room = room("");
    let arguments = room.arguments();
    let mut arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|one| *one != "--yes")
        .collect();
    let other = room.command(&arguments, "three other words\n");
    assert_eq!(other.code, 4, "{}", other.stderr);
    assert!(
        other.stderr.contains("other words were typed"),
        "{}",
        other.stderr
    );
    arguments.extend(["--resume", "--people-deadline", "1s"]);
    let silent = room.silence(&arguments);
    assert_eq!(silent.code, 4, "{}", silent.stderr);
    assert!(
        silent.stderr.contains("nobody answered within 1s"),
        "{}",
        silent.stderr
    );
    assert_eq!(count(&room, "intent", "C_Login/root"), 0);
}

/// Both at once: the cards first, then the pad.
#[test]
fn a_token_may_have_a_quorum_and_a_pad() {
    let room = room("pin = \"pad\"\n");
    let pads = format!("pad-user={}\npad-so={}\n", room.path("pin"), room.path("so-pin"));
    room.inject(&format!("{pads}login=vendor_defined count:1\n"));
    let run = talk(&room, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for (what, how_often) in [
        ("Now at the token", 2),
        ("Now at the pad", 2),
        ("Type yes if it was so", 1),
    ] {
        assert_eq!(times(&run.stderr, what), how_often, "{what}: {}", run.stderr);
    }
    let remarks = verify(&room.file("out")).json()["remarks"].to_string();
    assert!(
        remarks.contains("its own quorum") && remarks.contains("typed at its pad"),
        "{remarks}"
    );
}

#[test]
fn a_plan_of_a_quorum_makes_sense() {
    let mut room = Room::small();
    let quorum = |threshold: u64, words: &str| {
        format!("initialize = true\nhsm_quorum = {{ threshold = {threshold}, instruction = \"{words}\" }}\n")
    };
    let before = room.plan.clone();
    for (text, says) in [
        (quorum(2, WORDS), "set up by the vendor's tool"),
        (
            quorum(0, WORDS).replace("initialize = true", "serial = \"1\""),
            "`threshold`",
        ),
        (
            quorum(2, " ").replace("initialize = true", "serial = \"1\""),
            "`instruction`",
        ),
    ] {
        room.write_plan(&before);
        room.replace("initialize = true\n", &text);
        let linted = room.sealwright(&["ceremony", "plan", "lint", &room.path("plan.toml")]);
        assert_eq!(linted.code, 6, "{}", linted.stderr);
        assert!(linted.stderr.contains(says), "{}", linted.stderr);
    }
}
