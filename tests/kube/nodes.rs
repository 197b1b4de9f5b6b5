//! Node proxies that act for the pods of their node, as ztunnel does.

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use sealwright_proto::istio::IstioCertificateRequest;
use sealwright_tests::{Csr, Signer, client::request};
use tonic::{Code, Status};

use crate::cluster::{Cluster, pause, shared};
use crate::signer::{Answer, ask_with, issued, reviewing};

const REFUSED: &str = "the request to act for another identity was refused";

fn for_another(identity: &str) -> IstioCertificateRequest {
    let value = Value {
        kind: Some(Kind::StringValue(identity.to_owned())),
    };
    IstioCertificateRequest {
        metadata: Some(Struct {
            fields: [("ImpersonatedIdentity".to_owned(), value)].into(),
        }),
        ..request(&Csr::ztunnel(identity).pem, 3600)
    }
}

async fn act(signer: &Signer, token: &str, identity: &str) -> Answer {
    ask_with(signer, token, &[], Some(for_another(identity))).await
}

fn assert_refused(outcome: Answer, what: &str) {
    let status: Status = outcome.expect_err(what);
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, REFUSED),
        "{what}"
    );
}

/// A proxy and a workload on each of two nodes; the proxies' tokens.
fn two_nodes(cluster: &Cluster, namespace: &str) -> [String; 2] {
    cluster.namespace(namespace, &["ztunnel", "web", "db"]);
    let pods = [("one", "web"), ("two", "db")];
    pods.map(|(node, workload)| {
        let node = format!("{namespace}-{node}");
        cluster.pod(namespace, workload, workload, &node);
        let proxy = format!("ztunnel-{workload}");
        let uid = cluster.pod(namespace, &proxy, "ztunnel", &node);
        cluster.bound(namespace, "ztunnel", &proxy, &uid)
    })
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_trusted_proxy_acts_for_the_pods_of_its_node() {
    let cluster = shared();
    let [one, two] = two_nodes(cluster, "mesh");
    let trust = "primary = true\ntrusted_node_accounts = [\"mesh/ztunnel\"]";
    let (_home, signer) = reviewing(cluster, "", trust);
    let id = |account: &str| format!("spiffe://cluster.local/ns/mesh/sa/{account}");

    let chain = act(&signer, &one, &id("web")).await.unwrap();
    assert!(chain.len() >= 2);
    let entries = issued(&signer, &id("web"));
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["identities"], serde_json::json!([id("web")]));
    let home = signer.home().to_str().unwrap();
    let serial = entries[0]["serial"].as_str().unwrap();
    let record = sealwright_tests::run(["log", "show", "--home", home, "--output", "json", serial]).success();
    for fact in ["impersonator", &id("ztunnel"), "ztunnel-web"] {
        assert!(record.contains(fact), "{fact} in {record}");
    }
    act(&signer, &two, &id("db")).await.unwrap();
    // Its own certificate is nothing special.
    ask_with(&signer, &one, &[], None).await.unwrap();
    assert_eq!(issued(&signer, &id("ztunnel")).len(), 1);

    assert_refused(act(&signer, &one, &id("db")).await, "another node");
    assert_refused(act(&signer, &two, &id("web")).await, "another node");
    assert_refused(act(&signer, &one, &id("nobody")).await, "no such pod");
    assert_refused(
        act(&signer, &one, "spiffe://other.example/ns/mesh/sa/web").await,
        "another trust domain",
    );
    assert_refused(act(&signer, &one, "web").await, "no identity");

    let web = cluster.kubectl(&[
        "get",
        "pod",
        "web",
        "-n",
        "mesh",
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    let workload = cluster.bound("mesh", "web", "web", &web);
    assert_refused(act(&signer, &workload, &id("web")).await, "not a trusted account");
    let unbound = cluster.token("mesh", "ztunnel", "istio-ca", &[]);
    assert_refused(act(&signer, &unbound, &id("web")).await, "bound to no pod");

    // The pod moves, so to say.
    cluster.kubectl(&["delete", "pod", "web", "-n", "mesh", "--force"]);
    let mut last = act(&signer, &one, &id("web")).await;
    for _ in 0..40 {
        if last.is_err() {
            break;
        }
        pause().await;
        last = act(&signer, &one, &id("web")).await;
    }
    assert_refused(last, "the pod is gone");
    cluster.pod("mesh", "web", "web", "mesh-two");
    let mut last = act(&signer, &two, &id("web")).await;
    for _ in 0..40 {
        if last.is_ok() {
            break;
        }
        pause().await;
        last = act(&signer, &two, &id("web")).await;
    }
    last.unwrap();
    assert_refused(act(&signer, &one, &id("web")).await, "it runs elsewhere");
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_watch_that_broke_is_begun_anew() {
    let cluster = Cluster::start("watch", &[]);
    let [one, _two] = two_nodes(&cluster, "mesh");
    let trust = "primary = true\ntrusted_node_accounts = [\"mesh/ztunnel\"]";
    let (_home, signer) = reviewing(&cluster, "cache_for = \"5m\"", trust);
    let id = |account: &str| format!("spiffe://cluster.local/ns/mesh/sa/{account}");
    act(&signer, &one, &id("web")).await.unwrap();
    // What was known serves on for a while: the caller's token and the pods.
    cluster.restart(|| ());
    act(&signer, &one, &id("web")).await.unwrap();
    cluster.wait();
    cluster.pod("mesh", "db-2", "db", "mesh-one");
    let mut last = act(&signer, &one, &id("db")).await;
    for _ in 0..120 {
        if last.is_ok() {
            break;
        }
        pause().await;
        last = act(&signer, &one, &id("db")).await;
    }
    last.unwrap();
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn nobody_is_trusted_unless_configured() {
    let cluster = shared();
    let [one, _two] = two_nodes(cluster, "plain");
    let (_home, signer) = reviewing(cluster, "", "primary = true");
    let web = "spiffe://cluster.local/ns/plain/sa/web";
    assert_refused(act(&signer, &one, web).await, "nobody is trusted");
    assert!(issued(&signer, web).is_empty());
}
