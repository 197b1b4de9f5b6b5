//! The token as an operator can get it wrong: module, PIN, token, keys.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use sealwright_tests::{Home, Outcome};

const MODULE: &str = "module = \"/usr/lib/softhsm/libsofthsm2.so\"";
/// The line of the issuing key, whose id the token drew.
const KEY: &str = "key = \"pkcs11:object=issuing;";
const TOKEN: &str = "uri = \"pkcs11:token=sealwright\"";

/// A home that starts fast: no test here needs a grant.
fn bare() -> Home {
    let home = Home::new();
    home.without_grants();
    home
}

/// Puts a second key with the issuing key's label and another id into a home's token.
fn second_key(home: &Home) {
    let key = home.file("second.pem");
    fs::write(&key, sealwright_tests::csr::p256().serialize_pem()).unwrap();
    let pin = fs::read_to_string(home.file("pin")).unwrap();
    let status = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", home.file("softhsm2.conf"))
        .args([
            "--token",
            "sealwright",
            "--label",
            "issuing",
            "--id",
            "09",
            "--pin",
            &pin,
            "--import",
        ])
        .arg(key)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// What is in the configuration, what is put in its place, and what the refusal says.
const MISTAKES: [(&str, &str, &[&str]); 6] = [
    (MODULE, "module = \"/nowhere/pkcs11.so\"", &["/nowhere/pkcs11.so"]),
    (MODULE, "module = \"roots.pem\"", &["roots.pem"]),
    (
        KEY,
        "key = \"pkcs11:object=issuing\"",
        &["2 private keys", "pkcs11:object=issuing", "id"],
    ),
    (KEY, "key = \"pkcs11:object=nothing\"", &["pkcs11:object=nothing"]),
    (
        KEY,
        "key = \"pkcs11:object=root\"",
        &["issuers.default.key", "chain"],
    ),
    (KEY, "key = \"pkcs11:object=health\"", &["health"]),
];

/// Makes a mistake in the line that begins so.
fn make(home: &Home, place: &str, mistake: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    let line = text.lines().find(|line| line.starts_with(place)).unwrap();
    home.replace(line, mistake);
}

#[test]
fn a_token_or_key_that_cannot_be_used_is_refused_and_found_by_a_check() {
    for (place, mistake, said) in MISTAKES {
        let home = bare();
        second_key(&home);
        make(&home, place, mistake);
        let Outcome { code, stderr, .. } = home.refused();
        assert_eq!(code, 2, "{mistake}: {stderr}");
        for text in said {
            assert!(stderr.contains(text), "{mistake}: no {text:?} in {stderr}");
        }
        let (code, items) = home.check();
        assert_eq!(code, 2, "{mistake}: {items:?}");
        let failed = items.iter().find(|item| item["state"] == "failed").unwrap();
        assert!(!failed["fix"].as_str().unwrap().is_empty(), "{failed}");
    }
}

#[test]
fn the_refusal_of_a_token_or_key_names_the_configuration_key() {
    for (place, mistake, _) in MISTAKES {
        let home = bare();
        second_key(&home);
        make(&home, place, mistake);
        let key = if place == MODULE {
            "gate.token.module"
        } else {
            "issuers.default.key"
        };
        let said = home.refused().stderr;
        assert!(said.contains(key), "{mistake}: no {key} in {said}");
    }
}

#[test]
fn a_token_or_key_that_cannot_be_used_is_refused_before_anything_is_bound() {
    for (place, mistake, _) in MISTAKES {
        let home = bare();
        second_key(&home);
        make(&home, place, mistake);
        let said = home.refused().stderr;
        assert!(!said.contains("\"listening\""), "{mistake}: {said}");
    }
}

#[test]
fn a_second_key_does_no_harm_when_the_id_names_one() {
    let home = bare();
    second_key(&home);
    assert_eq!(home.start().stop(), 0);
}

#[test]
fn a_chain_that_does_not_fit_the_key_is_refused() {
    // The chain of another home: whole and valid, of another key.
    let home = bare();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("home");
    assert_eq!(sealwright_tests::Signer::dev_in(&other, &[]).stop(), 0);
    for name in ["issuer-chain.pem", "roots.pem"] {
        fs::copy(other.join(name), home.file(name)).unwrap();
    }
    let Outcome { code, stderr, .. } = home.refused();
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("issuers.default.key") && stderr.contains("name the right key or chain"),
        "{stderr}"
    );
    let (code, items) = home.check();
    assert_eq!(code, 2, "{items:?}");
    let key = items.iter().find(|item| item["check"] == "key of issuer default");
    let key = key.unwrap_or_else(|| panic!("{items:?}"));
    assert!(key["fix"].is_string(), "{key}");

    // Only one of the two files: no chain at all, found before a process is started.
    let half = bare();
    fs::copy(other.join("issuer-chain.pem"), half.file("issuer-chain.pem")).unwrap();
    let Outcome { code, stderr, .. } = half.refused();
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("no valid chain") && !stderr.contains("starting"),
        "{stderr}"
    );
}

/// Runs `dev`, which a refused PIN ends, with the calls of the module in its log.
fn dev(home: &Home) -> Outcome {
    let path = home.path().to_str().unwrap();
    let variables = [("SEALWRIGHT__LOG__LEVEL", "info,sealwright_hsm=debug")];
    home.run_bare(&["dev", "--home", path], &variables)
}

fn marker(home: &Home) -> bool {
    home.file("gate/pin-refused").exists()
}

#[test]
fn a_wrong_pin_is_tried_once_until_it_is_another_or_reset() {
    let home = bare();
    let right = fs::read(home.file("pin")).unwrap();
    fs::write(home.file("pin"), "wrong").unwrap();

    let first = dev(&home);
    assert_eq!(first.code, 7, "{}", first.stderr);
    assert_eq!(first.stderr.matches("\"C_Login\"").count(), 1, "{}", first.stderr);
    assert!(first.stdout.is_empty() && marker(&home));
    let text = fs::read_to_string(home.file("gate/pin-refused")).unwrap();
    assert!(!text.contains("wrong"), "{text}");

    let second = dev(&home);
    assert_eq!(second.code, 7, "{}", second.stderr);
    assert!(!second.stderr.contains("\"C_Login\""), "{}", second.stderr);
    assert!(second.stderr.contains("before"), "{}", second.stderr);

    let (code, items) = home.check();
    assert_eq!(code, 7, "{items:?}");
    let pin = items.iter().find(|item| item["check"] == "PIN").unwrap();
    assert_eq!(pin["state"], "failed");
    assert!(pin["fix"].as_str().unwrap().contains("gate reset-pin"), "{pin}");

    assert_eq!(home.run(&["gate", "reset-pin"]).code, 0);
    assert!(!marker(&home));
    let third = dev(&home);
    assert_eq!(third.code, 7, "{}", third.stderr);
    assert_eq!(third.stderr.matches("\"C_Login\"").count(), 1, "{}", third.stderr);

    // Another PIN is tried without a reset.
    fs::write(home.file("pin"), right).unwrap();
    assert_eq!(home.start().stop(), 0);
    assert!(!marker(&home));
}

#[tokio::test]
async fn serve_stays_up_with_a_wrong_pin_and_signs_when_it_is_mended() {
    let home = bare();
    let right = fs::read(home.file("pin")).unwrap();
    fs::write(home.file("pin"), "wrong").unwrap();
    let serving = home.serve();
    serving.wait_until(503, "PIN").await;
    assert_eq!(serving.page("/livez").await.0, 200);
    let starts = serving.log().matches("\"name\":\"gate\"").count();
    fs::write(home.file("pin"), right).unwrap();
    serving.signal(Signal::HUP);
    serving.wait_until(200, "").await;
    assert!(starts <= 2, "started once, ended once: {}", serving.log());
}

fn away(home: &Home, names: [&str; 2]) {
    let to = |name: &str| home.file(name);
    fs::rename(to(names[0]), to(names[1])).unwrap();
}

#[tokio::test]
async fn an_absent_token_is_waited_for() {
    let home = bare();
    // Its copy too, or the gate would put it back.
    away(&home, ["token", "token.away"]);
    away(&home, ["token.copy", "copy.away"]);
    fs::create_dir(home.file("token")).unwrap();
    fs::remove_file(home.file("front/serving.pem")).unwrap();
    let (code, items) = home.check();
    assert_ne!(code, 0, "{items:?}");
    let token = items.iter().find(|item| item["check"] == "token").unwrap();
    assert_eq!(token["state"], "failed");
    assert!(
        token["found"].as_str().unwrap().contains("sealwright") && token["fix"].is_string(),
        "{token}"
    );

    let serving = home.serve();
    let reasons = serving.wait_until(503, "pkcs11:token=sealwright").await;
    assert!(reasons.contains("serving certificate"), "{reasons}");
    assert_eq!(serving.page("/livez").await.0, 200);
    assert_eq!(
        serving.page("/bundle").await.1,
        fs::read_to_string(home.file("roots.pem")).unwrap()
    );
    // No certificate to serve with: no handshake.
    assert!(!handshake(serving.grpc(), &home.file("roots.pem")));

    fs::remove_dir(home.file("token")).unwrap();
    away(&home, ["token.away", "token"]);
    serving.wait_until(200, "").await;
    assert!(handshake(serving.grpc(), &home.file("roots.pem")));
}

fn handshake(server: &str, roots: &Path) -> bool {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-connect",
            server,
            "-CAfile",
        ])
        .arg(roots)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    output.status.success()
}

#[tokio::test]
async fn another_tokens_label_is_no_token() {
    let home = bare();
    home.replace(TOKEN, "uri = \"pkcs11:token=other\"");
    let serving = home.serve();
    let reasons = serving.wait_until(503, "pkcs11:token=other").await;
    assert!(reasons.contains("sealwright"), "it says what there is: {reasons}");
}
