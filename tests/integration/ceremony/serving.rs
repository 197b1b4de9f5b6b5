//! What a ceremony leaves is what `sealwright serve` takes.

use std::fs;

use sealwright_identity::Digest;
use sealwright_statement::Envelope;
use sealwright_tests::{
    Home, Outcome, Serving,
    ceremony::{PIN, Room, copy, verify},
    command::binary,
    dev_token, roster_of_one, run,
};

use crate::audit::{export, forge::Ledger, replay, report};

/// A home whose issuer and token come from a room's ceremony: its sections are replaced by the fragment as it is.
pub(crate) fn home_of(room: &Room) -> Home {
    let home = Home::new();
    let text = fs::read_to_string(home.config()).unwrap();
    let (before, rest) = text.split_once("[[issuers]]").unwrap();
    let (_, policies) = rest.split_once("[[policies]]").unwrap();
    let (policies, rest) = policies.split_once("[gate.token]").unwrap();
    let (_, rest) = rest.split_once("[gate.env]").unwrap();
    let fragment = fs::read_to_string(room.file("out/sealwright.toml")).unwrap();
    let text = format!("{before}[[policies]]{policies}\n[gate.env]{rest}\n{fragment}");
    fs::write(home.config(), text).unwrap();
    fs::copy(room.file("softhsm2.conf"), home.file("softhsm2.conf")).unwrap();
    fs::write(home.file("pin"), PIN).unwrap();
    copy(&room.file("out"), &home.file("ceremony"));
    home
}

/// Asks a home's signer for a certificate, with a token of that home.
pub(crate) fn issue(home: &Home, serving: &Serving, out: &str) -> Outcome {
    let token = dev_token(home.path(), "default", "web");
    fs::write(home.file("token.txt"), token).unwrap();
    let own = home.file("own-roots.pem");
    let roots = if own.exists() {
        own
    } else {
        home.file("ceremony/trust-bundle.pem")
    };
    let port = serving.grpc().rsplit(':').next().unwrap();
    run([
        "issue",
        "--server",
        &format!("localhost:{port}"),
        "--ca-file",
        roots.to_str().unwrap(),
        "--token-file",
        home.file("token.txt").to_str().unwrap(),
        "--out",
        out,
        "--output",
        "json",
    ])
}

#[tokio::test]
async fn a_signer_serves_with_the_fragment_as_it_is() {
    let mut room = Room::new();
    room.replace(
        "health_key = \"health-key\"",
        "health_key = \"health-key\"\npolicies = [\"baseline\"]",
    );
    room.finish();
    let home = home_of(&room);
    let serving = home.serve();
    serving.wait_until(200, "").await;
    issue(&home, &serving, &room.path("web")).success();
    let (chain, leaf) = ("chains/issuing-ca.pem", room.path("web/cert-chain.pem"));
    room.openssl(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        "trust-bundle.pem",
        "-untrusted",
        chain,
        &leaf,
    ])
    .unwrap();
    assert_eq!(serving.stop(), 0);
}

#[test]
fn what_comes_from_a_rehearsal_is_refused_in_earnest() {
    let room = Room::new();
    room.finish();
    let home = home_of(&room);
    home.without_policies().replace("rehearsal = true\n", "");
    let refused = home.refused();
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("from the rehearsal of a key ceremony"),
        "{}",
        refused.stderr
    );
}

/// In earnest the quorum of the ceremony agrees to those who approve policies, and the signer begins with their roster.
#[tokio::test]
async fn the_first_approvers_come_from_the_ceremony() {
    let mut room = Room::of("p256", false);
    let roster = room.file("approvers.txt");
    roster_of_one("ann", &roster);
    let armoured = fs::read_to_string(&roster).unwrap();
    room.replace(
        "[issuer]",
        &format!("[[steps]]\nkind = \"approver-roster\"\nname = \"approvers\"\nroster = '''{armoured}'''\n\n[issuer]"),
    );
    let ended = room.in_earnest();
    verify(&room.file("out")).success();
    assert_eq!(
        fs::read_to_string(room.file("out/rosters/approvers.txt")).unwrap(),
        armoured
    );
    let home = home_of(&room);
    home.without_policies();
    let text = fs::read_to_string(home.config()).unwrap();
    let fragment = fs::read_to_string(room.file("out/sealwright.toml")).unwrap();
    assert!(
        text.contains(&fragment) && !fragment.contains("[policy_sets]"),
        "{text}"
    );
    // A home in earnest has a ledger of its own.
    fs::remove_dir_all(home.file("gate")).unwrap();
    fs::create_dir(home.file("gate")).unwrap();
    let serving = home.serve();
    // Its token is open, and only a policy set is missing, which those approvers can activate.
    let page = serving
        .wait_until(503, "gate: policies: no policy set is in force")
        .await;
    assert!(!page.contains("token"), "{page}");
    assert_eq!(serving.stop(), 0);

    // An auditor who knows the ceremony from its paper knows the approvers, too.
    let bundle = export(&home, "all.jsonl", &[]);
    let roots = home.file("ceremony/trust-bundle.pem");
    let transcript = ended["digest"].as_str().unwrap();
    let outcome = replay(&bundle, &roots, &["--ceremony", transcript]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    assert!(said["sets"]["by_ceremony"].is_number(), "{said:#}");
    // A ledger that was begun with others is contradicted.
    let text = fs::read_to_string(&bundle).unwrap();
    let mut ledger = Ledger::read(&text);
    let place = ledger.first("policy");
    let other = fs::read_to_string(others(&room)).unwrap();
    let digest = Envelope::parse(&other).unwrap().digest();
    let own = ledger.entries[place].field(36)[32..].to_vec();
    let blob = ledger.replace_blob(
        Digest::from_bytes(own.as_slice().try_into().unwrap()),
        other.into_bytes(),
    );
    *ledger.entries[place].field(32) = digest.as_bytes().to_vec();
    *ledger.entries[place].field(36) = [*digest.as_bytes(), *blob.as_bytes()].concat();
    fs::write(&bundle, ledger.written()).unwrap();
    let outcome = replay(&bundle, &roots, &[]);
    let found = report(&outcome)["findings"][0].clone();
    assert_eq!((outcome.code, &found["code"]), (8, &"change".into()), "{found:#}");
    assert!(
        found["problem"]
            .as_str()
            .unwrap()
            .contains("the ceremony of entry"),
        "{found:#}"
    );

    // Others in the configuration stop a gate that begins.
    fs::remove_dir_all(home.file("gate")).unwrap();
    fs::create_dir(home.file("gate")).unwrap();
    fs::copy(others(&room), home.file("others.txt")).unwrap();
    home.append("[policy_sets]\nroster = \"others.txt\"");
    let refused = home.refused();
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("policy_sets.roster") && refused.stderr.contains("the ceremony's counts"),
        "{}",
        refused.stderr
    );
}

/// The file of another roster.
fn others(room: &Room) -> std::path::PathBuf {
    let roster = room.file("others.txt");
    if !roster.exists() {
        roster_of_one("bob", &roster);
    }
    roster
}

/// Where there is no `openssl`, practice goes on and says so.
#[test]
fn without_openssl_a_rehearsal_has_one_verifier() {
    let room = Room::small();
    room.agree();
    let output = std::process::Command::new(binary())
        .args(room.arguments())
        .env("SOFTHSM2_CONF", room.file("softhsm2.conf"))
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("one verifier"), "{said}");
    let verified = run([
        "ceremony",
        "verify",
        room.path("out").as_str(),
        "--output",
        "json",
    ])
    .json();
    let remarks = verified["remarks"].to_string();
    assert!(remarks.contains("one verifier"), "{remarks}");
}

/// What `sealwright dev` makes is a rehearsed ceremony like any.
#[test]
fn a_development_home_has_the_transcript_of_its_ceremony() {
    let home = Home::new();
    let folder = home.file("ceremony");
    let verified = verify(&folder).json();
    assert_eq!(verified["rehearsal"], true, "{verified:#}");
    assert_eq!(verified["approved_by"][0]["person"], "developer", "{verified:#}");
    let config = fs::read_to_string(home.config()).unwrap();
    let fragment = fs::read_to_string(folder.join("sealwright.toml")).unwrap();
    for line in ["key = ", "health_key = ", "rosters = ", "ceremony = "] {
        let line = fragment.lines().find(|found| found.starts_with(line)).unwrap();
        assert!(config.contains(line), "{line} in {config}");
    }
    assert!(!folder.join("developer.pem").exists());
}
