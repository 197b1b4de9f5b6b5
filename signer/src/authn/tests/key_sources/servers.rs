//! Servers: how they are asked, and what of their answers is believed.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::{KEYS, from_url, judge, of_key, one_key, token};
use crate::authn::tests::support::server::{Answer, TestServer};
use crate::authn::tests::support::tokens::{RSA, claims, header, key_set, with};
use crate::authn::tests::support::{Fixture, seconds};

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn from_discovery(issuer: &str, options: &str) -> Fixture {
    let toml = format!(
        "[[authenticators]]\nname = \"remote\"\nkind = \"jwt\"\nissuer = {issuer:?}\n\
         audiences = [\"istio-ca\"]\ndiscovery = true\nallow_http_loopback = true\n{options}"
    );
    Fixture::new(&toml, &[])
}

#[tokio::test]
async fn answers_that_are_no_key_sets_change_nothing() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    other.set(KEYS, Answer::Ok(key_set(&[RSA.jwk("second")])));
    let fixture = from_url(&server.url(KEYS), "");
    server.set(KEYS, one_key());
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    let by_name = format!("http://localhost:{}/keys", server.port());
    let loop_back = server.url(KEYS);
    let answers = [
        Answer::Ok("garbage".to_owned()),
        Answer::Ok(String::new()),
        Answer::Ok("{\"keys\":[]}".to_owned()),
        Answer::Ok("{\"keys\":{}}".to_owned()),
        Answer::Ok(key_set(&vec![RSA.jwk("second"); 257])),
        Answer::Endless(10 << 20),
        // Good in all but its size.
        Answer::Ok(key_set(&[RSA.jwk("second")]) + &" ".repeat(1 << 20)),
        Answer::Status(204),
        Answer::Status(404),
        Answer::Redirect(other.url(KEYS)),
        Answer::Redirect(by_name),
        Answer::Redirect("https://127.0.0.1:1/keys".to_owned()),
        Answer::Redirect(loop_back),
    ];
    let mut hits = 1;
    for answer in answers {
        server.set(KEYS, answer.clone());
        fixture.clock.advance(seconds(10));
        let refused = fixture.by_token(&of_key("second")).await.unwrap_err();
        assert_eq!(refused.failures()[0].1.code(), "token_key_unknown");
        assert!(server.hits(KEYS) > hits, "{answer:?}");
        hits = server.hits(KEYS);
        assert_eq!(judge(&fixture, &token()).await, "accepted", "{answer:?}");
    }
    assert_eq!(other.hits(KEYS), 0);
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let server = TestServer::start().await;
    server.set(KEYS, Answer::Redirect("/moved".to_owned()));
    server.set("/moved", one_key());
    let fixture = from_url(&server.url(KEYS), "");
    assert_eq!(judge(&fixture, &token()).await, "accepted");
}

#[tokio::test]
async fn discovery_finds_the_keys_of_its_own_issuer_only() {
    let server = TestServer::start().await;
    let path = format!("/realm{DISCOVERY}");
    let issuer = server.url("/realm");
    let document = |issuer: &str, keys: &str| {
        Answer::Ok(json!({"issuer": issuer, "jwks_uri": keys, "more": 1}).to_string())
    };
    let token = RSA.sign(&header(), &with(claims(), json!({ "iss": issuer })));
    server.set(KEYS, one_key());
    let rows = [
        (document(&issuer, &server.url(KEYS)), None),
        (document(&format!("{issuer}/"), &server.url(KEYS)), Some("not of")),
        (
            document("https://evil.example", &server.url(KEYS)),
            Some("not of"),
        ),
        (document(&issuer, "http://keys.example/keys"), Some("not https")),
        (document(&issuer, "file:///etc/passwd"), Some("not https")),
        (document(&issuer, "keys"), Some("not https")),
        (
            Answer::Ok("garbage".to_owned()),
            Some("not an OpenID Connect discovery document"),
        ),
        (Answer::Status(404), Some("404")),
    ];
    for (answer, expected) in rows {
        server.set(&path, answer);
        let fixture = from_discovery(&issuer, "");
        match (fixture.by_token(&token).await, expected) {
            (Ok(_), None) => {}
            (Err(failure), Some(text)) => {
                let reasons = failure.reasons();
                assert!(failure.is_unavailable() && reasons.contains(text), "{reasons}");
            }
            (result, _) => panic!("{result:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn the_servers_token_goes_to_the_configured_host_only() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "for-the-api-server\n").unwrap();
    let options = format!("bearer_token_file = {file:?}");
    let issuer = server.url("");
    let document = json!({"issuer": issuer, "jwks_uri": other.url(KEYS)});
    server.set(DISCOVERY, Answer::Ok(document.to_string()));
    other.set(KEYS, one_key());
    let fixture = from_discovery(&issuer, &options);
    let token = RSA.sign(&header(), &with(claims(), json!({ "iss": issuer })));
    assert_eq!(judge(&fixture, &token).await, "accepted");
    let sent = Some("Bearer for-the-api-server".to_owned());
    assert_eq!(server.authorizations(DISCOVERY), [sent]);
    assert_eq!(other.authorizations(KEYS), [None]);
    assert!(!format!("{:?}", fixture.authenticators).contains("for-the-api-server"));
}

#[tokio::test]
async fn https_is_verified_with_the_ca_file() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = TestServer::start_tls(TlsAcceptor::from(Arc::new(config))).await;
    server.set(KEYS, one_key());
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, made.cert.pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&wrong, other.cert.pem()).unwrap();
    let good = from_url(&server.url(KEYS), &format!("ca_file = {right:?}"));
    assert_eq!(judge(&good, &token()).await, "accepted");
    let bad = from_url(&server.url(KEYS), &format!("ca_file = {wrong:?}"));
    assert_eq!(judge(&bad, &token()).await, "token_keys_unavailable");
}
