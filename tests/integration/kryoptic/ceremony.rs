//! Ceremonies on Kryoptic: what SoftHSM has not (ML-DSA), and what it does not do (a PIN that locks).

use std::fs;

use sealwright_tests::{
    Outcome,
    ceremony::{PIN, Room, copy, cover_up, verify},
};
use serde_json::Value;

use crate::ceremony::serving::{home_of, issue};

/// A root of ML-DSA-65 above an issuing CA of P-256.
fn room(rehearsal: bool) -> Room {
    let mut room = Room::of("p256", rehearsal).kryoptic();
    room.replace(
        "label = \"root\"\nalgorithm = \"p256\"",
        "label = \"root\"\nalgorithm = \"ml-dsa-65\"",
    );
    room
}

fn event<'a>(events: &'a [Value], kind: &str, step: &str, call: &str) -> &'a Value {
    let found = events
        .iter()
        .find(|event| event["kind"] == kind && event["step"] == step && event["call"] == call);
    &found.unwrap_or_else(|| panic!("no {kind} of {call} in {step}"))["data"]
}

/// Whether the `openssl` here knows ML-DSA.
fn openssl_knows_ml_dsa(room: &Room) -> bool {
    let algorithms = room.openssl(&["list", "-public-key-algorithms"]).unwrap();
    algorithms.contains("ML-DSA-65")
}

#[test]
#[ignore = "needs Kryoptic: make test-kryoptic"]
fn an_ml_dsa_root_stands_above_a_p256_issuer() {
    let room = room(true);
    room.finish();
    let events = room.events();
    let made = event(&events, "intent", "root-key", "C_GenerateKeyPair");
    assert_eq!(made["algorithm"], "ml-dsa-65");
    assert_eq!(made["mechanism"], "CKM_ML_DSA_KEY_PAIR_GEN");
    assert_eq!(made["allowed_mechanisms"], "CKM_ML_DSA");
    let told = event(&events, "observation", "root-key", "C_GetAttributeValue");
    for half in ["private", "public"] {
        assert_eq!(told[half]["CKA_KEY_TYPE"], "CKK_ML_DSA");
        assert_eq!(told[half]["CKA_PARAMETER_SET"], "CKP_ML_DSA_65");
    }
    assert_eq!(told["private"]["CKA_ALWAYS_SENSITIVE"], "true");
    assert_eq!(told["private"].get("CKA_VALUE"), None);
    assert_eq!(told["public"]["CKA_VALUE"].as_str().unwrap().len(), 2 * 1952);
    let signed = event(&events, "result", "root-ca", "C_Sign");
    assert_eq!(signed["signature"].as_str().unwrap().len(), 2 * 3309);

    // Two implementations for each signature of the root, the second one in pure Rust; three where OpenSSL is new.
    for (step, call) in [
        ("root-key", "C_Sign/possession/beside"),
        ("root-ca", "C_Sign/beside"),
        ("issuing-ca", "C_Sign/beside"),
        ("closing", "C_Sign/root-key/beside"),
    ] {
        let beside = event(&events, "observation", step, call);
        assert_eq!(beside["verifier"], "the crate ml-dsa", "{step} {call}");
    }
    let new = openssl_knows_ml_dsa(&room);
    for (step, call) in [
        ("root-key", "openssl/possession"),
        ("root-ca", "openssl"),
        ("issuing-ca", "openssl"),
    ] {
        let second = event(&events, "observation", step, call);
        assert_eq!(second.get("one_verifier").is_none(), new, "{second}");
        let program = if new { second } else { &second["program"] };
        assert!(program["version"].as_str().unwrap().starts_with("OpenSSL "));
        assert!(program["digest"].as_str().unwrap().starts_with("sha256:"));
    }
    // The issuing key has nothing to do with it.
    let second = event(&events, "observation", "issuing-key", "openssl/possession");
    assert_eq!(second["verified"], "the request's signature");
    let out = room.path("out");
    let verified = room
        .sealwright(&["ceremony", "verify", &out, "--output", "json"])
        .json();
    let remarks = verified["remarks"].to_string();
    assert_eq!(remarks.contains("openssl was older than 3.5"), !new, "{remarks}");

    let chain = ["verify", "-CAfile", "trust-bundle.pem", "chains/issuing-ca.pem"];
    assert_eq!(room.openssl(&chain).is_ok(), new);
    let page = room.path("page.html");
    room.sealwright(&["ceremony", "report", &room.path("out"), "--html", &page])
        .success();
    assert!(fs::read_to_string(&page).unwrap().contains("ml-dsa-65"));
}

/// The signature, what was said of it, and the key.
#[test]
#[ignore = "needs Kryoptic: make test-kryoptic"]
fn what_is_changed_about_an_ml_dsa_root_is_found() {
    let room = room(true);
    room.finish();
    let events = room.events();
    let signature = &event(&events, "result", "root-ca", "C_Sign")["signature"];
    let signature = signature.as_str().unwrap();
    let told = event(&events, "observation", "root-key", "C_GetAttributeValue");
    let public = told["public"]["CKA_VALUE"].as_str().unwrap();
    let turned = |hex: &str| {
        let (first, rest) = hex.split_at(1);
        format!("{}{rest}", if first == "0" { "1" } else { "0" })
    };
    let table = [
        (
            signature.to_owned(),
            turned(signature),
            "the signature of root-key is wrong",
        ),
        (
            "the crate ml-dsa".to_owned(),
            "the crate other".to_owned(),
            "another verifier",
        ),
        (
            "CKP_ML_DSA_65".to_owned(),
            "CKP_ML_DSA_87".to_owned(),
            "CKA_PARAMETER_SET",
        ),
        (
            format!("\"CKA_VALUE\":\"{public}\""),
            format!("\"CKA_VALUE\":\"{}\"", turned(public)),
            "not those of the public key",
        ),
    ];
    for (from, to, says) in table {
        let copy_of = room.file("copy");
        let _ = fs::remove_dir_all(&copy_of);
        copy(&room.file("out"), &copy_of);
        let path = copy_of.join("events.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&from), "{says}");
        fs::write(&path, text.replace(&from, &to)).unwrap();
        cover_up(&copy_of);
        let refused = verify(&copy_of);
        assert_eq!(refused.code, 8, "{says}: {}", refused.stderr);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
}

/// In earnest, too, and like its rehearsal.
#[test]
#[ignore = "needs Kryoptic: make test-kryoptic"]
fn an_ml_dsa_root_is_made_in_earnest() {
    let (practice, earnest) = (room(true), room(false));
    practice.finish();
    earnest.in_earnest();
    verify(&earnest.file("out")).success();
    let compared = practice
        .sealwright(&[
            "ceremony",
            "compare",
            &practice.path("out"),
            &earnest.path("out"),
            "--output",
            "json",
        ])
        .json();
    assert_eq!(
        compared["unexplained"].as_array().unwrap().len(),
        0,
        "{compared:#}"
    );
}

/// What rustls says of it: the client verifies the signer's own certificate, whose chain ends at the ML-DSA root.
#[tokio::test]
#[ignore = "needs Kryoptic: make test-kryoptic"]
async fn a_signer_serves_below_an_ml_dsa_root() {
    let mut room = room(true);
    room.replace(
        "health_key = \"health-key\"",
        "health_key = \"health-key\"\npolicies = [\"baseline\"]",
    );
    room.finish();
    let home = home_of(&room);
    let conf = format!("[gate.env]\nKRYOPTIC_CONF = {:?}", room.path("kryoptic.conf"));
    home.replace("[gate.env]", &conf);
    let serving = home.serve();
    serving.wait_until(200, "").await;
    issue(&home, &serving, &room.path("web")).success();
    assert_eq!(serving.stop(), 0);
}

/// Another ceremony on the token of the one before, which makes a key with this label.
fn again(room: &mut Room, label: &str) {
    let events = room.events();
    let serial = event(&events, "fact", "token-root", "identity")["serial"].clone();
    for name in ["out", "out.state"] {
        fs::rename(room.file(name), room.file(&format!("{name}-before-{label}"))).unwrap();
    }
    let (_, rest) = room.plan.split_once("ceremony = \"").unwrap();
    let id = rest.split('"').next().unwrap().to_owned();
    let other: String = id.chars().cycle().skip(1).take(id.len()).collect();
    let (before, steps) = room.plan.split_once("[[steps]]").unwrap();
    let (_, algorithm) = steps.split_once("algorithm").unwrap();
    let before = before
        .replace(&id, &other)
        .replace("initialize = true", &format!("serial = {serial}"));
    let key = "kind = \"key\"\nname = \"root-key\"\ntoken = \"root\"";
    let text = format!("{before}[[steps]]\n{key}\nlabel = \"{label}\"\nalgorithm{algorithm}");
    room.write_plan(&text);
    room.agree();
}

/// Kryoptic locks a PIN at the tenth wrong try: a ceremony has one, and does not lock it.
#[test]
#[ignore = "needs Kryoptic: make test-kryoptic"]
fn a_wrong_pin_is_tried_once_and_a_locked_one_not_at_all() {
    let with = |room: &Room, pin: &str| -> Outcome {
        fs::write(room.file("pin"), format!("{pin}\n")).unwrap();
        let more: &[&str] = if room.file("out/events.jsonl").exists() {
            &["--resume"]
        } else {
            &[]
        };
        room.run(more)
    };
    let mut room = Room::small().kryoptic();
    room.finish();
    again(&mut room, "second");
    // As often as it takes to lock the token, if each were a try.
    for _ in 0..12 {
        let refused = with(&room, "00000000");
        assert_eq!(refused.code, 7, "{}", refused.stderr);
        assert!(!refused.stderr.contains("locked"), "{}", refused.stderr);
    }
    with(&room, PIN).success();
    verify(&room.file("out")).success();

    // Somebody locks it: each time another wrong PIN.
    again(&mut room, "third");
    let mut said = String::new();
    for number in 0..12 {
        let _ = fs::remove_dir_all(room.file("out.state"));
        let refused = with(&room, &format!("0000000{number:02}"));
        assert_eq!(refused.code, 7, "{}", refused.stderr);
        said = refused.stderr;
    }
    assert!(said.contains("locked"), "{said}");
    // The right one is not even asked for.
    let _ = fs::remove_dir_all(room.file("out.state"));
    let refused = with(&room, PIN);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("locked"), "{}", refused.stderr);
    assert!(!room.file("out/SHA256SUMS").exists());
}
