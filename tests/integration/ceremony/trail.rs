//! No key signs without the trail of its ceremony: what the gate verifies, what the ledger keeps, what an auditor finds.

use std::{collections::BTreeMap, fs};

use prost_types::{Struct, value::Kind};
use rustix::process::Signal;
use sealwright_identity::Digest;
use sealwright_tests::{
    Client, Csr, Home, Outcome, Serving,
    ceremony::{Room, copy, files, sum_up},
    client::request,
    dev_token, roster_of_one, who_allowed,
};
use serde_json::{Value, json};

use super::serving::{home_of, issue};
use crate::audit::{export, forge::Ledger, replay, report};

/// Exit codes.
const CONTRADICTED: i32 = 8;

const FRAGMENT: &str = "health_key = \"health-key\"";

/// A rehearsed ceremony, and a home of its keys with a ledger of its own. Its chain lies beside the transcript, so that
/// something else can be put in the transcript's place.
fn scene() -> (Room, Home, Value) {
    let mut room = Room::new();
    room.replace(FRAGMENT, &format!("{FRAGMENT}\npolicies = [\"baseline\"]"));
    let ended = room.finish();
    let home = apart(&room);
    (room, home, ended)
}

fn apart(room: &Room) -> Home {
    let home = home_of(room);
    let folder = home.file("ceremony");
    fs::copy(folder.join("chains/issuing-ca.pem"), home.file("own-chain.pem")).unwrap();
    fs::copy(folder.join("trust-bundle.pem"), home.file("own-roots.pem")).unwrap();
    home.replace("\"ceremony/chains/issuing-ca.pem\"", "\"own-chain.pem\"")
        .replace("\"ceremony/trust-bundle.pem\"", "\"own-roots.pem\"");
    fresh_ledger(&home);
    home
}

fn fresh_ledger(home: &Home) {
    fs::remove_dir_all(home.file("gate")).unwrap();
    fs::create_dir(home.file("gate")).unwrap();
}

/// Puts a transcript in the place of the one that is there.
fn put(home: &Home, transcript: &std::path::Path) {
    let folder = home.file("ceremony");
    let _ = fs::remove_dir_all(&folder);
    copy(transcript, &folder);
}

/// Another ceremony of the same people.
fn by_the_same_people(room: &Room) -> Room {
    let mut other = Room::new();
    for name in ["roster.toml", "anna.pem", "bert.pem"] {
        fs::copy(room.file(name), other.file(name)).unwrap();
    }
    let roster = |room: &Room| {
        let (_, rest) = room.plan.split_once("\nroster = \"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let (old, new) = (roster(&other), roster(room));
    other.replace(&old, &new);
    other.finish();
    other
}

/// The codes of what a replay finds.
fn codes(outcome: &Outcome) -> Vec<String> {
    let findings = report(outcome)["findings"].as_array().unwrap().clone();
    let mut codes: Vec<_> = findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    codes.dedup();
    codes
}

#[tokio::test]
async fn the_ledger_has_the_ceremony_before_the_first_certificate() {
    let (room, home, ended) = scene();
    let serving = home.serve();
    serving.wait_until(200, "\"notices\":[]").await;
    let issued = issue(&home, &serving, &room.path("web")).json();
    assert_eq!(serving.stop(), 0);

    let who = |home: &Home| who_allowed(home.path(), issued["serial"].as_str().unwrap());
    let key = who(&home)["issuer_key"].clone();
    assert_eq!(key["transcript"], ended["digest"], "{key:#}");
    assert_eq!(key["signed_by"], json!(["anna", "bert"]), "{key:#}");
    assert_eq!(key["rehearsal"], true, "{key:#}");

    let bundle = export(&home, "all.jsonl", &[]);
    let anchor = home.file("own-roots.pem");
    let (transcript, roster) = (ended["digest"].as_str().unwrap(), key["roster"].as_str().unwrap());
    for known in [transcript, roster] {
        let outcome = replay(&bundle, &anchor, &["--ceremony", known]);
        assert_eq!(outcome.code, 0, "{:#}", report(&outcome));
        let keys = &report(&outcome)["keys"];
        assert_eq!(keys["ceremonies"][0]["transcript"], transcript, "{keys:#}");
        assert_eq!(keys["without_ceremony"], 0, "{keys:#}");
    }
    let other = Digest::of(b"another").to_string();
    let outcome = replay(&bundle, &anchor, &["--ceremony", &other]);
    assert_eq!(
        (outcome.code, codes(&outcome)),
        (CONTRADICTED, vec!["ceremony".to_owned()])
    );

    // The part of an export that begins later has the ceremony, too.
    let all = fs::read_to_string(&bundle).unwrap();
    let last = all.lines().rev().nth(1).unwrap();
    let since = serde_json::from_str::<Value>(last).unwrap()["recorded_at"].clone();
    let part = export(&home, "part.jsonl", &["--since", since.as_str().unwrap()]);
    let text = fs::read_to_string(&part).unwrap();
    assert!(
        text.contains("\"type\":\"earlier\"") && text.contains("\"kind\":\"ceremony\""),
        "{text}"
    );
    assert_eq!(replay(&part, &anchor, &["--ceremony", roster]).code, 0);

    forgeries(&room, &home, &Ledger::read(&all));

    // Somebody exchanges the transcript: the ledger's record counts, and it is said.
    put(&home, &by_the_same_people(&room).file("out"));
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let log = serving.log();
    assert!(
        log.contains("another transcript lies in the folder; the ledger's record counts"),
        "{log}"
    );
    issue(&home, &serving, &room.path("again")).success();
    assert_eq!(serving.stop(), 0);
    assert_eq!(who(&home)["issuer_key"], key);
    // And it need not be there any more.
    fs::remove_dir_all(home.file("ceremony")).unwrap();
    home.replace("ceremony = \"ceremony\"\n", "");
    let serving = home.serve();
    serving.wait_until(200, "").await;
    assert_eq!(serving.stop(), 0);
}

/// Whoever holds the whole ledger writes it anew: the ceremony's entry is gone, or says something else.
fn forgeries(room: &Room, home: &Home, ledger: &Ledger) {
    let place = ledger.first("ceremony");
    assert!(place < ledger.first("decision"));
    let verdict = |ledger: &Ledger| {
        let file = home.file("forged.jsonl");
        fs::write(&file, ledger.written()).unwrap();
        let outcome = replay(file.to_str().unwrap(), &home.file("own-roots.pem"), &[]);
        (outcome.code, codes(&outcome))
    };
    assert_eq!(verdict(ledger), (0, vec![]));
    let found = (CONTRADICTED, vec!["ceremony".to_owned()]);

    let mut without = ledger.clone();
    without.entries.remove(place);
    assert_eq!(verdict(&without), found);
    let mut late = ledger.clone();
    let entry = late.entries.remove(place);
    late.entries.push(entry);
    assert_eq!(verdict(&late), found);
    // Key, transcript, roster, plan, id, people: each is held against the transcript.
    for tag in [4, 40, 41, 42, 43, 45] {
        let mut changed = ledger.clone();
        changed.entries[place].field(tag)[0] ^= 1;
        assert_eq!(verdict(&changed), found, "{tag}");
    }
    let mut earnest = ledger.clone();
    earnest.entries[place].fields.retain(|(tag, _)| *tag != 44);
    assert_eq!(verdict(&earnest), found);
    // The transcript of another key, or another byte in it, with the digests made good.
    let own = Digest::from_bytes(
        ledger.clone().entries[place]
            .field(46)
            .as_slice()
            .try_into()
            .unwrap(),
    );
    let bytes = ledger.blob(own).to_vec();
    let at = bytes
        .windows(9)
        .position(|window| window == b"\"purpose\"")
        .unwrap();
    let mut other = bytes.clone();
    other[at + 1] ^= 1;
    let elsewhere = by_the_same_people(room);
    let theirs = archive(&elsewhere.file("out"));
    for bytes in [other, theirs, b"nothing".to_vec()] {
        let mut changed = ledger.clone();
        let fresh = changed.replace_blob(own, bytes);
        *changed.entries[place].field(46) = fresh.as_bytes().to_vec();
        assert_eq!(verdict(&changed), found);
    }
}

/// The archive of a transcript as `tar` writes it.
fn archive(folder: &std::path::Path) -> Vec<u8> {
    let names = files(folder);
    let names = names.iter().map(|(path, _)| path.strip_prefix(folder).unwrap());
    let output = std::process::Command::new("tar")
        .args([
            "--format=ustar",
            "--mode=0644",
            "--mtime=@0",
            "--owner=:0",
            "--group=:0",
            "-b1",
            "-cf",
            "-",
            "-C",
        ])
        .arg(folder)
        .args(names)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Waits until a reload came to its end.
async fn reload(serving: &Serving, times: &mut usize) {
    serving.signal(Signal::HUP);
    *times += 1;
    for _ in 0..600 {
        if serving
            .log()
            .matches("issuers and policies were read again")
            .count()
            == *times
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no reload:\n{}", serving.log());
}

#[tokio::test]
async fn what_is_not_the_transcript_of_the_key_lets_it_sign_nothing() {
    let (room, home, _) = scene();
    let folder = home.file("ceremony");
    fs::remove_dir_all(&folder).unwrap();
    let serving = home.serve();
    serving
        .wait_until(503, "issuers.default.ceremony: the transcript")
        .await;
    let refused = issue_to(&home, &serving, &room);
    assert!(refused.contains("issuers.default.ceremony"), "{refused}");
    let mut times = 0;

    // Of another key, by the same people.
    put(&home, &by_the_same_people(&room).file("out"));
    reload(&serving, &mut times).await;
    serving
        .wait_until(503, "has no certificate for the key sha256:")
        .await;
    // By other people.
    let strangers = Room::new();
    strangers.finish();
    put(&home, &strangers.file("out"));
    reload(&serving, &mut times).await;
    serving.wait_until(503, "is by the roster sha256:").await;
    // The right one with other people's roster, the sums made good.
    put(&home, &room.file("out"));
    fs::copy(strangers.file("out/roster.toml"), folder.join("roster.toml")).unwrap();
    sum_up(&folder);
    reload(&serving, &mut times).await;
    serving.wait_until(503, "the plan is for the roster").await;
    // With a file more, and with one byte changed in each.
    put(&home, &room.file("out"));
    fs::write(folder.join("more.txt"), "").unwrap();
    sum_up(&folder);
    reload(&serving, &mut times).await;
    serving.wait_until(503, "no event explains this file").await;
    fs::remove_file(folder.join("more.txt")).unwrap();
    sum_up(&folder);
    for (path, bytes) in files(&folder) {
        let mut changed = bytes.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        reload(&serving, &mut times).await;
        serving.wait_until(503, "does not hold").await;
        fs::write(&path, &bytes).unwrap();
    }

    reload(&serving, &mut times).await;
    serving.wait_until(200, "").await;
    issue(&home, &serving, &room.path("web")).success();
    assert_eq!(serving.stop(), 0);
}

/// What a caller is told. The signer has no certificate of its own, so nobody gets as far as a handshake: the log says why.
fn issue_to(home: &Home, serving: &Serving, room: &Room) -> String {
    let outcome = issue(home, serving, &room.path("nothing"));
    assert_ne!(outcome.code, 0);
    serving.log()
}

#[tokio::test]
async fn in_earnest_a_transcript_in_earnest_is_needed() {
    let room = Room::of("p256", false);
    room.in_earnest();
    let home = apart(&room);
    home.without_policies();
    home.append("[policy_sets]\nroster = \"approvers.txt\"");
    roster_of_one("ann", &home.file("approvers.txt"));

    // Nothing is named.
    let text = fs::read_to_string(home.config()).unwrap();
    home.replace("ceremony = \"ceremony\"\n", "");
    let serving = home.serve();
    let page = serving
        .wait_until(
            503,
            "issuers.default.ceremony: there is none, and the ledger has no record",
        )
        .await;
    assert!(page.contains("ceremony = \\\"none\\\""), "{page}");
    assert_eq!(serving.stop(), 0);
    // Nobody is vouched for.
    fs::write(home.config(), text.replace("rosters = [", "rosters = [] # [")).unwrap();
    let serving = home.serve();
    serving.wait_until(503, "ceremonies.rosters: there is none").await;
    assert_eq!(serving.stop(), 0);
    fs::write(home.config(), &text).unwrap();
    // A rehearsal by the same people.
    put(&home, &by_the_same_people(&room).file("out"));
    let serving = home.serve();
    serving.wait_until(503, "is the transcript of a rehearsal").await;
    put(&home, &room.file("out"));
    let mut times = 0;
    reload(&serving, &mut times).await;
    // Only a policy set is missing now.
    let mut page = String::new();
    for _ in 0..600 {
        page = serving.wait_until(503, "gate: policies: no policy set").await;
        if !page.contains("ceremony") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!page.contains("ceremony"), "{page}");
    assert_eq!(serving.stop(), 0);
}

#[tokio::test]
async fn an_issuer_without_a_ceremony_is_told_of_everywhere_and_others_go_on() {
    let home = Home::new();
    home.replace("ceremony = \"ceremony\"\n", "ceremony = \"none\"\n");
    fresh_ledger(&home);
    home.append(
        "[[issuers]]\nname = \"direct\"\nkey = \"pkcs11:object=root\"\nchain = \"roots.pem\"\n\
         roots = \"roots.pem\"\nrehearsal = true\nceremony = \"nowhere\"\npolicies = [\"baseline\"]\n",
    );
    let serving = home.serve();
    let page = serving.wait_until(503, "issuers.direct.ceremony").await;
    assert!(page.contains("gate: issuer default: ceremony: none"), "{page}");
    let token = dev_token(home.path(), "default", "web");
    let port = serving.grpc().rsplit(':').next().unwrap();
    let client = Client::connect_to(&format!("localhost:{port}"), &home.file("roots.pem")).await;
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web").pem;
    client.create(&token, &csr, 3600).await.unwrap();
    let mut message = request(&csr, 3600);
    let issuer = Kind::StringValue("direct".to_owned());
    let value = prost_types::Value { kind: Some(issuer) };
    message.metadata = Some(Struct {
        fields: BTreeMap::from([("CertSigner".to_owned(), value)]),
    });
    let refused = client
        .create_with(&[("authorization", &format!("Bearer {token}"))], message)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    let log = serving.log();
    assert!(
        log.contains("nobody can tell where the issuer's key comes from"),
        "{log}"
    );
    assert!(log.contains("the issuer does not sign"), "{log}");
    assert_eq!(serving.stop(), 0);

    // The records say so, and an auditor counts them; who knows of a ceremony finds them.
    let bundle = export(&home, "all.jsonl", &[]);
    let mut ledger = Ledger::read(&fs::read_to_string(&bundle).unwrap());
    let start = ledger
        .entries
        .iter_mut()
        .rfind(|entry| entry.kind == "start")
        .unwrap();
    let start: Value = serde_json::from_slice(start.field(23)).unwrap();
    assert_eq!(start["details"]["ceremony.default"], "none", "{start:#}");
    assert_eq!(start["details"]["ceremony.direct"], "refused", "{start:#}");
    let outcome = replay(&bundle, &home.file("roots.pem"), &[]);
    assert_eq!(outcome.code, 0, "{:#}", report(&outcome));
    assert!(report(&outcome)["keys"]["without_ceremony"].as_u64().unwrap() >= 1);
    let other = Digest::of(b"another").to_string();
    let outcome = replay(&bundle, &home.file("roots.pem"), &["--ceremony", &other]);
    assert_eq!(
        (outcome.code, codes(&outcome)),
        (CONTRADICTED, vec!["ceremony".to_owned()])
    );
}
