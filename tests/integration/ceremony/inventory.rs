//! What is on the tokens, as a step of the plan; and what is half-made there.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, verify};
use serde_json::Value;

use super::{
    cross::{Before, before},
    tamper,
};

/// A plan that makes a second root on the token of the first, and then looks at all that is there.
fn looking(before: &Before, unexplained: &str) -> Room {
    let mut room = Room::small();
    fs::copy(before.room.file("softhsm2.conf"), room.file("softhsm2.conf")).unwrap();
    let serial = format!("Example Root\"\nserial = \"{}\"", before.serial);
    room.replace("Example Root\"\ninitialize = true", &serial);
    room.replace("label = \"root\"\nalgo", "label = \"second\"\nalgo");
    let text = format!(
        "{}\n[[steps]]\nkind = \"inventory\"\nname = \"look\"\ntranscripts = [\"{}\"]\n\
         unexplained = \"{unexplained}\"\n",
        room.plan.trim_end(),
        before.digest
    );
    room.write_plan(&text);
    room.agree();
    room
}

/// Somebody imports a key with the token's own tool. Gives the files of its objects.
fn stray(before: &Before) -> Vec<PathBuf> {
    let there = before.room.objects();
    let key = before.room.path("stray.pem");
    let make = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &key,
    ];
    before.room.openssl(&make).unwrap();
    let import = [
        "--import",
        &key,
        "--token",
        "Example Root",
        "--label",
        "stray",
        "--id",
        "aa",
    ];
    let imported = Command::new("softhsm2-util")
        .args(import)
        .args(["--pin", PIN, "--so-pin", SO_PIN])
        .env("SOFTHSM2_CONF", before.room.file("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let mut new = before.room.objects();
    new.retain(|path| !there.contains(path));
    assert_eq!(new.len(), 2);
    new
}

#[test]
fn what_nothing_explains_stops_the_ceremony() {
    let before = before();
    let out = before.room.path("out");
    let room = looking(&before, "stop");
    // The transcript that the plan names must be there, before anything is made.
    let refused = room.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("--transcript"), "{}", refused.stderr);

    let files = stray(&before);
    let stopped = room.run(&["--transcript", &out]);
    assert_eq!(stopped.code, 10, "{}", stopped.stderr);
    assert!(
        stopped
            .stderr
            .contains("CKO_PRIVATE_KEY \"stray\" with the id aa"),
        "{}",
        stopped.stderr
    );
    let stopped = room.run(&["--resume", "--transcript", &out]);
    assert_eq!(stopped.code, 10, "{}", stopped.stderr);
    // Once somebody has taken it away it goes on, and what was there stands in the transcript.
    for file in files {
        fs::remove_file(file).unwrap();
    }
    room.run(&["--resume", "--transcript", &out]).success();
    let mut failed = room.events();
    failed.retain(|event| event["kind"] == "failure");
    assert_eq!(failed.len(), 2);
    assert!(failed[0]["data"]["error"].as_str().unwrap().contains("stray"));
    verify(&room.file("out")).success();
    // And it can be held against the earlier transcript again, but against no other.
    let this = room.path("out");
    let held = room.sealwright(&["ceremony", "verify", &this, "--transcript", &out]);
    assert_eq!(held.code, 0, "{}", held.stderr);
    let other = room.sealwright(&["ceremony", "verify", &this, "--transcript", &this]);
    assert_eq!(other.code, 8, "{}", other.stderr);
}

/// A ceremony that took what it found as exceptions.
fn recorded() -> &'static (Before, Room) {
    static RECORDED: OnceLock<(Before, Room)> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let before = before();
        stray(&before);
        let room = looking(&before, "record");
        room.run(&["--transcript", &before.room.path("out")]).success();
        (before, room)
    })
}

#[test]
fn what_nothing_explains_is_an_exception_where_the_plan_says_so() {
    let (_, room) = recorded();
    let events = room.events();
    let of = |call: &str| {
        let found = events
            .iter()
            .find(|event| event["call"] == call && event["kind"] != "intent");
        found.unwrap()["data"].clone()
    };
    // Two pairs, two marks of before and one of now, and the stray pair.
    assert_eq!(of("C_FindObjects/root")["objects"].as_array().unwrap().len(), 9);
    assert_eq!(of("explained")[0]["objects"].as_array().unwrap().len(), 4);
    let odd = of("unexplained/root");
    let odd = odd.as_array().unwrap();
    assert!(
        odd.len() == 2 && odd.iter().all(|one| one["label"] == "stray"),
        "{odd:?}"
    );
    let remarks = verify(&room.file("out")).json()["remarks"].to_string();
    assert!(remarks.contains("nothing explains 2 objects"), "{remarks}");

    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let lint = room.sealwright(&["ceremony", "plan", "lint", &plan]).success();
    assert!(lint.contains("exceptions"), "{lint}");
    let script = room.sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster]);
    assert!(script.success().contains("what nothing explains is written down"));
}

#[test]
fn every_field_of_an_inventory_counts() {
    let (_, room) = recorded();
    let changed = tamper::every_field(room, |event| event["step"] == "look");
    assert!(changed > 20, "{changed}");
    // An exception that is passed off as made by the ceremony before: only that transcript tells.
    let said = tamper::tampered_of(room, "an exception less", |folder| {
        tamper::edit(&folder.join("events.jsonl"), |text| {
            let lines = text.lines().map(|line| {
                let mut event: Value = serde_json::from_str(line).unwrap();
                if event["call"] == "unexplained/root" {
                    event["data"] = Value::Array(Vec::new());
                }
                event.to_string() + "\n"
            });
            lines.collect()
        });
    });
    assert!(said.contains("look"), "{said}");
}

#[test]
fn an_inventory_goes_on_where_it_was_cut_off() {
    let (before, whole) = recorded();
    let events = whole.events();
    let at = |call: &str, kind: &str| {
        let is = |event: &&Value| event["call"] == call && event["kind"] == kind;
        events.iter().find(is).unwrap()["sequence"].to_string()
    };
    for (number, (place, event)) in [
        ("--crash-before", at("explained", "observation")),
        ("--crash-after", at("C_FindObjects/root", "intent")),
        ("--crash-within", at("C_FindObjects/root", "result")),
        ("--crash-after", at("unexplained/root", "fact")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut room = looking(before, "record");
        room.replace("label = \"second\"", &format!("label = \"another-{number}\""));
        room.agree();
        let out = before.room.path("out");
        assert_ne!(room.run(&["--transcript", &out, place, &event]).code, 0);
        let ended = room.run(&["--resume", "--transcript", &out]);
        assert_eq!(ended.code, 0, "{place} {event}: {}", ended.stderr);
        verify(&room.file("out")).success();
    }
}

/// A room whose token was cut off while it made a key, and has only one half of it: the other one, and where it was.
fn half_made() -> (Room, PathBuf) {
    let whole = Room::small();
    whole.finish();
    let is = |event: &&Value| event["call"] == "C_GenerateKeyPair" && event["kind"] == "result";
    let result = whole.events().iter().find(is).unwrap()["sequence"].to_string();
    let room = Room::small();
    room.agree();
    assert_ne!(room.run(&["--crash-before", &result]).code, 0);
    let before = room.objects();
    // The mark and both halves: the public one shows its label.
    assert_eq!(before.len(), 3);
    let public = before.into_iter().find(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(4).any(|window| window == b"root")
    });
    let public = public.unwrap();
    fs::rename(&public, room.file("public.half")).unwrap();
    (room, public)
}

/// The same where somebody looked at the half, and nobody said yes.
fn looked_at() -> (Room, PathBuf) {
    let (first, _) = half_made();
    first.run(&["--resume", "--destroy", "root-key"]).success();
    let is = |event: &&Value| event["call"] == "half-made/1";
    let look = first.events().iter().find(is).unwrap()["sequence"].to_string();
    let (room, public) = half_made();
    let cut = room.run(&["--resume", "--destroy", "root-key", "--crash-after", &look]);
    assert_ne!(cut.code, 0);
    assert_eq!(room.events().last().unwrap()["call"], "half-made/1");
    (room, public)
}

#[test]
fn half_a_pair_is_destroyed_only_where_somebody_asks_for_it() {
    let (room, _) = half_made();
    let refused = room.run(&["--resume"]);
    assert_eq!(refused.code, 10, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--destroy root-key"),
        "{}",
        refused.stderr
    );
    assert_eq!(room.objects().len(), 2);
    let refused = room.run(&["--resume", "--destroy", "root-ca"]);
    assert_eq!(refused.code, 10, "{}", refused.stderr);
    assert_eq!(room.objects().len(), 2);

    let ended = room.run(&["--resume", "--destroy", "root-key"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("destroy 1 private and 0 public keys \"root\""),
        "{}",
        ended.stderr
    );
    // Two marks and the new pair.
    assert_eq!(room.objects().len(), 4);
    verify(&room.file("out")).success();
    let changed = tamper::every_field(&room, |event| {
        let call = event["call"].as_str().unwrap();
        call.starts_with("C_DestroyObject") || call.starts_with("half-made")
    });
    assert!(changed >= 15, "{changed}");
}

/// Between the look and the call another start made the pair.
#[test]
fn what_was_half_made_and_is_whole_is_not_destroyed() {
    let (room, _) = looked_at();
    let private = room.objects().into_iter().find(|path| {
        // Only a private key has CKA_EXTRACTABLE.
        let bytes = fs::read(path).unwrap();
        bytes.windows(8).any(|window| window == 0x162_u64.to_be_bytes())
    });
    fs::remove_file(private.unwrap()).unwrap();
    room.run(&["--resume"]).success();
    assert_eq!(room.objects().len(), 4);
    let refused = room.run(&["--resume", "--destroy", "root-key"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("is not half-made"), "{}", refused.stderr);
    assert_eq!(room.objects().len(), 4);
    room.run(&["--resume"]).success();
    verify(&room.file("out")).success();
}

/// Or somebody put back what was missing.
#[test]
fn what_is_no_longer_what_was_seen_is_not_destroyed() {
    let (room, public) = looked_at();
    fs::rename(room.file("public.half"), public).unwrap();
    let refused = room.run(&["--resume", "--destroy", "root-key"]);
    assert_eq!(refused.code, 10, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("is not what was seen"),
        "{}",
        refused.stderr
    );
    assert_eq!(room.objects().len(), 3);
    room.run(&["--resume"]).success();
    assert_eq!(room.objects().len(), 4);
    verify(&room.file("out")).success();
}

#[test]
fn what_is_not_half_made_is_not_destroyed() {
    let whole = Room::small();
    whole.finish();
    let is = |event: &&Value| event["call"] == "C_GenerateKeyPair" && event["kind"] == "result";
    let result = whole.events().iter().find(is).unwrap()["sequence"].to_string();
    for place in ["--crash-before", "--crash-after"] {
        let room = Room::small();
        room.agree();
        assert_ne!(room.run(&[place, &result]).code, 0);
        let refused = room.run(&["--resume", "--destroy", "root-key"]);
        assert_eq!(refused.code, 10, "{}", refused.stderr);
        assert!(refused.stderr.contains("is not half-made"), "{}", refused.stderr);
        assert_eq!(room.objects().len(), 3);
        room.run(&["--resume"]).success();
        verify(&room.file("out")).success();
    }
}

#[test]
fn a_destruction_goes_on_where_it_was_cut_off() {
    let (first, _) = half_made();
    first.run(&["--resume", "--destroy", "root-key"]).success();
    let events = first.events();
    let at = |call: &str, kind: &str| {
        let is = |event: &&Value| event["call"] == call && event["kind"] == kind;
        events.iter().find(is).unwrap()["sequence"].to_string()
    };
    for (place, event, again) in [
        ("--crash-after", at("half-made/1", "observation"), true),
        ("--crash-after", at("C_DestroyObject/1", "intent"), false),
        ("--crash-before", at("C_DestroyObject/1", "result"), false),
        ("--crash-within", at("C_DestroyObject/1", "result"), false),
    ] {
        let (room, _) = half_made();
        let cut = room.run(&["--resume", "--destroy", "root-key", place, &event]);
        assert_ne!(cut.code, 0);
        if again {
            // Nobody said yes yet: without the option nothing is destroyed.
            let refused = room.run(&["--resume"]);
            assert_eq!(refused.code, 10, "{place} {event}: {}", refused.stderr);
            room.run(&["--resume", "--destroy", "root-key"]).success();
        } else {
            let ended = room.run(&["--resume"]);
            assert_eq!(ended.code, 0, "{place} {event}: {}", ended.stderr);
        }
        assert_eq!(room.objects().len(), 4);
        verify(&room.file("out")).success();
    }
}
