//! A ledger that is pruned, through the real binary: who is refused, and what goes on as before.

use std::{fs, path::Path};

use sealwright_tests::{Client, Csr, Home, Outcome, client::request, run};
use serde_json::Value;

use crate::{audit::export, faults::library};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
/// Exit codes.
const USAGE: i32 = 2;
const REFUSED: i32 = 6;
const HELD: i32 = 7;

/// By this clock every certificate has ended.
fn later() -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library().to_str().unwrap().to_owned()),
        ("FAKETIME", "+400d".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// `log prune` with these arguments, when all certificates have ended.
pub(crate) fn prune(home: &Home, before: &str, exports: &[&str], more: &[&str]) -> Outcome {
    let variables = later();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    prune_with(home, before, exports, more, &variables)
}

fn prune_with(
    home: &Home,
    before: &str,
    exports: &[&str],
    more: &[&str],
    variables: &[(&str, &str)],
) -> Outcome {
    let place = home.path().to_str().unwrap();
    let mut arguments = vec![
        "log", "prune", "--home", place, "--before", before, "--output", "json",
    ];
    if !exports.is_empty() {
        arguments.push("--export");
        arguments.extend(exports);
    }
    arguments.extend(more);
    home.run_bare(&arguments, variables)
}

pub(crate) fn verified(home: &Home) -> Value {
    run([
        "log",
        "verify",
        "--home",
        home.path().to_str().unwrap(),
        "--output",
        "json",
    ])
    .json()
}

pub(crate) fn list(home: &Home) -> Vec<Value> {
    run([
        "log",
        "list",
        "--home",
        home.path().to_str().unwrap(),
        "--output",
        "json",
    ])
    .json_lines()
}

pub(crate) fn recorded(row: &Value) -> &str {
    row["recorded_at"].as_str().unwrap()
}

async fn issued(home: &Home, times: u32) -> (String, String) {
    let signer = home.start();
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    let mut last = None;
    for _ in 0..times {
        let csr = Csr::ztunnel(WEB);
        let chain = client.create(&token, &csr.pem, 3600).await.unwrap();
        last = Some((chain[..chain.len() - 1].concat(), csr.key.serialize_pem()));
    }
    assert_eq!(signer.stop(), 0);
    last.unwrap()
}

/// Whether a certificate renews.
async fn renews(home: &Home, (chain, key): &(String, String)) -> bool {
    let signer = home.start();
    let client = Client::connect_with(&signer, chain, key).await.unwrap();
    let renewed = client
        .create_with(&[], request(&Csr::ztunnel(WEB).pem, 600))
        .await;
    assert_eq!(signer.stop(), 0);
    renewed.is_ok()
}

#[tokio::test]
async fn what_may_not_be_pruned_is_not() {
    let home = Home::new();
    issued(&home, 4).await;
    let rows = list(&home);
    let web: Vec<_> = rows.iter().filter(|row| row["identity"] == WEB).collect();
    let before = recorded(web[3]);
    let whole = export(&home, "whole.jsonl", &[]);
    let short = export(&home, "short.jsonl", &["--until", recorded(web[2])]);
    let early = export(&home, "early.jsonl", &["--until", recorded(web[1])]);
    let late = export(&home, "late.jsonl", &["--since", recorded(web[2])]);
    let other = Home::new();
    issued(&other, 1).await;
    let foreign = export(&other, "foreign.jsonl", &[]);
    let changed = home.file("changed.jsonl");
    let mut bytes = fs::read(&whole).unwrap();
    let place = bytes.len() / 3;
    bytes[place] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let changed = changed.to_str().unwrap();
    let state = verified(&home);

    for (what, exports, said) in [
        ("no export", vec![], "no export was named"),
        (
            "without the last that goes",
            vec![&*short],
            "the exports end with entry",
        ),
        (
            "of a copy that went another way",
            vec![&foreign],
            "is not the one that the ledger has",
        ),
        ("one byte changed", vec![changed], "is not a sound export"),
        (
            "a gap between two",
            vec![&early, &late],
            "are in no export that was named",
        ),
        ("a file that is none", vec!["/dev/null"], "is not a sound export"),
    ] {
        let outcome = prune(&home, before, &exports, &["--yes"]);
        assert_eq!(outcome.code, REFUSED, "{what}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{what}: {}", outcome.stderr);
    }
    let absent = prune(&home, before, &["absent.jsonl"], &["--yes"]);
    assert_eq!(absent.code, USAGE, "{}", absent.stderr);
    let future = prune(&home, "2999-01-01T00:00:00Z", &[&whole], &["--yes"]);
    assert_eq!(future.code, USAGE, "{}", future.stderr);
    assert!(future.stderr.contains("in the future"), "{}", future.stderr);
    let nobody = prune(&home, before, &[&whole], &[]);
    assert_eq!(nobody.code, USAGE, "{}", nobody.stderr);
    assert!(nobody.stderr.contains("--yes"), "{}", nobody.stderr);
    // By the clock as it is, certificates are valid; the time that is named would do.
    let valid = prune_with(&home, before, &[&whole], &["--yes"], &[]);
    assert_eq!(valid.code, REFUSED, "{}", valid.stderr);
    assert!(valid.stderr.contains("valid until"), "{}", valid.stderr);
    let (_, would_do) = valid.stderr.rsplit_once("prune before ").unwrap();
    let would_do = would_do.split(' ').next().unwrap();
    let done = prune_with(&home, would_do, &[&whole], &["--dry-run"], &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(verified(&home), state, "all of that changed nothing");

    // A signer has the home: looking is allowed, pruning is not.
    let signer = home.start();
    let held = prune(&home, before, &[&whole], &["--yes"]);
    assert_eq!(held.code, HELD, "{}", held.stderr);
    assert!(held.stderr.contains("while no signer runs"), "{}", held.stderr);
    let dry = prune(&home, before, &[&whole], &["--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert_eq!(signer.stop(), 0);
    let empty = tempfile::tempdir().unwrap();
    let place = empty.path().join("home").to_str().unwrap().to_owned();
    let nowhere = run(["log", "prune", "--home", &place, "--before", "1h", "--yes"]);
    assert_eq!(nowhere.code, USAGE, "{}", nowhere.stderr);
    assert!(!Path::new(&place).exists(), "no home was made");
    assert!(verified(&home)["pruned"].is_null());
}

#[tokio::test]
async fn a_pruned_home_goes_on_as_before() {
    let home = Home::new();
    let gone = issued(&home, 3).await;
    let stays = issued(&home, 2).await;
    let whole = export(&home, "whole.jsonl", &[]);
    let rows = list(&home);
    let web: Vec<_> = rows.iter().filter(|row| row["identity"] == WEB).collect();
    let before = recorded(web[3]);

    let dry = prune(&home, before, &[&whole], &["--dry-run"]).json();
    let report = prune(&home, before, &[&whole], &["--yes"]).json();
    assert_eq!(dry["certificates"], report["certificates"], "{report}");
    assert_eq!(report["removed"], report["entries"], "{report}");
    let state = verified(&home);
    assert_eq!(state["pruned"]["last"], report["last"], "{state}");
    assert_eq!(state["head"], report["recorded"], "{state}");
    let again = prune(&home, before, &[], &["--yes"]);
    assert_eq!(again.code, 0, "nothing is left to do: {}", again.stderr);

    // The serial of what went leads to the export, by each command.
    let serial = web[1]["serial"].as_str().unwrap();
    let place = home.path().to_str().unwrap();
    for arguments in [
        ["who-allowed", "--serial", serial, "--home", place].as_slice(),
        &["log", "show", serial, "--home", place],
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, REFUSED, "{}", outcome.stderr);
        let said = &outcome.stderr;
        assert!(
            said.contains("was pruned") && said.contains("whole.jsonl (sha256:"),
            "{said}"
        );
    }
    run([
        "who-allowed",
        "--serial",
        web[4]["serial"].as_str().unwrap(),
        "--home",
        place,
    ])
    .success();

    // The signer starts, what stayed renews, and what went does not.
    assert!(renews(&home, &stays).await);
    assert!(!renews(&home, &gone).await);
    assert_eq!(verified(&home)["pruned"]["last"], report["last"]);

    // The next export begins where the chain now does, and comes out again.
    let rest = export(&home, "rest.jsonl", &[]);
    run(["log", "verify", "--export", &rest]).success();
    let outcome = crate::audit::replay(&rest, &home.file("roots.pem"), &[]);
    assert_eq!(outcome.code, 0, "{} {}", outcome.stdout, outcome.stderr);
}
