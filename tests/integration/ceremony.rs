//! The key ceremony, through the real binary, on SoftHSM.

mod approvers;
mod attestation;
mod begin;
mod codes;
mod collusion;
mod constraints;
mod cross;
mod earlier;
mod ends;
mod faults;
mod hsm_quorum;
mod inventory;
mod pads;
mod quorum;
mod rare;
mod remote;
mod report;
mod resume;
pub(crate) mod serving;
mod survey;
mod tamper;
mod tokens;
mod trail;

use std::{fs, process::Command};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, files};

#[test]
fn a_plan_becomes_keys_certificates_and_a_transcript() {
    let room = Room::new();
    let ended = room.finish();
    assert_eq!(ended["outcome"], "finished");
    assert_eq!(ended["rehearsal"], true);

    // Another implementation follows the chain, and finds the mark of a rehearsal in both certificates.
    let verify = [
        "verify",
        "-x509_strict",
        "-CAfile",
        "trust-bundle.pem",
        "chains/issuing-ca.pem",
    ];
    room.openssl(&verify).unwrap();
    for name in ["root-ca", "issuing-ca"] {
        let file = format!("certificates/{name}.pem");
        let text = room.openssl(&["x509", "-noout", "-text", "-in", &file]).unwrap();
        assert!(text.contains("2.25.232870012.1"), "{text}");
        assert!(text.contains("CA:TRUE, pathlen:"), "{text}");
    }
    let text = room
        .openssl(&["x509", "-noout", "-text", "-in", "certificates/issuing-ca.pem"])
        .unwrap();
    assert!(text.contains("URI:http://pki.example/root.crl"), "{text}");
    assert!(
        text.contains("CA Issuers - URI:http://pki.example/root.cer"),
        "{text}"
    );
    room.openssl(&["req", "-verify", "-noout", "-in", "requests/elsewhere.pem"])
        .unwrap();
    for key in ["root-key", "issuing-key", "health-key"] {
        for folder in ["possession", "confirmations"] {
            let file = format!("{folder}/{key}.pem");
            room.openssl(&["req", "-verify", "-noout", "-in", &file]).unwrap();
        }
    }

    // The sums are those of every file, and the transcript is named by them.
    let sums = fs::read(room.file("out/SHA256SUMS")).unwrap();
    let check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(room.file("out"))
        .output()
        .unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
    let listed = String::from_utf8(sums).unwrap().lines().count();
    assert_eq!(listed + 1, files(&room.file("out")).len());
    assert_eq!(ended["words"].as_str().unwrap().split(' ').count(), 32);
}

/// Each call that uses a token is written down before it is made, and every attribute after a key was made.
#[test]
fn the_transcript_holds_what_the_token_was_asked_and_what_it_said() {
    let room = Room::new();
    room.finish();
    let events = room.events();
    let position = |kind: &str, step: &str, call: &str| {
        let at = events
            .iter()
            .position(|event| event["kind"] == kind && event["step"] == step && event["call"] == call);
        at.unwrap_or_else(|| panic!("no {kind} of {call} in {step}"))
    };
    for (step, call) in [
        ("token-root", "C_InitToken"),
        ("session-1", "C_Login/root"),
        ("token-root", "C_CreateObject/open"),
        ("root-key", "C_GenerateRandom"),
        ("root-key", "C_GenerateKeyPair"),
        ("root-ca", "C_Sign"),
        ("token-issuing", "C_CreateObject/finished"),
    ] {
        assert!(position("intent", step, call) < position("result", step, call));
    }
    // The mark first, then the id, then the key; the lint before the signature.
    assert!(
        position("result", "token-root", "C_CreateObject/open")
            < position("intent", "root-key", "C_GenerateRandom")
    );
    assert!(
        position("observation", "root-ca", "throwaway-signature") < position("intent", "root-ca", "C_Sign")
    );
    let made = &events[position("intent", "root-key", "C_GenerateKeyPair")]["data"];
    assert_eq!(made["allowed_mechanisms"], "CKM_ECDSA");
    let told = &events[position("observation", "root-key", "C_GetAttributeValue")]["data"]["private"];
    for (name, value) in [
        ("CKA_ALWAYS_SENSITIVE", "true"),
        ("CKA_NEVER_EXTRACTABLE", "true"),
        ("CKA_LOCAL", "true"),
        ("CKA_MODIFIABLE", "false"),
        ("CKA_DERIVE", "false"),
        ("CKA_KEY_GEN_MECHANISM", "CKM_EC_KEY_PAIR_GEN"),
        ("CKA_ID", made["id"].as_str().unwrap()),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    // What was signed is what was linted, byte for byte.
    let linted = &events[position("fact", "root-ca", "to-be-signed")]["data"]["der"];
    assert_eq!(
        &events[position("intent", "root-ca", "C_Sign")]["data"]["der"],
        linted
    );
    let second = &events[position("observation", "root-ca", "openssl")]["data"];
    assert!(second["version"].as_str().unwrap().starts_with("OpenSSL 3"));
    // The module is the file that was hashed, and is among what was mapped.
    let module = &events[position("observation", "session-1", "module")]["data"];
    let mapped = module["mapped"].as_array().unwrap();
    assert!(mapped.iter().any(|file| file["digest"] == module["digest"]));
}

#[test]
fn keys_of_every_kind_are_made() {
    for algorithm in ["p384", "rsa3072", "ed25519"] {
        let room = Room::of(algorithm, true);
        room.finish();
        room.openssl(&["verify", "-CAfile", "trust-bundle.pem", "chains/issuing-ca.pem"])
            .unwrap();
        // A third verifier looks at P-384: each signature of the two keys, four and three.
        let events = room.events();
        let beside = events
            .iter()
            .filter(|event| event["data"]["verifier"] == "the crate p384");
        assert_eq!(beside.count(), if algorithm == "p384" { 7 } else { 0 });
    }
}

/// SoftHSM has no ML-DSA: that is found at stage 1, and nothing is made.
#[test]
fn an_ml_dsa_key_is_refused_where_the_token_has_none() {
    let mut room = Room::new();
    room.replace(
        "label = \"root\"\nalgorithm = \"p256\"",
        "label = \"root\"\nalgorithm = \"ml-dsa-65\"",
    );
    room.agree();
    let before = files(&room.file("tokens"));
    let refused = room.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    for says in ["stage 1", "CKM_ML_DSA_KEY_PAIR_GEN", "root-key"] {
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
    assert_eq!(files(&room.file("tokens")), before);
    assert!(room.events().iter().all(|event| event["kind"] != "intent"));
}

#[test]
fn no_pin_is_anywhere() {
    let room = Room::new();
    room.agree();
    let outcome = room.run(&[]);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.code, 0, "{said}");
    let mut found = files(&room.file("out"));
    found.extend(files(&room.file("out.state")));
    for pin in [PIN, SO_PIN] {
        assert!(!said.contains(pin));
        for (path, bytes) in &found {
            let there = bytes.windows(pin.len()).any(|window| window == pin.as_bytes());
            assert!(!there, "{}", path.display());
        }
    }
    let typed = room.run(&["--pin", PIN]);
    assert_eq!(typed.code, 2);
    assert!(!typed.stderr.contains("never") || typed.stderr.contains("never stands on the command line"));
}

#[test]
fn a_wrong_pin_stops_at_once_and_is_not_tried_again() {
    let room = Room::new();
    room.finish();
    // The token is there now; another ceremony on it, with another PIN.
    let mut again = Room::new();
    let token = room.events();
    let identity = |name: &str| {
        let step = format!("token-{name}");
        let event = token
            .iter()
            .find(|event| event["step"] == *step && event["call"] == "identity");
        event.unwrap()["data"]["serial"].as_str().unwrap().to_owned()
    };
    fs::copy(room.file("softhsm2.conf"), again.file("softhsm2.conf")).unwrap();
    for name in ["root", "issuing"] {
        let label = if name == "root" {
            "Example Root"
        } else {
            "Example Issuing"
        };
        let from = format!("label = \"{label}\"\ninitialize = true");
        let to = format!("label = \"{label}\"\nserial = \"{}\"", identity(name));
        again.replace(&from, &to);
    }
    again.replace("label = \"root\"\nalgo", "label = \"second-root\"\nalgo");
    again.replace("label = \"issuing\"\nalgo", "label = \"second-issuing\"\nalgo");
    again.replace("label = \"health\"\nalgo", "label = \"second-health\"\nalgo");
    fs::write(again.file("pin"), "0000\n").unwrap();
    again.agree();
    let refused = again.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("refused the PIN"), "{}", refused.stderr);
    let refused = again.run(&["--resume"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("not tried again"), "{}", refused.stderr);
    // With the right one it goes on, and a token may see several ceremonies, one after the other.
    fs::write(again.file("pin"), format!("{PIN}\n")).unwrap();
    again.run(&["--resume"]).success();
    // But each plan once, wherever its transcript goes.
    let out = again.path("elsewhere");
    let arguments = again.arguments();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|argument| {
            if argument.ends_with("/out") {
                out.as_str()
            } else {
                argument
            }
        })
        .collect();
    let refused = again.sealwright(&arguments);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("a plan runs once"), "{}", refused.stderr);
}

#[test]
fn what_the_plan_names_must_be_so_before_anything_is_made() {
    let untouched = |room: &Room| fs::read_dir(room.file("tokens")).unwrap().next().is_none();
    let table: [(&str, &str, &str); 4] = [
        ("digest = \"sha256:", "digest = \"sha256:00", "cannot be read"),
        (
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/bin/openssl",
            "by the plan it is",
        ),
        (
            "label = \"Example Root\"\ninitialize = true",
            "label = \"Example Root\"\nserial = \"ab\"",
            "is not there",
        ),
        ("path_length = 0", "path_length = 1", "path_length"),
    ];
    for (from, to, says) in table {
        let mut room = Room::new();
        room.replace(from, to);
        let approved = room.approve("anna", "operator");
        let refused = if approved.code == 0 {
            room.approve("bert", "operator").success();
            room.run(&[])
        } else {
            approved
        };
        assert_ne!(refused.code, 0, "{to}");
        assert!(refused.stderr.contains(says), "{to}: {}", refused.stderr);
        assert!(untouched(&room), "{to}");
    }
    // A folder that is used already.
    let room = Room::new();
    room.agree();
    fs::create_dir(room.file("out")).unwrap();
    fs::write(room.file("out/other"), "").unwrap();
    let refused = room.run(&[]);
    assert_eq!(refused.code, 7);
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
    assert!(untouched(&room));
}
