//! Tokens: Istio's OIDC cases (`oidc_test.go`) and the ways to cheat.

use std::sync::Arc;

use sealwright_identity::TrustBundle;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::watch;

use super::support::tokens::{ISSUER, RSA, claims, header, key_set};
use super::support::{Fixture, authorization, clock, code, seconds, sections, tls_peer, trust};
use crate::authn::{AuthSource, Authenticators};

mod claims;
mod forgeries;
mod headers;
mod subjects;

/// Authenticators of one issuer that has the key `first` and what else is given.
struct Issuer {
    fixture: Fixture,
    _folder: tempfile::TempDir,
}

impl Issuer {
    fn new(more: &[Value]) -> Self {
        Self::with_options(more, "")
    }

    fn with_options(more: &[Value], options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let mut keys = vec![RSA.jwk("first")];
        keys.extend_from_slice(more);
        std::fs::write(&path, key_set(&keys)).unwrap();
        let toml = format!(
            "[[authenticators]]\nname = \"kubernetes\"\nkind = \"jwt\"\nissuer = {ISSUER:?}\n\
             audiences = [\"istio-ca\", \"sealwright\"]\njwks_file = {path:?}\n{options}"
        );
        Self {
            fixture: Fixture::new(&toml, &[]),
            _folder: folder,
        }
    }

    async fn judge(&self, token: &str) -> &'static str {
        code(self.fixture.by_token(token).await)
    }
}

#[tokio::test]
async fn a_bound_token_makes_a_caller() {
    let options = "[authenticators.attributes]\ncluster = \"east\"\nzone = \"a\"\n";
    let issuer = Issuer::with_options(&[], options);
    let (header, claims) = (header(), claims());
    let token = RSA.sign(&header, &claims);
    let caller = issuer.fixture.by_token(&token).await.unwrap();
    assert_eq!(caller.source(), AuthSource::Jwt);
    assert_eq!(caller.authenticator(), "kubernetes");
    assert_eq!(caller.identities().len(), 1);
    assert_eq!(
        caller.identities()[0].to_string(),
        "spiffe://cluster.local/ns/shop/sa/cart"
    );
    assert_eq!(caller.cluster(), Some("east"));
    assert_eq!(caller.attributes()["zone"], "a");
    let facts = caller.kubernetes().unwrap();
    assert_eq!((&*facts.namespace, &*facts.service_account), ("shop", "cart"));
    assert_eq!(facts.pod.as_ref().unwrap().name, "cart-1");
    assert!(
        facts
            .pod
            .as_ref()
            .unwrap()
            .uid
            .as_ref()
            .unwrap()
            .starts_with("94a45f22")
    );
    assert_eq!(facts.node.as_ref().unwrap().name, "node-1");
    assert!(
        facts
            .service_account_uid
            .as_ref()
            .unwrap()
            .starts_with("22b4b4f6")
    );
    let evidence = caller.token().unwrap();
    assert_eq!(evidence.header_json, header.to_string());
    assert_eq!(evidence.claims_json, claims.to_string());
    assert!(caller.client_chain().is_empty());
}

#[tokio::test]
async fn a_token_that_comes_again_is_judged_again_by_the_clock() {
    for options in ["", "cache_entries = 0\n"] {
        let issuer = Issuer::with_options(&[], options);
        let token = RSA.sign(&header(), &claims());
        let first = issuer.fixture.by_token(&token).await.unwrap();
        let second = issuer.fixture.by_token(&token).await.unwrap();
        assert_eq!(first.identities(), second.identities());
        assert_eq!(first.token(), second.token());
        assert_eq!(first.kubernetes(), second.kubernetes());
        issuer.fixture.clock.advance(seconds(3599));
        assert_eq!(issuer.judge(&token).await, "accepted");
        issuer.fixture.clock.advance(seconds(1));
        assert_eq!(issuer.judge(&token).await, "token_expired");
        assert_eq!(issuer.judge(&token).await, "token_expired");
    }
}

#[tokio::test]
async fn the_token_shows_nowhere() {
    let issuer = Issuer::new(&[]);
    let token = RSA.sign(&header(), &claims());
    let signature = token.rsplit('.').next().unwrap();
    let caller = issuer.fixture.by_token(&token).await.unwrap();
    let shown = format!("{caller:?}");
    assert!(
        !shown.contains(signature) && !shown.contains("b54c4f40"),
        "{shown}"
    );
    let bad = format!("{token}AAAA");
    let failure = issuer.fixture.by_token(&bad).await.unwrap_err();
    let shown = format!("{failure:?} {failure} {}", failure.reasons());
    assert!(!shown.contains(signature), "{shown}");
}

#[tokio::test]
async fn the_token_is_handed_over_only_where_the_gate_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(&[RSA.jwk("first")])).unwrap();
    let mut configs = sections(&format!(
        "[[authenticators]]\nname = \"kubernetes\"\nkind = \"jwt\"\nissuer = {ISSUER:?}\n\
         audiences = [\"istio-ca\"]\njwks_file = {path:?}\n"
    ));
    let token = RSA.sign(&header(), &claims());
    let headers = authorization(&[&format!("Bearer {token}")]);
    for wanted in [false, true] {
        configs[0].hands_over = wanted;
        let (_sender, bundle) = watch::channel(TrustBundle::from_ders(1, []));
        let authenticators = Authenticators::build(&configs, trust(), bundle, Arc::new(clock())).unwrap();
        for _ in 0..2 {
            let caller = authenticators
                .authenticate(&headers, &tls_peer(&[]))
                .await
                .unwrap();
            let credential = caller.credential().map(ExposeSecret::expose_secret);
            assert_eq!(credential, wanted.then_some(token.as_str()));
            assert!(!format!("{caller:?}").contains(token.rsplit('.').next().unwrap()));
        }
    }
}

#[tokio::test]
async fn one_bearer_and_any_number_of_others() {
    let issuer = Issuer::new(&[]);
    let bearer = format!("Bearer {}", RSA.sign(&header(), &claims()));
    let lower = bearer.replace("Bearer", "bearer");
    let two_spaces = bearer.replace("Bearer ", "Bearer  ");
    let joined = format!("{bearer}, {bearer}");
    let rows: [(&[&str], &str); 9] = [
        (&[&bearer], "accepted"),
        (&["Basic dXNlcjpwYXNz", &bearer], "accepted"),
        (&[&bearer, "Basic dXNlcjpwYXNz"], "accepted"),
        (&[&bearer, &bearer], "token_ambiguous"),
        (&["Basic dXNlcjpwYXNz"], "token_missing"),
        (&[&lower], "token_missing"),
        (&[], "token_missing"),
        (&[&two_spaces], "token_malformed"),
        (&[&joined], "token_malformed"),
    ];
    for (values, expected) in rows {
        let headers = authorization(values);
        let result = issuer
            .fixture
            .authenticators
            .authenticate(&headers, &tls_peer(&[]))
            .await;
        assert_eq!(code(result), expected);
    }
}
