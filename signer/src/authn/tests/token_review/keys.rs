//! Tokens that a cluster's published keys refute are not asked about.

use super::{Cluster, Reply, token, yes};
use crate::authn::tests::support::tokens::{RSA, TestKey, claims, header, key_set};
use crate::authn::tests::support::{code, seconds};

fn altered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{first}{}", &signature[1..])
}

fn with_header(header: serde_json::Value) -> String {
    RSA.sign(&header, &claims())
}

#[tokio::test]
async fn what_the_keys_refute_is_not_asked_about() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    cluster.server.publish(Some(key_set(&[RSA.jwk("first")])));
    let stranger = TestKey::p256();
    let rows = [
        (altered(&token()), "token_signature"),
        (
            with_header(serde_json::json!({"alg": "RS256", "kid": "second"})),
            "token_key_unknown",
        ),
        (
            with_header(serde_json::json!({"alg": "HS256", "kid": "first"})),
            "token_algorithm",
        ),
        (
            with_header(serde_json::json!({"alg": "none", "kid": "first"})),
            "token_algorithm",
        ),
        (
            stranger.sign(&serde_json::json!({"alg": "ES256", "kid": "first"}), &claims()),
            "token_key_unknown",
        ),
    ];
    for (token, expected) in rows {
        assert_eq!(code(cluster.ask(&token).await), expected);
    }
    assert_eq!(cluster.server.asked(), 0);
    // A good signature is only the beginning.
    cluster.server.set(Reply::Status(
        serde_json::json!({"error": "service account token has been invalidated"}),
    ));
    assert_eq!(code(cluster.ask(&token()).await), "token_refused");
    assert_eq!(cluster.server.asked(), 1);
}

#[tokio::test]
async fn a_rotated_key_is_found() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    cluster
        .server
        .publish(Some(key_set(&[TestKey::p256().jwk("old")])));
    assert_eq!(code(cluster.ask(&token()).await), "token_key_unknown");
    cluster.server.publish(Some(key_set(&[RSA.jwk("first")])));
    cluster.fixture.clock.advance(seconds(10));
    assert_eq!(code(cluster.ask(&token()).await), "accepted");
}

#[tokio::test]
async fn without_keys_or_when_switched_off_the_server_is_asked() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    assert_eq!(
        code(cluster.ask(&altered(&token())).await),
        "accepted",
        "403 for the keys"
    );
    cluster.server.publish(Some("garbage".into()));
    cluster.fixture.clock.advance(seconds(10));
    assert_eq!(code(cluster.ask(&token()).await), "accepted");
    assert_eq!(cluster.server.asked(), 2);

    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("kubeconfig");
    cluster.server.kubeconfig(&path, super::OURS);
    cluster.server.publish(Some(key_set(&[RSA.jwk("second")])));
    let toml = super::section("", &[("east", &path, "primary = true\ncheck_signatures = false")]);
    let fixture = crate::authn::tests::support::Fixture::new(&toml, &[]);
    assert_eq!(
        code(fixture.by_token(&RSA.sign(&header(), &claims())).await),
        "accepted"
    );
}
