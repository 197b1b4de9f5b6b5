//! Revisions that an author runs in shadow at the front alone: without a quorum, for a while, and without a say.

use std::time::Duration;

use sealwright_tests::{Client, Csr};
use serde_json::{Value, json};

use super::{ask, people::Deployment};
use crate::{
    audit::{export, replay},
    policy::HOSTILE,
};

/// Of a namespace that nobody thinks of at admission.
const QUIET: &str = "spiffe://cluster.local/ns/quiet/sa/web";

/// What runs in shadow at the front, once that is so.
async fn until(deployment: &Deployment, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut listed = Value::Null;
    for _ in 0..600 {
        listed = deployment.policy("reader", &["shadows"]).json();
        let shadows = listed["shadows"].as_array().unwrap();
        if is_so(shadows) {
            return shadows.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{listed:#}");
}

fn hostile(deployment: &Deployment, name: &str, deed: &str) -> String {
    let settings = json!({ "decide": deed });
    let pushed = deployment.push_module(HOSTILE.as_ref(), name, settings, None);
    pushed.revision
}

/// Tries to, and says why not.
fn refused(deployment: &Deployment, caller: &str, arguments: &[&str], why: &str) {
    let outcome = deployment.policy(caller, arguments);
    assert_ne!(outcome.code, 0, "{}", outcome.stdout);
    assert!(outcome.stderr.contains(why), "{why} in {}", outcome.stderr);
}

#[tokio::test]
async fn an_author_shadows_a_revision_and_the_set_alone_decides() {
    let mut deployment = Deployment::new().await;
    ask(&deployment).await.unwrap();
    let revision = hostile(&deployment, "baseline", "deny");
    let started = deployment
        .policy("admin", &["shadow", &revision, "--for", "2h"])
        .json();
    assert_eq!(
        started["asked_by"], "spiffe://cluster.local/ns/ops/sa/admin",
        "{started}"
    );
    assert_eq!(started["policy"], "baseline", "{started}");

    // It would deny, and the certificate is issued.
    ask(&deployment).await.unwrap();
    until(&deployment, |all| all[0]["denies"] == 1).await;
    let (_, page) = deployment.signer.http("/metrics").await;
    let line = r#"sealwright_policy_shadows_total{policy="baseline",difference="denies",origin="front"} 1"#;
    assert!(page.contains(line), "{page}");
    assert!(!page.contains(r#"origin="set"} 1"#), "{page}");
    let log = deployment.signer.log();
    assert!(log.contains("a shadow of this front differs"), "{log}");
    assert_eq!(deployment.status()["in_force"], 1);

    // Another set takes effect, and the shadow goes on beside it.
    let second = deployment.push_unsigned("second", json!({"trust_domains": ["cluster.local"]}));
    deployment.propose(&["--enforce", &second.revision]);
    deployment.policy("admin", &["activate"]).success();
    ask(&deployment).await.unwrap();
    until(&deployment, |all| all[0]["denies"] == 2).await;

    // The gate never heard of it: no record names it, and every decision comes out again without it.
    let by_it = deployment.signer.log_list(&["--policy", &revision]);
    assert!(by_it.is_empty(), "{by_it:?}");
    let by_second = deployment.signer.log_list(&["--policy", &second.revision]);
    assert_eq!(by_second.len(), 1, "{by_second:?}");
    let bundle = export(&deployment.home, "all.jsonl", &[]);
    let replayed = replay(&bundle, &deployment.home.file("roots.pem"), &[]);
    assert_eq!(replayed.code, 0, "{}", replayed.stdout);

    // Stopped, and asked no more.
    let stopped = deployment
        .policy("admin", &["shadow", &revision, "--stop"])
        .json();
    assert_eq!(stopped["denies"], 2, "{stopped}");
    refused(
        &deployment,
        "admin",
        &["shadow", &revision, "--stop"],
        "does not run in shadow",
    );
    ask(&deployment).await.unwrap();
    until(&deployment, |all| all.is_empty()).await;

    // In memory only.
    deployment.policy("admin", &["shadow", &revision]).success();
    until(&deployment, |all| all.len() == 1).await;
    deployment.settle();
    deployment = deployment.again();
    until(&deployment, |all| all.is_empty()).await;
}

#[tokio::test]
async fn who_may_shadow_what_for_how_long_and_how_many_is_bounded() {
    let deployment = Deployment::with("[policy_host]\nfront_shadows = 1\n").await;
    deployment.found(2);
    let settings = json!({"trust_domains": ["cluster.local"]});
    let pushed = deployment.push("one", settings.clone(), "dan");
    let one = pushed.revision.clone();
    let two = deployment.push("two", settings, "dan").revision;

    refused(&deployment, "reader", &["shadow", &one], "author or operator");
    refused(
        &deployment,
        "reader",
        &["shadow", &one, "--stop"],
        "author or operator",
    );
    refused(&deployment, "web", &["shadows"], "no role");
    refused(
        &deployment,
        "admin",
        &["shadow", &one, "--for", "25h"],
        "24 hours at most",
    );
    let unknown = format!("sha256:{}", "1".repeat(64));
    refused(&deployment, "admin", &["shadow", &unknown], "push it first");
    let status = deployment.status();
    let set = status["set"].as_str().unwrap();
    refused(&deployment, "admin", &["shadow", set], "is no revision");
    until(&deployment, |all| all.is_empty()).await;

    deployment.policy("admin", &["shadow", &one]).success();
    refused(
        &deployment,
        "admin",
        &["shadow", &two],
        "policy_host.front_shadows",
    );
    // One that runs begins anew.
    deployment
        .policy("admin", &["shadow", &one, "--for", "24h"])
        .success();
    ask(&deployment).await.unwrap();
    until(&deployment, |all| all[0]["same"] == 1).await;

    // Others agreed to it: the shadow goes on until the revision is revoked, and does not come again.
    let report = pushed.report_of_revision();
    deployment.propose(&["--enforce", &one, "--report", &report]);
    for person in ["ann", "bob"] {
        let key = deployment.key(person);
        deployment
            .policy("admin", &["approve", "--sign-with", &key])
            .success();
    }
    deployment.policy("admin", &["activate"]).success();
    until(&deployment, |all| all.len() == 1).await;
    let keys = [deployment.key("ann"), deployment.key("bob")];
    let revoke = [
        "revoke",
        &one,
        "--reason",
        "a test",
        "--sign-with",
        &keys[0],
        "--sign-with",
        &keys[1],
    ];
    deployment.policy("admin", &revoke).success();
    until(&deployment, |all| all.is_empty()).await;
    refused(&deployment, "admin", &["shadow", &one], "was revoked");
    deployment.policy("admin", &["shadow", &two]).success();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_of_the_front_that_loops_or_traps_harms_nobody() {
    /// Of each caller; of both together fewer than shadows of the set may wait.
    const REQUESTS: u64 = 30;
    let deployment = Deployment::new().await;
    let watching = hostile(&deployment, "watching", "deny");
    deployment.propose(&["--shadow", &watching]);
    deployment.policy("admin", &["activate"]).success();
    for (name, deed) in [("looping", "loop-on-quiet"), ("trapping", "panic-on-quiet")] {
        let revision = hostile(&deployment, name, deed);
        deployment.policy("admin", &["shadow", &revision]).success();
    }
    let token = deployment.signer.token("quiet", "web");
    let mut callers = Vec::new();
    for _ in 0..2 {
        let client = Client::connect(&deployment.signer).await;
        let token = token.clone();
        callers.push(tokio::spawn(async move {
            let csr = Csr::ztunnel(QUIET).pem;
            for _ in 0..REQUESTS {
                client.create(&token, &csr, 3600).await.unwrap();
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    // Both were asked, and denied by the host in their place.
    let shadows = until(&deployment, |all| all.iter().all(|one| one["denies"] != 0)).await;
    assert_eq!(shadows.len(), 2, "{shadows:?}");
    // The shadow of the set was asked about each request.
    let line = format!(
        r#"sealwright_policy_shadows_total{{policy="watching",difference="denies",origin="set"}} {}"#,
        2 * REQUESTS
    );
    let mut page = String::new();
    for _ in 0..600 {
        page = deployment.signer.http("/metrics").await.1;
        if page.contains(&line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{line} is not in {page}");
}
