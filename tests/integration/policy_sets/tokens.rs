//! An approver whose key is on a token.

use sealwright_tests::{
    Outcome,
    ceremony::files,
    tokens::{PIN, Tokens},
};
use serde_json::json;
use tonic::Code;

use super::{ask, people::Deployment};

/// Runs `sealwright policy` as the administrator, with ann's token, and keeps what it says.
fn policy(deployment: &Deployment, tokens: &Tokens, said: &mut String, arguments: &[&str]) -> Outcome {
    let all = deployment.arguments("admin", arguments);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let outcome = tokens.run(&all, "ann");
    said.push_str(&outcome.stdout);
    said.push_str(&outcome.stderr);
    outcome
}

#[tokio::test]
async fn a_key_in_a_file_and_a_key_on_a_token_are_a_quorum() {
    let deployment = Deployment::new().await;
    let tokens = Tokens::new();
    tokens.init("ann");
    let made = tokens.key("ann", "p384", &deployment.key("ann"));
    let ann = made["key"].as_str().unwrap();
    deployment.found(2);

    let mut said = made.to_string();
    let mut policy = |arguments: &[&str]| policy(&deployment, &tokens, &mut said, arguments);
    let settings = json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]});
    let strict = deployment.push("strict", settings, "dan");
    let report = strict.report_of_revision();
    let proposed = deployment.propose(&["--enforce", &strict.revision, "--report", &report]);
    let set = proposed["set"].as_str().unwrap();
    let agreed = policy(&["approve", set, "--sign-with", ann]).json();
    assert_eq!(agreed["counted"], json!(["ann"]), "{agreed}");
    deployment.approve("bob", set).success();
    let activated = deployment.policy("admin", &["activate", set]).json();
    assert_eq!(activated["counted"], json!(["ann", "bob"]), "{activated}");
    let denied = ask(&deployment).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");

    // Both kinds of keys in one command, by which a set comes back and a revision goes.
    let bob = deployment.key("bob");
    let by = ["--sign-with", ann, "--sign-with", &bob];
    let back = policy(&[&["rollback", "2"], &by[..]].concat()).json();
    assert_eq!(back["counted"], json!(["ann", "bob"]), "{back}");
    ask(&deployment).await.unwrap();
    let revoke = ["revoke", &strict.revision, "--reason", "a test"];
    policy(&[&revoke, &by[..]].concat()).success();

    // Whoever has the wrong PIN changes nothing.
    tokens.pin("0000000000");
    let proposed = deployment.propose(&[]);
    let refused = policy(&["approve", proposed["set"].as_str().unwrap(), "--sign-with", ann]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);

    said.push_str(&deployment.signer.log());
    assert!(!said.contains(PIN));
    for folder in [deployment.home.path(), &tokens.file("memory")] {
        for (path, bytes) in files(folder) {
            let there = bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes());
            assert!(!there, "{}", path.display());
        }
    }
}
