//! The files to begin with are a ceremony.

use std::fs;

use sealwright_tests::ceremony::{Room, verify};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A roster of the keys of the room, made by the program.
fn new_roster(room: &Room, threshold: &str) -> sealwright_tests::Outcome {
    let person = |name: &str| format!("{name}={}.pub", room.path(&format!("{name}.pem")));
    let out = room.path("roster.toml");
    let _ = fs::remove_file(&out);
    room.sealwright(&[
        "ceremony",
        "new-roster",
        "--threshold",
        threshold,
        "--operator",
        &person("anna"),
        "--operator",
        &person("bert"),
        "--witness",
        &person("carl"),
        "--out",
        &out,
    ])
}

fn new_plan(room: &Room, organization: &str, out: &str) -> sealwright_tests::Outcome {
    room.sealwright(&[
        "ceremony",
        "new-plan",
        "--organization",
        organization,
        "--roster",
        &room.path("roster.toml"),
        "--module",
        MODULE,
        "--rehearsal",
        "--out",
        &room.path(out),
    ])
}

#[test]
fn the_files_to_begin_with_are_a_ceremony() {
    let room = Room::new();
    let roster = new_roster(&room, "2").json();
    fs::remove_file(room.file("plan.toml")).unwrap();
    let plan = new_plan(&room, "Example & Söhne", "plan.toml").json();
    let named = room
        .sealwright(&["ceremony", "plan", "digest", &room.path("plan.toml")])
        .json();
    assert_eq!(plan["digest"], named["digest"]);
    room.finish();
    let verified = verify(&room.file("out")).json();
    assert_eq!(verified["roster"], roster["digest"], "{verified}");
    let text = room
        .openssl(&["x509", "-in", "certificates/issuing-ca.pem", "-noout", "-subject"])
        .unwrap();
    assert!(text.contains("Issuing CA"), "{text}");
}

#[test]
fn what_would_be_no_ceremony_is_not_written() {
    let room = Room::new();
    // More must agree than there are.
    let refused = new_roster(&room, "3");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(!room.file("roster.toml").exists());
    new_roster(&room, "2").success();
    // Nothing is written over.
    let there = new_plan(&room, "Example", "plan.toml");
    assert_eq!(there.code, 2, "{}", there.stderr);
    // What would end the text in the plan.
    let refused = new_plan(&room, "Example\" # ", "other.toml");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(!room.file("other.toml").exists());
}
