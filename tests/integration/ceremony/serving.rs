//! What a ceremony leaves is what `sealwright serve` takes.

use std::fs;

use sealwright_tests::{
    Home, Outcome, Serving,
    ceremony::{PIN, Room, copy, verify},
    run,
};

/// A home whose issuer and token come from a room's ceremony: its sections are replaced by the fragment as it is.
pub(super) fn home_of(room: &Room) -> Home {
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
pub(super) fn issue(home: &Home, serving: &Serving, out: &str) -> Outcome {
    let path = home.path().to_str().unwrap();
    let token = run([
        "dev",
        "token",
        "--home",
        path,
        "--namespace",
        "default",
        "--service-account",
        "web",
    ]);
    fs::write(home.file("token.txt"), token.success()).unwrap();
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
    let (key, roster) = (room.path("ann.key"), room.path("approvers.txt"));
    run(["policy", "keygen", "--out", &key]).success();
    let ann = format!("ann={key}.pub");
    run([
        "policy",
        "roster",
        "--threshold",
        "1",
        "--author",
        &ann,
        "--approver",
        &ann,
        "--out",
        &roster,
    ])
    .success();
    let armoured = fs::read_to_string(&roster).unwrap();
    room.replace(
        "[issuer]",
        &format!("[[steps]]\nkind = \"approver-roster\"\nname = \"approvers\"\nroster = '''{armoured}'''\n\n[issuer]"),
    );
    room.in_earnest();
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
        text.contains(&fragment) && fragment.contains("[policy_sets]"),
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
}
