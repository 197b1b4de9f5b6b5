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
    // What has a meaning in TOML, or in the file to begin with, means nothing in a name.
    let plan = new_plan(&room, r#"Söhne "\ @ROOT@"#, "plan.toml").json();
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
    assert!(text.contains("Issuing CA") && text.contains("@ROOT@"), "{text}");
}

/// What docs/ceremony.md has people paste, by the words of the file; nobody is there to be asked.
#[test]
fn the_practice_run_of_the_documents_is_one() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ceremony.md")).unwrap();
    let practice = document.split("for practice").nth(1).unwrap();
    let block = practice
        .split("```sh\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let unasked = ["approve", "run", "sign"]
        .iter()
        .fold(block.to_owned(), |block, word| {
            block.replace(&format!("ceremony {word} "), &format!("ceremony {word} --yes "))
        });
    assert_ne!(unasked, block);
    let folder = tempfile::tempdir().unwrap();
    let program = sealwright_tests::command::binary();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let shell = std::process::Command::new("bash")
        .args(["-euc", &unasked])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shell.stderr);
    assert!(shell.status.success(), "{said}");
    assert!(
        folder.path().join("practice/root-1/SHA256SUMS").exists(),
        "{said}"
    );
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
    // What is no name of an organization.
    let refused = new_plan(&room, "Example\n", "other.toml");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(!room.file("other.toml").exists());
}

#[test]
fn a_key_file_brings_in_nobody_else() {
    let room = Room::new();
    let bert = room.file("bert.pem.pub");
    let key = fs::read_to_string(&bert).unwrap();
    let anna = fs::read_to_string(room.file("anna.pem.pub")).unwrap();
    let another =
        format!("{key}\"\"\"]\n[[people]]\nname = \"mallory\"\nroles = [\"operator\"]\nkeys = [\"\"\"{anna}");
    fs::write(&bert, another).unwrap();
    let refused = new_roster(&room, "2");
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(refused.stderr.contains("bert.pem.pub"), "{}", refused.stderr);
    assert!(!room.file("roster.toml").exists());
}
