//! Policy sets, from a module in a file to what decides: by people, through the signer, at the gate.

mod ahead;
mod audited;
mod canary;
mod explained;
mod front_shadow;
mod judged;
mod killed;
mod large;
mod people;
mod pruned;
mod shadow;
mod tokens;
mod uploads;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sealwright_tests::{Client, Csr};
use serde_json::json;
use tokio::sync::Barrier;
use tonic::Code;

use people::Deployment;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
/// Of each caller, before anything changes.
const QUIET_REQUESTS: usize = 20;

#[allow(clippy::print_stdout, reason = "the figures are read from the test's output")]
fn figure(text: &str) {
    println!("figure: {text}");
}

/// How long half of the requests took, and nearly all of them, in two cases.
fn compared(what: &str, one: &str, mut ones: Vec<Duration>, other: &str, mut others: Vec<Duration>) {
    ones.sort();
    others.sort();
    for percent in [50, 99] {
        let at = |times: &[Duration]| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        let (ones, others) = (at(&ones), at(&others));
        figure(&format!(
            "{what}_p{percent} {ones:.1} ms {one}, {others:.1} ms {other}, ratio {:.2}",
            others / ones
        ));
    }
}

/// Asks as `default/web`.
async fn ask(deployment: &Deployment) -> Result<Vec<String>, tonic::Status> {
    let token = deployment.signer.token("default", "web");
    let client = Client::connect(&deployment.signer).await;
    client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await
}

#[tokio::test]
async fn a_set_is_pushed_approved_activated_rolled_back_and_its_revision_revoked() {
    let deployment = Deployment::new().await;
    ask(&deployment).await.unwrap();
    // From a rehearsal to people: two of three must agree from now on.
    deployment.found(2);
    assert_eq!(deployment.status()["must_agree"], 2);
    assert_eq!(deployment.status()["in_force"], 2);
    ask(&deployment).await.unwrap();

    let deny = deployment.push(
        "strict",
        json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]}),
        "dan",
    );
    let proposed = deployment.propose(&[
        "--enforce",
        &deny.revision,
        "--report",
        &deny.report_of_revision(),
    ]);
    assert_eq!(proposed["needed"], 2, "{proposed}");
    let review = deployment.policy("admin", &["review"]).json();
    let changes = review["changes"].to_string();
    assert!(
        changes.contains("strict") && changes.contains("new, enforced"),
        "{review}"
    );
    assert_eq!(review["pushed_by"]["strict"], json!(["dan"]), "{review}");

    // A report that is not what this machine comes to is not signed.
    let forged = deployment.push_module(
        &deployment.home.file("policies/baseline.wasm"),
        "forged",
        json!({"trust_domains": ["cluster.local"]}),
        Some("dan"),
    );
    let lie = format!(
        "{}={}",
        forged.revision,
        deny.report_of_revision().split_once('=').unwrap().1
    );
    let lying = deployment.propose(&["--enforce", &forged.revision, "--report", &lie]);
    let refused = deployment.policy(
        "admin",
        &[
            "approve",
            lying["set"].as_str().unwrap(),
            "--sign-with",
            &deployment.key("ann"),
        ],
    );
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing is signed"), "{}", refused.stderr);

    // One is not enough, and the author does not count.
    let set = proposed["set"].as_str().unwrap();
    deployment.approve("ann", set).success();
    let early = deployment.policy("admin", &["activate", set]);
    assert_ne!(early.code, 0);
    assert!(early.stderr.contains("must agree"), "{}", early.stderr);
    let own = deployment.approve("dan", set).json();
    assert_eq!(own["uncounted"], json!(["dan"]), "{own}");
    assert_eq!(own["counted"], json!(["ann"]), "{own}");
    ask(&deployment).await.unwrap();
    deployment.approve("bob", set).success();
    let activated = deployment.policy("admin", &["activate", set]).json();
    assert_eq!(activated["number"], 3, "{activated}");
    assert_eq!(activated["counted"], json!(["ann", "bob"]), "{activated}");

    let denied = ask(&deployment).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");

    // Back to what was, by a fresh statement.
    let keys = [deployment.key("ann"), deployment.key("bob")];
    let back = ["rollback", "2", "--sign-with", &keys[0], "--sign-with", &keys[1]];
    let rolled_back = deployment.policy("admin", &back).json();
    assert_eq!(rolled_back["number"], 4, "{rolled_back}");
    ask(&deployment).await.unwrap();
    // The approval of set 3 is of no use a second time.
    let again = deployment.policy("admin", &["activate", activated["set"].as_str().unwrap()]);
    assert_ne!(again.code, 0, "{}", again.stdout);

    // A revoked revision denies for as long as a set names it, and comes back in none.
    let status = deployment.status();
    let revisions = status["revisions"].as_array().unwrap();
    let baseline = revisions.iter().find(|one| one["policy"] == "baseline").unwrap();
    let baseline = baseline["revision"].as_str().unwrap().to_owned();
    let revoke = [
        "revoke",
        &baseline,
        "--reason",
        "a test",
        "--sign-with",
        &keys[0],
        "--sign-with",
        &keys[1],
    ];
    deployment.policy("admin", &revoke).success();
    let refused = ask(&deployment).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let back = ["rollback", "3", "--sign-with", &keys[0], "--sign-with", &keys[1]];
    let outcome = deployment.policy("admin", &back);
    assert_ne!(outcome.code, 0, "set 3 has the revoked revision too");
}

#[tokio::test]
async fn no_request_fails_while_sets_change() {
    let deployment = Deployment::new().await;
    let running = Arc::new(AtomicBool::new(true));
    let token = deployment.signer.token("default", "web");
    // `make bench` asks with as many as the signer can bear.
    let callers = std::env::var("SWAP_CALLERS").map_or(4, |callers| callers.parse().unwrap());
    let quiet = Arc::new(Barrier::new(callers + 1));
    let mut asking = Vec::new();
    for _ in 0..callers {
        let client = Client::connect(&deployment.signer).await;
        let (running, token, quiet) = (Arc::clone(&running), token.clone(), Arc::clone(&quiet));
        asking.push(tokio::spawn(async move {
            let csr = Csr::ztunnel(WEB).pem;
            let (mut before, mut beside, mut failed) = (Vec::new(), Vec::new(), Vec::new());
            // The first one is also the connection's, and the token's.
            client.create(&token, &csr, 3600).await.unwrap();
            while before.len() < QUIET_REQUESTS {
                let since = Instant::now();
                client.create(&token, &csr, 3600).await.unwrap();
                before.push(since.elapsed());
            }
            quiet.wait().await;
            while running.load(Ordering::Relaxed) {
                let since = Instant::now();
                if let Err(status) = client.create(&token, &csr, 3600).await {
                    failed.push(status);
                }
                beside.push(since.elapsed());
            }
            (before, beside, failed)
        }));
    }
    // In a rehearsal nobody has to agree: sets change as fast as they can be proposed.
    let pushed = deployment.push_unsigned("second", json!({"trust_domains": ["cluster.local"]}));
    quiet.wait().await;
    let deployment = tokio::task::spawn_blocking(move || {
        for round in 0..6 {
            let change = if round % 2 == 0 { "--enforce" } else { "--retire" };
            deployment.propose(&[change, &pushed.revision]);
            deployment.policy("admin", &["activate"]).success();
        }
        deployment
    })
    .await
    .unwrap();
    running.store(false, Ordering::Relaxed);
    let (mut before, mut beside) = (Vec::new(), Vec::new());
    for task in asking {
        let (quiet, asked, failed) = task.await.unwrap();
        assert!(
            failed.is_empty(),
            "{} of {}: {:?}",
            failed.len(),
            asked.len(),
            failed.first()
        );
        before.extend(quiet);
        beside.extend(asked);
    }
    assert!(beside.len() > 20, "only {} were asked for", beside.len());
    figure(&format!(
        "swap: {} requests of {callers} callers beside 6 changes of the set, none failed",
        beside.len()
    ));
    compared("swap", "before", before, "beside", beside);
    assert_eq!(deployment.status()["in_force"], 7);
    let home = deployment.signer.home().to_str().unwrap().to_owned();
    sealwright_tests::run(["log", "verify", "--home", &home]).success();
}

#[tokio::test]
async fn of_two_administrators_one_wins() {
    let deployment = Deployment::new().await;
    let one = deployment.push_unsigned("one", json!({"trust_domains": ["cluster.local"]}));
    let two = deployment.push_unsigned("two", json!({"trust_domains": ["cluster.local"]}));
    let sets: Vec<String> = [&one, &two]
        .map(|pushed| {
            deployment.propose(&["--enforce", &pushed.revision])["set"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .into();
    let deployment = Arc::new(deployment);
    let tasks: Vec<_> = sets
        .into_iter()
        .map(|set| {
            let deployment = Arc::clone(&deployment);
            tokio::task::spawn_blocking(move || deployment.policy("admin", &["activate", &set]).code)
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(task.await.unwrap());
    }
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(deployment.status()["in_force"], 2);
    ask(&deployment).await.unwrap();
}

#[tokio::test]
async fn a_shadow_changes_nothing_and_is_counted() {
    let deployment = Deployment::new().await;
    let shadow = deployment.push_module(
        super::policy::HOSTILE.as_ref(),
        "baseline",
        json!({"decide": "deny"}),
        None,
    );
    deployment.propose(&["--shadow", &shadow.revision]);
    deployment.policy("admin", &["activate"]).success();
    ask(&deployment).await.unwrap();
    let line = r#"sealwright_policy_shadows_total{policy="baseline",difference="denies",origin="set"} 1"#;
    for _ in 0..600 {
        let (_, page) = deployment.signer.http("/metrics").await;
        if page.contains(line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the shadow was not counted");
}

#[tokio::test]
async fn who_has_no_role_is_refused() {
    let deployment = Deployment::new().await;
    // A workload with a good certificate.
    let nobody = deployment.policy("web", &["status"]);
    assert_eq!(nobody.code, 4, "{}", nobody.stderr);
    assert!(nobody.stderr.contains("no role"), "{}", nobody.stderr);
    // A reader who wants to act.
    deployment.policy("reader", &["status"]).success();
    let acts = deployment.policy("reader", &["activate"]);
    assert_eq!(acts.code, 4, "{}", acts.stderr);
    assert!(acts.stderr.contains("operator"), "{}", acts.stderr);
}
