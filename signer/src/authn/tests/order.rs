//! Several authenticators: the order, the first success, every failure.

use http::HeaderMap;

use super::support::pki::{TestCa, TestLeaf};
use super::support::tokens::{ISSUER, RSA, claims, header, key_set};
use super::support::{Fixture, authorization, plaintext_peer, tls_peer};
use crate::authn::AuthSource;

const MTLS: &str = "[[authenticators]]\nname = \"mtls\"\nkind = \"client-certificate\"\n";

fn jwt(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(&[RSA.jwk("first")])).unwrap();
    format!(
        "[[authenticators]]\nname = \"kubernetes\"\nkind = \"jwt\"\nissuer = {ISSUER:?}\n\
         audiences = [\"istio-ca\"]\njwks_file = {path:?}\n"
    )
}

#[tokio::test]
async fn the_first_that_vouches_wins() {
    let folder = tempfile::tempdir().unwrap();
    let root = TestCa::root("root");
    let chain = [root.issue(TestLeaf::new(&["spiffe://cluster.local/ns/a/sa/by-certificate"]))];
    let token = authorization(&[&format!("Bearer {}", RSA.sign(&header(), &claims()))]);
    let roots = std::slice::from_ref(&root.der);
    let mtls_first = Fixture::new(&format!("{MTLS}{}", jwt(&folder)), roots);
    let jwt_first = Fixture::new(&format!("{}{MTLS}", jwt(&folder)), roots);
    for (fixture, source) in [
        (&mtls_first, AuthSource::ClientCertificate),
        (&jwt_first, AuthSource::Jwt),
    ] {
        let both = fixture
            .authenticators
            .authenticate(&token, &tls_peer(&chain))
            .await;
        assert_eq!(both.unwrap().source(), source);
        let only_token = fixture.authenticators.authenticate(&token, &tls_peer(&[])).await;
        assert_eq!(only_token.unwrap().source(), AuthSource::Jwt);
        let only_chain = fixture.by_chain(&chain).await;
        assert_eq!(only_chain.unwrap().source(), AuthSource::ClientCertificate);
    }
    assert_eq!(
        mtls_first.authenticators.names().collect::<Vec<_>>(),
        ["mtls", "kubernetes"]
    );
}

#[tokio::test]
async fn every_failure_is_kept_and_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(&format!("{MTLS}{}", jwt(&folder)), &[]);
    let failure = fixture
        .authenticators
        .authenticate(&authorization(&["Bearer a.b.c"]), &plaintext_peer())
        .await
        .unwrap_err();
    assert_eq!(failure.to_string(), "request authentication failed");
    assert_eq!(failure.failures().len(), 2);
    assert_eq!(failure.peer(), plaintext_peer().addr);
    assert!(!failure.is_unavailable());
    let reasons = failure.reasons();
    let expected = "mtls: client certificate not accepted: the connection is not TLS; \
                    kubernetes: token not accepted: the bearer token is not a usable JWT: ";
    assert!(reasons.starts_with(expected), "{reasons}");
}

#[tokio::test]
async fn nobody_is_known_without_authenticators() {
    let fixture = Fixture::new("authenticators = []", &[]);
    let failure = fixture
        .authenticators
        .authenticate(&HeaderMap::new(), &plaintext_peer())
        .await
        .unwrap_err();
    assert_eq!(failure.reasons(), "no authenticator is configured");
}

#[tokio::test]
async fn a_log_line_cannot_be_forged() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(&jwt(&folder), &[]);
    let issuer = format!("x\n2026 INFO all is well\u{1b}[2J{}", "y".repeat(5000));
    let mut claims = claims();
    claims["iss"] = issuer.into();
    let failure = fixture.by_token(&RSA.sign(&header(), &claims)).await.unwrap_err();
    let reasons = failure.reasons();
    assert!(
        !reasons.contains('\n') && !reasons.contains('\u{1b}'),
        "{reasons}"
    );
    assert!(reasons.len() < 400, "{reasons}");
}
