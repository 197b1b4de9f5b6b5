//! The gate killed, not ended, between every two steps of a change, and in the middle of the last.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use sealwright_tests::signer::signal;
use serde_json::json;

use super::{ask, people::Deployment};

/// Kills the gate, and waits, within a bound, until another one serves.
async fn kill(deployment: &Deployment) {
    let before = deployment.signer.children("gate");
    assert_eq!(before.len(), 1);
    before.iter().for_each(|pid| signal(*pid, Signal::KILL));
    serves(deployment, &before).await;
}

async fn serves(deployment: &Deployment, before: &[u32]) {
    for _ in 0..600 {
        let now = deployment.signer.children("gate");
        if now.len() == 1 && now != before && deployment.signer.http("/readyz").await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no other gate within 30 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_on_where_a_killed_gate_left_it() {
    let deployment = Deployment::new().await;
    deployment.found(2);
    // Where people must agree, the configuration's policies would stop the next gate.
    deployment.settle();
    kill(&deployment).await;

    let deny = json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]});
    let pushed = deployment.push("strict", deny, "dan");
    kill(&deployment).await;
    let report = pushed.report_of_revision();
    let proposed = deployment.propose(&["--enforce", &pushed.revision, "--report", &report]);
    let set = proposed["set"].as_str().unwrap().to_owned();
    kill(&deployment).await;
    deployment.approve("ann", &set).success();
    kill(&deployment).await;
    let approved = deployment.approve("bob", &set).json();
    assert_eq!(approved["counted"], json!(["ann", "bob"]), "{approved}");
    kill(&deployment).await;
    assert_eq!(deployment.status()["in_force"], 2);
    ask(&deployment).await.unwrap();

    // While it takes effect: it did or it did not, and nothing is in between.
    let deployment = Arc::new(deployment);
    let activating = tokio::task::spawn_blocking({
        let (deployment, set) = (Arc::clone(&deployment), set.clone());
        move || deployment.policy("admin", &["activate", &set]).code
    });
    kill(&deployment).await;
    let _answer_or_not = activating.await.unwrap();
    let number = deployment.status()["in_force"].as_u64().unwrap();
    assert!([2, 3].contains(&number), "{number}");
    if number == 2 {
        deployment.policy("admin", &["activate", &set]).success();
    }
    assert_eq!(deployment.status()["in_force"], 3);
    kill(&deployment).await;
    assert_eq!(deployment.status()["in_force"], 3);
    assert_eq!(
        ask(&deployment).await.unwrap_err().code(),
        tonic::Code::PermissionDenied
    );
    let home = deployment.signer.home().to_str().unwrap();
    sealwright_tests::run(["log", "verify", "--home", home]).success();
}
