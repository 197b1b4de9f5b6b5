//! A shadow that burns all the fuel it has, at each request: those whom it shadows are all served. How much longer they
//! wait is printed and not asserted: it is a matter of processors.

use std::time::Duration;

use sealwright_tests::{Client, Csr};
use serde_json::json;
use tokio::time::Instant;

use super::{compared, people::Deployment};
use crate::policy::HOSTILE;

/// Of a namespace that nobody thinks of at admission.
const QUIET: &str = "spiffe://cluster.local/ns/quiet/sa/web";
/// Requests of each caller in each part.
const REQUESTS: usize = 150;

/// The times of two callers; every request is served.
async fn callers(deployment: &Deployment) -> Vec<Duration> {
    let token = deployment.signer.token("quiet", "web");
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let client = Client::connect(&deployment.signer).await;
        let token = token.clone();
        tasks.push(tokio::spawn(async move {
            let csr = Csr::ztunnel(QUIET).pem;
            let mut times = Vec::new();
            for _ in 0..REQUESTS {
                let since = Instant::now();
                client.create(&token, &csr, 3600).await.unwrap();
                times.push(since.elapsed());
                // Below what the machine can do, so that it is not their own load that they wait for.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_loops_holds_up_nobody() {
    let deployment = Deployment::new().await;
    callers(&deployment).await;
    let without = callers(&deployment).await;
    let settings = json!({"decide": "loop-on-quiet"});
    let shadow = deployment.push_module(HOSTILE.as_ref(), "shadowy", settings, None);
    deployment.propose(&["--shadow", &shadow.revision]);
    deployment.policy("admin", &["activate"]).success();
    let with = callers(&deployment).await;

    let (_, page) = deployment.signer.http("/metrics").await;
    let counted = page.lines().any(|line| {
        line.starts_with(r#"sealwright_policy_shadows_total{policy="shadowy""#) && !line.ends_with(" 0")
    });
    assert!(counted, "{page}");
    compared("shadow", "without", without, "with", with);
}
