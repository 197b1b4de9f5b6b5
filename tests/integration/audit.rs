//! An auditor with an export, a trust anchor and the binary: everything comes out again, and a lie does not.

pub(crate) mod forge;
mod sets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};
use sealwright_identity::Digest;
use sealwright_proto::gate::Evidence;
use sealwright_tests::{Client, Csr, Home, Outcome, client::request, run, who_allowed};
use serde_json::{Value as Json, json};

use forge::{Entry, Fields, Ledger};

use crate::policy::{HOSTILE, policy};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
/// Exit codes.
const DAMAGED: i32 = 6;
const CONTRADICTED: i32 = 8;

/// A home whose ledger has certificates, a renewal, denials of several kinds and a narrowed certificate.
async fn filled() -> Home {
    let home = Home::new();
    for deed in ["deny", "loop", "hour"] {
        home.append(&policy(deed, HOSTILE, &format!("{{ decide = {deed:?} }}")))
            .append(&format!(
                "[[issuers]]\nname = {deed:?}\nkey = \"pkcs11:object=issuing\"\nchain = \"issuer-chain.pem\"\n\
                 roots = \"roots.pem\"\nrehearsal = true\npolicies = [{deed:?}]\n"
            ));
    }
    let signer = home.start();
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    for _ in 0..3 {
        client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await.unwrap();
    }
    let csr = Csr::ztunnel(WEB);
    let chain = client.create(&token, &csr.pem, 600).await.unwrap();
    let presented = chain[..chain.len() - 1].concat();
    let renewing = Client::connect_with(&signer, &presented, &csr.key.serialize_pem())
        .await
        .unwrap();
    renewing
        .create_with(&[], request(&Csr::ztunnel(WEB).pem, 600))
        .await
        .unwrap();
    for (issuer, granted) in [("deny", false), ("loop", false), ("hour", true)] {
        let mut message = request(&Csr::ztunnel(WEB).pem, 86_400);
        let value = |text: &str| Value {
            kind: Some(Kind::StringValue(text.to_owned())),
        };
        message.metadata = Some(Struct {
            fields: BTreeMap::from([
                ("CertSigner".to_owned(), value(issuer)),
                ("ClusterID".to_owned(), value("Kubernetes")),
            ]),
        });
        let bearer = format!("Bearer {token}");
        let answer = client.create_with(&[("authorization", &bearer)], message).await;
        assert_eq!(answer.is_ok(), granted, "{issuer}: {answer:?}");
    }
    assert_eq!(signer.stop(), 0);
    home
}

pub(crate) fn export(home: &Home, name: &str, more: &[&str]) -> String {
    let file = home.file(name).to_str().unwrap().to_owned();
    let mut arguments = vec![
        "log",
        "export",
        "--home",
        home.path().to_str().unwrap(),
        "--out",
        &file,
    ];
    arguments.extend(more);
    run(arguments).success();
    file
}

pub(crate) fn replay(bundle: &str, anchor: &Path, more: &[&str]) -> Outcome {
    let anchor = anchor.to_str().unwrap();
    let arguments = [
        "policy",
        "replay",
        "--bundle",
        bundle,
        "--trust-anchor",
        anchor,
        "--output",
        "json",
    ];
    run(arguments.iter().chain(more).copied())
}

pub(crate) fn report(outcome: &Outcome) -> Json {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("no report: {}", outcome.stderr))
}

#[tokio::test]
async fn every_decision_of_an_export_comes_out_again() {
    let home = filled().await;
    let bundle = export(&home, "all.jsonl", &[]);
    let outcome = replay(&bundle, &home.file("roots.pem"), &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    let counts = &said["counts"];
    // Three, one and its renewal, one of an hour; two denials; the server's own.
    assert_eq!(counts["reproduced"], 8, "{said:#}");
    assert_eq!(counts["serving"], 1, "{said:#}");
    assert_eq!(counts["certificates"], 7, "{said:#}");
    assert_eq!(said["not_comparable"], json!({}), "{said:#}");
    assert_eq!(said["sound"], true);

    // One thread says the same.
    let anchor = home.file("roots.pem");
    let arguments = [
        "policy",
        "replay",
        "--bundle",
        &bundle,
        "--trust-anchor",
        anchor.to_str().unwrap(),
    ];
    let one = run(arguments
        .into_iter()
        .chain(["--threads", "1", "--output", "json"]))
    .json();
    assert_eq!(one["counts"], *counts);
    run(arguments.into_iter().chain(["--output", "table"])).success();
}

/// Records that were made under an engine of another version: see tests/fixtures/README.md.
#[test]
fn records_of_an_earlier_engine_are_replayed() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let bundle = fixtures.join("earlier-engine.jsonl");
    let outcome = replay(
        bundle.to_str().unwrap(),
        &fixtures.join("earlier-engine.pem"),
        &[],
    );
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    let counts = &said["counts"];
    assert_eq!(counts["reproduced_elsewhere"], 4, "{said:#}");
    assert_eq!(counts["reproduced"], 0, "{said:#}");
    // The server's own is one.
    assert_eq!(counts["certificates"], 5, "{said:#}");
    assert_eq!(said["not_comparable"]["fuel"]["count"], 4, "{said:#}");
    // And nothing was said of key ceremonies then.
    assert_eq!(said["keys"]["before_ceremonies"], 5, "{said:#}");
}

/// The way back: from a certificate to what allowed it, and from a policy to what it had a part in.
#[tokio::test]
async fn a_certificate_leads_to_its_policies_and_a_policy_to_its_certificates() {
    let home = filled().await;
    let place = home.path().to_str().unwrap();
    let list = |more: &[&str]| {
        let mut arguments = vec!["log", "list", "--home", place, "--output", "json"];
        arguments.extend(more);
        run(arguments).json_lines()
    };
    let hour = list(&["--policy", "hour"]);
    assert_eq!(hour.len(), 1, "{hour:?}");
    let module = hour[0]["policies"][0]["module"].as_str().unwrap();
    // The same code with other settings.
    assert_eq!(list(&["--policy", module]).len(), 3);
    assert_eq!(list(&["--policy", "baseline", "--limit", "2"]).len(), 2);

    let serial = hour[0]["serial"].as_str().unwrap();
    let page = who_allowed(home.path(), serial);
    assert_eq!(page["certificate"]["serial"], serial);
    assert_eq!(page["certificate"]["outcome"], "issued");
    assert_eq!(page["asked_by"]["kubernetes"]["service_account"], "web");
    let allowed = &page["allowed_by"][0];
    assert_eq!(
        (&allowed["policy"], &allowed["verdict"]),
        (&json!("hour"), &json!("allow"))
    );
    assert_eq!(allowed["narrowing"]["lifetime_seconds"], 3600);
    // In a rehearsal nobody had to agree, and it is said.
    let set = &page["policy_set"];
    assert_eq!(
        (&set["number"], &set["approvals"]),
        (&json!(2), &json!("none")),
        "{set}"
    );
    assert_eq!(set["from_configuration"], true, "{set}");
    let revision = allowed["revision"]["digest"].as_str().unwrap();
    assert_eq!(list(&["--policy", revision]), hour);
    assert_eq!(list(&["--set", "2"]).len(), 8);
    assert_eq!(list(&["--set", "2", "--policy", "hour"]), hour);
    for (arguments, due) in [
        (["--set", "9"], "never took effect"),
        (["--approver", "anna"], "nobody of the name"),
    ] {
        let refused = run(["log", "list", "--home", place].into_iter().chain(arguments));
        assert_eq!(refused.code, DAMAGED, "{}", refused.stderr);
        assert!(refused.stderr.contains(due), "{}", refused.stderr);
    }
    assert!(page["gate"]["binary"].as_str().unwrap().starts_with("sha256:"));
    let table = run([
        "who-allowed",
        "--home",
        place,
        "--serial",
        serial,
        "--output",
        "table",
    ])
    .success();
    assert!(table.contains("allowed by 1: policy"), "{table}");
    assert!(table.contains("policy set: approvals"), "{table}");
}

/// What the policy said of a request is what its vector expects, and other settings fail it.
#[tokio::test]
async fn a_recorded_request_is_a_vector() {
    let home = filled().await;
    let place = home.path().to_str().unwrap();
    let hour = run([
        "log", "list", "--home", place, "--policy", "hour", "--output", "json",
    ])
    .json_lines();
    let serial = hour[0]["serial"].as_str().unwrap();
    fs::create_dir(home.file("vectors")).unwrap();
    let file = home.file("vectors/web.json");
    let vector = |more: &[&str]| {
        let arguments = ["policy", "vector", "--home", place, "--serial", serial];
        run(arguments.iter().chain(more).copied())
    };
    vector(&["--out", file.to_str().unwrap()]).success();
    assert_eq!(vector(&["--out", file.to_str().unwrap()]).code, 2, "it is there");
    assert_eq!(vector(&["--policy", "other"]).code, 2);
    let written: Json = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, vector(&["--policy", "hour"]).json());

    let tested = |decide: &str| {
        let settings = home.file("settings.json");
        fs::write(&settings, json!({ "decide": decide }).to_string()).unwrap();
        let (vectors, settings) = (home.file("vectors"), settings.to_str().unwrap());
        let vectors = vectors.to_str().unwrap();
        run([
            "policy",
            "test",
            HOSTILE,
            "--vectors",
            vectors,
            "--settings",
            settings,
        ])
    };
    tested("hour").success();
    let denied = tested("deny");
    assert_ne!(denied.code, 0);
    assert!(denied.stderr.contains("1 of 1 vectors"), "{}", denied.stderr);
}

#[tokio::test]
async fn a_part_needs_nothing_but_itself() {
    let home = filled().await;
    let all = export(&home, "all.jsonl", &[]);
    let rows = run([
        "log",
        "list",
        "--home",
        home.path().to_str().unwrap(),
        "--output",
        "json",
    ])
    .json_lines();
    // The last three requests, a long time after modules, settings, chain and start were stored.
    let since = rows[rows.len() - 3]["recorded_at"].as_str().unwrap();
    let part = export(&home, "part.jsonl", &["--since", since]);
    let (all_bytes, part_bytes) = (
        fs::metadata(&all).unwrap().len(),
        fs::metadata(&part).unwrap().len(),
    );
    assert!(part_bytes < all_bytes, "{part_bytes} {all_bytes}");
    let text = fs::read_to_string(&part).unwrap();
    let lines = |kind: &str| {
        let start = format!("{{\"type\":\"{kind}\"");
        text.lines().filter(|line| line.starts_with(&start)).count()
    };
    assert!(lines("earlier") > 4, "{}", lines("earlier"));
    let outcome = replay(&part, &home.file("roots.pem"), &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    assert_eq!(said["counts"]["reproduced"], 3, "{said:#}");
    assert!(said["export"]["after"]["sequence"].as_u64().unwrap() > 10);
    // What decides was changed long before: the part has it, with the statements, and says that it is a rehearsal.
    let sets = &said["sets"];
    assert_eq!(sets["activated"][1]["approvals"], "none", "{sets:#}");
    assert_eq!(
        (&sets["changes"], &sets["rehearsed"]),
        (&json!(3), &json!(1)),
        "{sets:#}"
    );

    // One byte in a line of each kind.
    let pristine = text.into_bytes();
    let (mut seen, mut begin) = (BTreeSet::new(), 0);
    for line in pristine.split_inclusive(|byte| *byte == b'\n') {
        let kind = serde_json::from_slice::<Json>(line).unwrap();
        if seen.insert((kind["type"].to_string(), kind["kind"].to_string())) {
            let mut changed = pristine.clone();
            changed[begin + line.len() / 2] ^= 1;
            fs::write(&part, &changed).unwrap();
            let outcome = replay(&part, &home.file("roots.pem"), &[]);
            assert_eq!(outcome.code, DAMAGED, "{kind}");
        }
        begin += line.len();
    }
    for due in [("\"earlier\"", "\"policy\""), ("\"blob\"", "\"statement\"")] {
        assert!(seen.contains(&(due.0.to_owned(), due.1.to_owned())), "{seen:?}");
    }
}

#[tokio::test]
async fn an_anchor_that_is_not_the_issuers_is_said() {
    let home = filled().await;
    let bundle = export(&home, "all.jsonl", &[]);
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let other = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let file = home.file("other.pem");
    fs::write(&file, other.pem()).unwrap();
    let outcome = replay(&bundle, &file, &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, CONTRADICTED, "{said:#}");
    let codes: Vec<_> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["issuer"; 7], "{said:#}");
    assert_eq!(said["counts"]["certificates"], 0);
    // A file without certificates is none.
    fs::write(&file, "nothing").unwrap();
    assert_eq!(replay(&bundle, &file, &[]).code, 2);
}

#[tokio::test]
async fn damage_is_found_before_anything_is_said() {
    let home = filled().await;
    let bundle = export(&home, "all.jsonl", &[]);
    let pristine = fs::read(&bundle).unwrap();
    let anchor = home.file("roots.pem");
    // Every 1/12 of the file, whatever lies there.
    for part in 0..12 {
        let mut changed = pristine.clone();
        let place = pristine.len() * part / 12 + part;
        changed[place] ^= 1;
        fs::write(&bundle, &changed).unwrap();
        let outcome = replay(&bundle, &anchor, &[]);
        assert_eq!(outcome.code, DAMAGED, "byte {place}: {}", outcome.stderr);
        assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    }
    let text = String::from_utf8(pristine).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let middle = lines.len() / 2;
    let mut without = lines.clone();
    without.remove(middle);
    let mut twice = lines.clone();
    twice.insert(middle, lines[middle]);
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    for (what, lines) in [
        ("a line gone", without),
        ("a line twice", twice),
        ("two lines the other way about", swapped),
        ("cut off", lines[..middle].to_vec()),
    ] {
        fs::write(&bundle, lines.concat()).unwrap();
        assert_eq!(replay(&bundle, &anchor, &[]).code, DAMAGED, "{what}");
    }
}

/// Whoever holds the whole ledger can write all hashes anew. What is recorded must still be true.
/// What a replay found, each once where several follow each other.
fn codes(said: &serde_json::Value) -> Vec<String> {
    let found = said["findings"].as_array().unwrap().iter();
    let mut codes: Vec<String> = found
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    codes.dedup();
    codes
}

#[tokio::test]
async fn a_ledger_that_was_rewritten_whole_is_contradicted() {
    let home = filled().await;
    let bundle = export(&home, "all.jsonl", &[]);
    let text = fs::read_to_string(&bundle).unwrap();
    let anchor = home.file("roots.pem");
    let forged = |forge: &dyn Fn(&mut Fields)| {
        fs::write(&bundle, rewritten(&text, forge)).unwrap();
        let outcome = replay(&bundle, &anchor, &[]);
        let said = report(&outcome);
        (outcome.code, codes(&said))
    };
    assert_eq!(
        forged(&|_| {}),
        (0, Vec::new()),
        "the forger's own tools are right"
    );

    let evidence = |change: fn(&mut Evidence)| {
        move |fields: &mut Fields| {
            let place = fields.iter_mut().find(|(tag, _)| *tag == 10).unwrap();
            let mut evidence = Evidence::decode(place.1.as_slice()).unwrap();
            change(&mut evidence);
            place.1 = evidence.encode_to_vec();
        }
    };
    let fuel = evidence(|evidence| evidence.decision.as_mut().unwrap().policies[0].fuel += 1);
    let (code, codes) = forged(&fuel);
    assert_eq!(
        (code, codes.contains(&"fuel".to_owned())),
        (CONTRADICTED, true),
        "{codes:?}"
    );
    let narrowing = evidence(|evidence| {
        let policy = &mut evidence.decision.as_mut().unwrap().policies[0];
        policy.narrowing.as_mut().unwrap().lifetime_seconds = Some(7);
    });
    assert_eq!(forged(&narrowing), (CONTRADICTED, vec!["narrowing".to_owned()]));
    // Another caller than the one who asked: the parts of the record disagree.
    let caller = evidence(|evidence| {
        evidence
            .caller
            .as_mut()
            .unwrap()
            .kubernetes
            .as_mut()
            .unwrap()
            .service_account = "admin".into();
    });
    assert_eq!(forged(&caller), (CONTRADICTED, vec!["disagrees".to_owned()]));
    // A request of somebody else.
    let other = Csr::ztunnel(WEB);
    let (_, der) = der::pem::decode_vec(other.pem.as_bytes()).unwrap();
    let csr = move |fields: &mut Fields| {
        fields
            .iter_mut()
            .find(|(tag, _)| *tag == 8)
            .unwrap()
            .1
            .clone_from(&der);
    };
    let (code, codes) = forged(&csr);
    assert_eq!(
        (code, codes),
        (CONTRADICTED, vec!["disagrees".to_owned(), "tbs".to_owned()])
    );
    // A policy that was not in force.
    let policies = |fields: &mut Fields| {
        let place = fields.iter_mut().find(|(tag, _)| *tag == 2).unwrap();
        let at = place.1.windows(8).position(|text| text == b"baseline").unwrap();
        place.1[at..at + 8].copy_from_slice(b"nowhere!");
    };
    assert_eq!(forged(&policies), (CONTRADICTED, vec!["policies".to_owned()]));
    // One bit of the signature: the certificate entry follows the decision.
    let text = rewritten_certificates(&text);
    fs::write(&bundle, text).unwrap();
    let outcome = replay(&bundle, &anchor, &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, CONTRADICTED, "{said:#}");
    assert_eq!(said["findings"][0]["code"], "signature", "{said:#}");
}

/// The export with the first decision of a policy changed, and every hash after it written anew.
fn rewritten(text: &str, forge: &dyn Fn(&mut Fields)) -> String {
    let mut ledger = Ledger::read(text);
    let asked =
        |entry: &&mut Entry| entry.kind == "decision" && entry.fields.iter().any(|(tag, _)| *tag == 2);
    let first = ledger.entries.iter_mut().find(asked).unwrap();
    forge(&mut first.fields);
    ledger.written()
}

/// The same with the last bit of each certificate's signature changed, and its fingerprint.
fn rewritten_certificates(text: &str) -> String {
    let mut ledger = Ledger::read(text);
    let mut tbs = Vec::new();
    for entry in &mut ledger.entries {
        match entry.kind.as_str() {
            "decision" => tbs.clone_from(entry.field(9)),
            "certificate" => {
                let mut tail = entry.field(21).clone();
                *tail.last_mut().unwrap() ^= 1;
                let content = [tbs.as_slice(), &tail].concat();
                let length = u16::try_from(content.len()).unwrap().to_be_bytes();
                let der = [&[0x30, 0x82, length[0], length[1]], content.as_slice()].concat();
                entry.fields = vec![(20, Digest::of(&der).as_bytes().to_vec()), (21, tail)];
            }
            _ => {}
        }
    }
    ledger.written()
}
