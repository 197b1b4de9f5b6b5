//! Bound tokens, judged by the API server or offline.

use sealwright_tests::Signer;
use serde_json::json;
use tonic::Code;

use crate::cluster::{Cluster, pause, shared};
use crate::signer::{ask, ask_with, home, issued, reviewing};
use crate::tokens::{forged, now};

async fn code(signer: &Signer, token: &str) -> Code {
    ask(signer, token)
        .await
        .map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_pod_gets_its_certificate() {
    let cluster = shared();
    cluster.namespace("shop", &["cart"]);
    cluster.node("node-shop");
    let uid = cluster.pod("shop", "cart-1", "cart", "node-shop");
    let token = cluster.bound("shop", "cart", "cart-1", &uid);
    let (_home, signer) = reviewing(cluster, "", "primary = true\naliases = [\"east\"]");
    for id in [&[][..], &["Kubernetes"], &["east"]] {
        ask_with(&signer, &token, id, None).await.unwrap();
    }
    for ids in [&["west"][..], &["Kubernetes", "Kubernetes"]] {
        let status = ask_with(&signer, &token, ids, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{ids:?}");
    }
    let entries = issued(&signer, "spiffe://cluster.local/ns/shop/sa/cart");
    assert_eq!(entries.len(), 3);
    let serial = entries[0]["serial"].as_str().unwrap();
    let home = signer.home().to_str().unwrap();
    let record = sealwright_tests::run(["log", "show", "--home", home, "--output", "json", serial]).success();
    for fact in ["cart-1", &uid, "node-shop", "Kubernetes"] {
        assert!(record.contains(fact), "{fact} in {record}");
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(!record.contains(signature) && !signer.log().contains(signature));

    // An unbound token is good too; what a policy makes of it is its own affair.
    let unbound = cluster.token("shop", "cart", "istio-ca", &[]);
    assert_eq!(code(&signer, &unbound).await, Code::Ok);
}

/// Signed with the cluster's own key, and most of them accepted by the API server.
#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn odd_tokens_are_refused() {
    let cluster = shared();
    cluster.namespace("odd", &["web", "other"]);
    let uid = cluster.pod("odd", "web-1", "web", "node-odd");
    let good = cluster.bound("odd", "web", "web-1", &uid);
    let (_home, signer) = reviewing(cluster, "cache_entries = 0", "primary = true");
    let forge = |changes| forged(cluster, &good, &changes);
    assert_eq!(
        code(&signer, &forge(json!({}))).await,
        Code::Ok,
        "the forge forges"
    );
    let long_ago = now() - 3600;
    let mut other_pod = cluster.claims(&good)["kubernetes.io"].clone();
    other_pod["pod"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    let mut elsewhere = cluster.claims(&good)["kubernetes.io"].clone();
    elsewhere["serviceaccount"]["name"] = "other".into();
    let rows = [
        ("other audience", cluster.token("odd", "web", "other", &[])),
        (
            "the API server's audience",
            cluster.kubectl(&["create", "token", "web", "-n", "odd"]),
        ),
        (
            "expired within the API server's leeway",
            forge(json!({"exp": now() - 30, "iat": long_ago, "nbf": long_ago})),
        ),
        (
            "expired",
            forge(json!({"exp": now() - 600, "iat": long_ago, "nbf": long_ago})),
        ),
        ("no exp", forge(json!({"exp": null}))),
        ("no sub", forge(json!({"sub": null}))),
        (
            "another sub",
            forge(json!({"sub": "system:serviceaccount:odd:other"})),
        ),
        (
            "another account in the claim",
            forge(json!({"kubernetes.io": elsewhere})),
        ),
        ("another pod", forge(json!({"kubernetes.io": other_pod}))),
        ("no claim of Kubernetes", forge(json!({"kubernetes.io": null}))),
        ("another issuer", forge(json!({"iss": "https://other.example"}))),
        ("altered", format!("{}AAAA", &good[..good.len() - 4])),
        ("a blank", " ".into()),
        ("a blank and a letter", " x".into()),
        ("two blanks and a good one", format!("  {good}")),
        ("a good one and more", format!("{good} x")),
    ];
    for (name, token) in rows {
        assert_eq!(code(&signer, &token).await, Code::Unauthenticated, "{name}");
    }
    assert_eq!(code(&signer, &good).await, Code::Ok);
}

/// The API server's own memory (10 s) and ours.
#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_deleted_pods_token_ends() {
    let cluster = shared();
    cluster.namespace("gone", &["web"]);
    let uid = cluster.pod("gone", "web-1", "web", "node-gone");
    let token = cluster.bound("gone", "web", "web-1", &uid);
    let (_home, signer) = reviewing(cluster, "cache_for = \"2s\"", "primary = true");
    assert_eq!(code(&signer, &token).await, Code::Ok);
    cluster.kubectl(&["delete", "pod", "web-1", "-n", "gone", "--force"]);
    let mut last = Code::Ok;
    for _ in 0..120 {
        last = code(&signer, &token).await;
        if last != Code::Ok {
            break;
        }
        pause().await;
    }
    assert_eq!(last, Code::Unauthenticated);
    // The same name, another pod.
    cluster.pod("gone", "web-1", "web", "node-gone");
    assert_eq!(code(&signer, &token).await, Code::Unauthenticated);
}

fn jwt(cluster: &Cluster, keys: &str) -> String {
    let ca = cluster.ca_file();
    format!(
        "[[authenticators]]\nname = \"offline\"\nkind = \"jwt\"\naudiences = [\"istio-ca\"]\n\
         algorithms = [\"RS256\"]\nca_file = {:?}\nbearer_token_file = \"kube/token\"\n{keys}\n",
        std::fs::canonicalize(ca).unwrap()
    )
}

async fn offline(cluster: &Cluster, namespace: &str, keys: &str) {
    cluster.namespace(namespace, &["web"]);
    let uid = cluster.pod(namespace, "web-1", "web", "node-offline");
    let token = cluster.bound(namespace, "web", "web-1", &uid);
    let home = home(&jwt(cluster, keys));
    let own = cluster.kubectl(&["create", "token", "signer", "-n", "sealwright"]);
    std::fs::write(home.file("kube/token"), own).unwrap();
    let signer = home.start();
    assert_eq!(code(&signer, &token).await, Code::Ok, "{}", signer.log());
    let entries = issued(&signer, &format!("spiffe://cluster.local/ns/{namespace}/sa/web"));
    assert_eq!(entries.len(), 1);
    for changes in [
        json!({"exp": now() - 1}),
        json!({"aud": ["other"]}),
        json!({"iss": "https://other.example"}),
    ] {
        assert_eq!(
            code(&signer, &forged(cluster, &token, &changes)).await,
            Code::Unauthenticated
        );
    }
    assert_eq!(
        code(&signer, &format!("{}AAAA", &token[..token.len() - 4])).await,
        Code::Unauthenticated
    );
    // What offline verification cannot see.
    cluster.kubectl(&["delete", "pod", "web-1", "-n", namespace, "--force"]);
    assert_eq!(code(&signer, &token).await, Code::Ok);
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_token_is_verified_offline_by_the_servers_keys() {
    let cluster = shared();
    let issuer = "issuer = \"https://kubernetes.default.svc.cluster.local\"";
    let keys = format!("{issuer}\njwks_url = \"{}/openid/v1/jwks\"", cluster.url());
    offline(cluster, "offline", &keys).await;
}

#[tokio::test]
#[ignore = "needs an API server: make test-kube"]
async fn a_token_is_verified_offline_by_discovery() {
    let cluster = Cluster::start("discovery", &[("KUBE_ISSUER", "self")]);
    let keys = format!("issuer = \"{}\"\ndiscovery = true", cluster.url());
    offline(&cluster, "discovered", &keys).await;
}
