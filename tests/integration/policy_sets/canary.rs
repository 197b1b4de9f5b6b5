//! A canary that denies everybody, and the bounds that stop it.

use std::time::Duration;

use sealwright_tests::{run, who_allowed};
use serde_json::json;
use tonic::Code;

use super::{ask, people::Deployment};
use crate::audit::{export, replay, report};

/// Waits for lines of the metrics: the gate's are asked for now and then.
async fn until_metrics(deployment: &Deployment, lines: &[&str]) {
    let mut page = String::new();
    for _ in 0..600 {
        page = deployment.signer.http("/metrics").await.1;
        if lines.iter().all(|line| page.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{lines:?} are not all in {page}");
}

#[tokio::test]
async fn a_canary_that_denies_everybody_is_stopped_and_all_are_served_again() {
    let deployment = Deployment::new().await;
    ask(&deployment).await.unwrap();
    let strict = deployment.push_unsigned(
        "baseline",
        json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]}),
    );
    let canary = format!("{}=100", strict.revision);
    deployment.propose(&[
        "--canary",
        &canary,
        "--stop-after",
        "6",
        "--stop-denied",
        "20%",
        "--stop-aborted",
        "1",
    ]);
    let review = deployment.policy("admin", &["review"]).json();
    let told = review["changes"].to_string();
    for expected in [
        "canary for 100.00 %",
        "once it has decided 6 times",
        "more than 20.00 % of them were denied",
        "more than 1.00 % of them were aborted",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    deployment.policy("admin", &["activate"]).success();

    // Denied until the bound, and from the stop on nobody is.
    let mut denied = 0;
    while let Err(status) = ask(&deployment).await {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        denied += 1;
        assert!(denied < 200, "the canary goes on");
    }
    assert!(denied >= 6, "{denied}");
    for _ in 0..20 {
        ask(&deployment).await.unwrap();
    }
    let status = deployment.status();
    let stopped = &status["canaries"][0];
    assert_eq!(stopped["policy"], "baseline", "{status:#}");
    assert_eq!(stopped["denied"], denied, "{status:#}");
    assert!(stopped["stopped"].is_string(), "{status:#}");
    assert_eq!(status["in_force"], 2, "{status:#}");
    until_metrics(
        &deployment,
        &[
            "sealwright_gate_canary_stops_total 1",
            &format!(r#"sealwright_gate_canary_decisions{{policy="baseline",decisions="denied"}} {denied}"#),
        ],
    )
    .await;

    // The auditor counts again, and the certificate's page says it.
    let anchor = deployment.home.file("roots.pem");
    let bundle = export(&deployment.home, "all.jsonl", &[]);
    let outcome = replay(&bundle, &anchor, &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    let seen = &said["sets"]["activated"][1]["stopped"][0];
    assert_eq!(
        (&seen["revision"], &seen["denied"]),
        (&json!(strict.revision), &json!(denied)),
        "{said:#}"
    );
    let home = deployment.home.path().to_str().unwrap();
    let list = ["log", "list", "--home", home, "--set", "2", "--output", "json"];
    let last = run(list).json_lines().pop().unwrap();
    let serial = last["serial"].as_str().unwrap();
    let page = who_allowed(deployment.home.path(), serial);
    let stops = &page["policy_set"]["stopped_canaries"];
    assert_eq!(stops[0]["revision"], strict.revision.as_str(), "{page:#}");
    assert_eq!(stops[0]["denied"], denied, "{page:#}");

    // A part has the stop, and says that it cannot count.
    let since = last["recorded_at"].as_str().unwrap();
    let part = export(&deployment.home, "part.jsonl", &["--since", since]);
    let outcome = replay(&part, &anchor, &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    assert!(said["not_comparable"]["stop"]["count"].is_u64(), "{said:#}");
    assert_eq!(said["sets"]["activated"][1]["stopped"][0], *seen, "{said:#}");
}
