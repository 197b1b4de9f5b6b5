//! Break-glass: rollbacks that were signed together with the set that they undo.

use std::{fs, path::Path, time::Duration};

use sealwright_identity::{Clock as _, SystemClock};
use sealwright_statement::{Envelope, Signed, policy::Set};
use serde_json::{Value, json};
use tonic::Code;

use super::{ask, people::Deployment};

/// A deployment where two must agree, and a proposal that would deny everybody, with a rollback beside it.
async fn proposed(with_rollback: &str) -> (Deployment, Value) {
    let deployment = Deployment::new().await;
    deployment.found(2);
    let strict = deployment.push(
        "strict",
        json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]}),
        "dan",
    );
    let report = strict.report_of_revision();
    let proposed = deployment.propose(&["--enforce", &strict.revision, "--report", &report, with_rollback]);
    (deployment, proposed)
}

fn digest(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

fn agree(deployment: &Deployment, set: &str) -> Value {
    deployment.approve("ann", set).success();
    deployment.approve("bob", set).json()
}

#[tokio::test]
async fn a_rollback_signed_ahead_needs_nobody_once_its_set_is_in_force() {
    let (deployment, proposed) = proposed("--with-rollback=2d").await;
    let (set, back) = (digest(&proposed["set"]), digest(&proposed["rollback"]["set"]));
    assert_eq!(proposed["rollback"]["restores"], 2, "{proposed}");
    assert_eq!(proposed["rollback"]["number"], 4, "{proposed}");

    // What is signed says what it is.
    let file = deployment.home.file("break-glass.txt");
    let file = file.to_str().unwrap();
    let review = deployment.policy("admin", &["review", &back]).json();
    let told = review["changes"].to_string();
    for expected in [
        "break-glass",
        "while set 3 is in force",
        "bring back set 2",
        "brings back set 2",
        "without further signatures",
        "strict (",
        "retired, was enforced",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    // The rollback is none of what is meant where nothing is named.
    let unnamed = deployment.policy("admin", &["review"]).json();
    assert_eq!(unnamed["set"], set.as_str(), "{unnamed}");

    // Before its set, it is of no use, even signed.
    let counted = agree(&deployment, &back);
    assert_eq!(counted["counted"], json!(["ann", "bob"]), "{counted}");
    assert!(
        counted["trouble"].to_string().contains("after set 3"),
        "{counted}"
    );
    deployment
        .policy("admin", &["review", &back, "--out", file])
        .success();
    let early = deployment.policy("admin", &["activate", "--file", file]);
    assert_ne!(early.code, 0, "{}", early.stdout);
    assert_eq!(deployment.status()["in_force"], 2);

    agree(&deployment, &set);
    deployment.policy("admin", &["activate"]).success();
    let denied = ask(&deployment).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    let unnamed = deployment.policy("admin", &["activate"]);
    assert!(unnamed.stderr.contains("name the one"), "{}", unnamed.stderr);

    // A reader has the file, and may not use it; one operator suffices.
    let reader = deployment.policy("reader", &["activate", "--file", file]);
    assert!(reader.stderr.contains("operator"), "{}", reader.stderr);
    let activated = deployment.policy("admin", &["activate", "--file", file]).json();
    assert_eq!(activated["number"], 4, "{activated}");
    ask(&deployment).await.unwrap();
    let again = deployment.policy("admin", &["activate", "--file", file]);
    assert_ne!(again.code, 0, "{}", again.stdout);
}

#[tokio::test]
async fn a_rollback_signed_ahead_is_for_its_set_alone_and_for_a_short_time() {
    let (deployment, proposed) = proposed("--with-rollback").await;
    let set = digest(&proposed["set"]);
    let long = deployment.policy("admin", &["rollback", "2", "--ahead", &set, "--valid", "8d"]);
    assert!(long.stderr.contains("at most 7d"), "{}", long.stderr);
    let brief = deployment
        .policy("admin", &["rollback", "2", "--ahead", &set, "--valid", "1s"])
        .json();
    let brief = digest(&brief["set"]);
    let (ann, bob) = (deployment.key("ann"), deployment.key("bob"));
    let signed = [
        "rollback",
        "2",
        "--ahead",
        &set,
        "--sign-with",
        &ann,
        "--sign-with",
        &bob,
    ];
    let signed = deployment.policy("admin", &signed).json();
    assert_eq!(signed["counted"], json!(["ann", "bob"]), "{signed}");
    let file = deployment.home.file("break-glass.txt");
    let out = [
        "review",
        signed["set"].as_str().unwrap(),
        "--out",
        file.to_str().unwrap(),
    ];
    deployment.policy("admin", &out).success();
    let lapsed = deployment.home.file("lapsed.txt");
    let out = ["review", &brief, "--out", lapsed.to_str().unwrap()];
    agree(&deployment, &brief);
    deployment.policy("admin", &out).success();
    agree(&deployment, &set);
    deployment.policy("admin", &["activate", &set]).success();
    let activate = |file: &Path| deployment.policy("admin", &["activate", "--file", file.to_str().unwrap()]);

    let text = fs::read_to_string(&lapsed).unwrap();
    let lapses: Signed<Set> = Envelope::parse(&text).unwrap().open().unwrap();
    while SystemClock.now() <= lapses.statement.not_after {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let expired = activate(&lapsed);
    assert!(
        expired.stderr.contains("could be activated until"),
        "{}",
        expired.stderr
    );

    // What it would bring back is revoked meanwhile.
    let baseline = deployment.status()["revisions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["policy"] == "baseline"))
        .map(|one| digest(&one["revision"]))
        .unwrap();
    let revoke = [
        "revoke",
        &baseline,
        "--reason",
        "a test",
        "--sign-with",
        &ann,
        "--sign-with",
        &bob,
    ];
    deployment.policy("admin", &revoke).success();
    let revoked = activate(&file);
    assert!(revoked.stderr.contains("was revoked"), "{}", revoked.stderr);

    // Another set came in between.
    let next = deployment.propose(&["--retire", &baseline]);
    agree(&deployment, &digest(&next["set"]));
    deployment.policy("admin", &["activate"]).success();
    let past = activate(&file);
    assert!(past.stderr.contains("its number is 4"), "{}", past.stderr);
    assert_eq!(deployment.status()["in_force"], 4);
}
