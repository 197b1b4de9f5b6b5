//! Two keys whose ceremonies name different approvers do not come to be in one gate.

use std::fs;

use rustix::process::Signal;
use sealwright_tests::{
    Home,
    ceremony::{Room, copy},
    run,
};

use super::serving::home_of;
use crate::audit::export;

/// A rehearsed ceremony with a first approver roster of its own.
fn room() -> Room {
    let mut room = Room::new();
    let (key, roster) = (room.path("ann.key"), room.path("approvers.txt"));
    run(["policy", "keygen", "--out", &key]).success();
    let ann = format!("ann={key}.pub");
    let arguments = [
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
    ];
    run(arguments).success();
    let armoured = fs::read_to_string(&roster).unwrap();
    let step =
        format!("[[steps]]\nkind = \"approver-roster\"\nname = \"approvers\"\nroster = '''{armoured}'''\n\n");
    room.replace("[issuer]", &format!("{step}[issuer]"));
    room.finish();
    room
}

fn roster_of(room: &Room) -> &str {
    let (_, rest) = room.plan.split_once("\nroster = \"").unwrap();
    rest.split_once('"').unwrap().0
}

/// A home of the first room's key and, as a second issuer, the second room's. Its token is away: of ceremonies the gate
/// speaks all the same.
fn home_of_both(first: &Room, second: &Room) -> Home {
    let home = home_of(first);
    home.without_policies();
    let out = second.file("out");
    fs::copy(out.join("chains/issuing-ca.pem"), home.file("other-chain.pem")).unwrap();
    fs::copy(out.join("trust-bundle.pem"), home.file("other-roots.pem")).unwrap();
    home.append(
        "[[issuers]]\nname = \"other\"\nkey = \"pkcs11:object=other\"\nchain = \"other-chain.pem\"\n\
         roots = \"other-roots.pem\"\nrehearsal = true\nceremony = \"other\"\n",
    );
    home.replace("rosters = [", &format!("rosters = [\"{}\", ", roster_of(second)));
    let nowhere = home.file("no-tokens");
    fs::create_dir(&nowhere).unwrap();
    let conf = fs::read_to_string(home.file("softhsm2.conf")).unwrap();
    let tokens = first.path("tokens");
    assert!(conf.contains(&tokens), "{conf}");
    fs::write(
        home.file("softhsm2.conf"),
        conf.replace(&tokens, nowhere.to_str().unwrap()),
    )
    .unwrap();
    fresh_ledger(&home);
    home
}

fn fresh_ledger(home: &Home) {
    fs::remove_dir_all(home.file("gate")).unwrap();
    fs::create_dir(home.file("gate")).unwrap();
}

const CONTRADICTED: &str = "and the ceremony of another issuer's key has sha256:";

/// How many keys have a ceremony in the ledger.
fn recorded(home: &Home, name: &str) -> usize {
    let text = fs::read_to_string(export(home, name, &[])).unwrap();
    text.matches("\"kind\":\"ceremony\"").count()
}

async fn refused_at_a_start(home: &Home) {
    let serving = home.serve();
    let page = serving.wait_until(503, CONTRADICTED).await;
    assert!(page.contains("issuers.other.ceremony"), "{page}");
    assert!(!page.contains("issuers.default.ceremony"), "{page}");
    assert_eq!(serving.stop(), 0);
}

#[tokio::test]
async fn a_key_whose_ceremony_names_other_approvers_is_not_recorded() {
    let (first, second) = (room(), room());
    let home = home_of_both(&first, &second);
    let serving = home.serve();
    serving
        .wait_until(503, "issuers.other.ceremony: the transcript")
        .await;
    // Its folder is put in place while the gate runs.
    copy(&second.file("out"), &home.file("other"));
    serving.signal(Signal::HUP);
    serving.wait_until(503, CONTRADICTED).await;
    assert_eq!(serving.stop(), 0);
    assert_eq!(recorded(&home, "reload.jsonl"), 1);
    // So nothing is there that would have to be taken back: the first goes on.
    refused_at_a_start(&home).await;
    assert_eq!(recorded(&home, "again.jsonl"), 1);

    // Nor do both come in at a first start.
    fresh_ledger(&home);
    refused_at_a_start(&home).await;
    assert_eq!(recorded(&home, "start.jsonl"), 1);
}
