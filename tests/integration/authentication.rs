//! Who is let in: istio.io's tables for tokens, and each way to cheat with one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sealwright_tests::{Client, Csr, client::request, shared};
use serde_json::{Value, json};
use tonic::{Code, Status};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

async fn ask(headers: &[(&'static str, &str)]) -> Result<Vec<String>, Status> {
    let client = Client::connect(shared()).await;
    client
        .create_with(headers, request(&Csr::ztunnel(WEB).pem, 3600))
        .await
}

fn now() -> i64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(elapsed.as_secs()).unwrap()
}

#[tokio::test]
async fn every_broken_token_is_refused_with_one_opaque_text() {
    let forge = shared().forge();
    let jwks: Value =
        serde_json::from_slice(&std::fs::read(shared().home().join("jwks.json")).unwrap()).unwrap();
    let public = URL_SAFE_NO_PAD
        .decode(jwks["keys"][0]["x"].as_str().unwrap())
        .unwrap();
    let good = shared().token("default", "web");
    let mut altered = good.clone().into_bytes();
    let last = altered.len() - 20;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    let table = [
        ("empty", String::new()),
        ("garbage", "garbage".to_owned()),
        ("altered", String::from_utf8(altered).unwrap()),
        ("cut", good[..good.len() - 10].to_owned()),
        (
            "expired",
            forge.with(json!({"exp": now() - 3600, "iat": now() - 7200, "nbf": now() - 7200})),
        ),
        ("not yet valid", forge.with(json!({"nbf": now() + 3600}))),
        ("wrong audience", forge.with(json!({"aud": ["other"]}))),
        ("no audience", forge.with(json!({"aud": null}))),
        ("wrong issuer", forge.with(json!({"iss": "https://other"}))),
        ("no issuer", forge.with(json!({"iss": null}))),
        ("no expiry", forge.with(json!({"exp": null}))),
        ("no subject", forge.with(json!({"sub": null}))),
        ("a person's subject", forge.with(json!({"sub": "alice"}))),
        (
            "a short subject",
            forge.with(json!({"sub": "system:serviceaccount:default"})),
        ),
        (
            "a long subject",
            forge.with(json!({"sub": "system:serviceaccount:a:b:c"})),
        ),
        (
            "a subject with a slash",
            forge.with(json!({"sub": "system:serviceaccount:a/b:c"})),
        ),
        ("alg none", forge.unsigned()),
        ("HS256 with the public key", forge.hmac_with_public_key(&public)),
        ("an unknown key id", forge.with_kid("nobody")),
    ];
    let mut texts = std::collections::BTreeSet::new();
    for (name, token) in table {
        let status = ask(&[("authorization", &format!("Bearer {token}"))])
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{name}: {status}");
        texts.insert(status.message().to_owned());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn the_header_is_read_as_istio_reads_it() {
    let token = shared().token("default", "web");
    let bearer = format!("Bearer {token}");
    assert_eq!(ask(&[]).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(
        ask(&[("authorization", "Basic x")]).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let lower = format!("bearer {token}");
    assert_eq!(
        ask(&[("authorization", &lower)]).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let two = [
        ("authorization", bearer.as_str()),
        ("authorization", bearer.as_str()),
    ];
    assert_eq!(ask(&two).await.unwrap_err().code(), Code::Unauthenticated);
    let basic_first = [("authorization", "Basic x"), ("authorization", bearer.as_str())];
    assert!(ask(&basic_first).await.is_ok());
    assert!(
        ask(&[
            ("authorization", &bearer),
            ("clusterid", "Kubernetes"),
            ("x-odd", "y")
        ])
        .await
        .is_ok()
    );
}

#[tokio::test]
async fn one_audience_of_several_is_enough() {
    let token = shared().forge().with(json!({"aud": ["other", "istio-ca"]}));
    assert!(
        ask(&[("authorization", &format!("Bearer {token}"))])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_identity_is_the_tokens_not_the_requests() {
    let client = Client::connect(shared()).await;
    let token = shared().token("prod", "db");
    let chain = client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await.unwrap();
    let rows = shared().log_list(&["--identity", "spiffe://cluster.local/ns/prod/sa/db"]);
    assert_eq!(
        rows.last().unwrap()["identities"],
        json!(["spiffe://cluster.local/ns/prod/sa/db"])
    );
    assert!(!chain.is_empty());
}
