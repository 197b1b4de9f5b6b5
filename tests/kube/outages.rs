//! The API server hangs, dies, comes back, or does not let the signer ask.

use rustix::process::Signal;
use sealwright_tests::Signer;
use tonic::Code;

use crate::cluster::{Cluster, pause, shared};
use crate::signer::{ask, home, review, reviewing};

async fn code(signer: &Signer, token: &str) -> Code {
    ask(signer, token)
        .await
        .map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn recovers(signer: &Signer, token: &str) {
    for _ in 0..240 {
        match code(signer, token).await {
            Code::Ok => return,
            Code::Unavailable => pause().await,
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not recover: {}", signer.log());
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_server_that_hangs_or_dies_is_waited_for() {
    let cluster = Cluster::start("outage", &[]);
    cluster.namespace("shop", &["web"]);
    let uid = cluster.pod("shop", "web-1", "web", "node-1");
    let [known, new] = [(); 2].map(|()| cluster.bound("shop", "web", "web-1", &uid));
    let (_home, signer) = reviewing(
        &cluster,
        "deadline = \"2s\"\ncache_for = \"5m\"",
        "primary = true",
    );
    assert_eq!(code(&signer, &known).await, Code::Ok);

    cluster.signal(Signal::STOP);
    assert_eq!(code(&signer, &new).await, Code::Unavailable);
    assert_eq!(
        code(&signer, &known).await,
        Code::Ok,
        "what is known is known for its time"
    );
    cluster.signal(Signal::CONT);
    recovers(&signer, &new).await;

    let another = cluster.bound("shop", "web", "web-1", &uid);
    cluster.restart(|| ());
    recovers(&signer, &another).await;
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn without_rights_nobody_is_judged_and_a_new_kubeconfig_is_read() {
    let cluster = shared();
    cluster.namespace("rights", &["web", "powerless"]);
    let uid = cluster.pod("rights", "web-1", "web", "node-1");
    let token = cluster.bound("rights", "web", "web-1", &uid);
    let home = home(&review("", "primary = true"));
    cluster.kubeconfig_of("rights", "powerless", &home.file("kube/config"));
    let signer = home.start();
    assert_eq!(code(&signer, &token).await, Code::Unavailable);
    assert!(
        signer
            .log()
            .contains("does not let this signer create TokenReviews"),
        "{}",
        signer.log()
    );
    cluster.signer_kubeconfig(&home.file("kube/config"));
    recovers(&signer, &token).await;
}
