//! Client certificates: Istio's five cases (`cert_authenticator_test.go`) and the ways to cheat.

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

use super::support::pki::{HOUR, TestCa, TestLeaf};
use super::support::{Fixture, NOW, code, plaintext_peer, tls_peer};
use crate::authn::AuthSource;

mod time;

const SECTION: &str = "[[authenticators]]\nname = \"mtls\"\nkind = \"client-certificate\"\n";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// A root, an intermediate, and authenticators that trust the root.
struct Pki {
    root: TestCa,
    issuing: TestCa,
    fixture: Fixture,
}

impl Pki {
    fn new() -> Self {
        let root = TestCa::root("root");
        let issuing = root.intermediate("issuing", NOW + 500 * HOUR);
        let fixture = Fixture::new(SECTION, std::slice::from_ref(&root.der));
        Self {
            root,
            issuing,
            fixture,
        }
    }

    fn chain(&self, leaf: TestLeaf) -> Vec<Vec<u8>> {
        vec![self.issuing.issue(leaf), self.issuing.der.clone()]
    }
}

#[tokio::test]
async fn istio_cases() {
    let pki = Pki::new();
    let headers = http::HeaderMap::new();
    let authenticators = &pki.fixture.authenticators;
    // "Not TLS" and "no auth info" are one case here.
    let plaintext = authenticators.authenticate(&headers, &plaintext_peer()).await;
    let reason = plaintext.as_ref().unwrap_err().reasons();
    assert_eq!(
        reason,
        "mtls: client certificate not accepted: the connection is not TLS"
    );
    assert_eq!(code(plaintext), "client_certificate_no_tls");
    // "No verified chain" and "no certificate" are one case here.
    let empty = authenticators.authenticate(&headers, &tls_peer(&[])).await;
    assert_eq!(code(empty), "client_certificate_missing");
    let nameless = pki.fixture.by_chain(&pki.chain(TestLeaf::new(&[]))).await;
    let reason = nameless.as_ref().unwrap_err().reasons();
    assert!(reason.ends_with("client certificate has 0 URI names, it must have exactly one"));
    assert_eq!(code(nameless), "client_certificate_identity");

    let chain = pki.chain(TestLeaf::new(&[CART]));
    let caller = pki.fixture.by_chain(&chain).await.unwrap();
    assert_eq!(caller.source(), AuthSource::ClientCertificate);
    assert_eq!(caller.authenticator(), "mtls");
    assert_eq!(caller.identities().len(), 1);
    assert_eq!(caller.identities()[0].to_string(), CART);
    assert_eq!(caller.client_chain(), chain);
    assert_eq!(caller.peer(), plaintext_peer().addr);
    assert!(caller.presented().is_none());
    assert!(caller.kubernetes().is_none());
    assert!(caller.token().is_none());
}

#[tokio::test]
async fn names_that_are_and_are_not_one_identity() {
    let pki = Pki::new();
    let two = "spiffe://cluster.local/ns/shop/sa/pay";
    let comma = format!("{CART},{two}");
    let rows: &[(&[&str], &str)] = &[
        (&[CART], "accepted"),
        (&["spiffe://old.example/ns/shop/sa/cart"], "accepted"),
        (&["spiffe://cluster.local/agent/a"], "accepted"),
        (&[CART, two], "client_certificate_identity"),
        (&[CART, CART], "client_certificate_identity"),
        (&[CART, "https://shop.example"], "client_certificate_identity"),
        (
            &["spiffe://foreign.example/ns/shop/sa/cart"],
            "client_certificate_identity",
        ),
        (&["spiffe://cluster.local"], "client_certificate_identity"),
        (
            &["spiffe://cluster.local.evil/ns/a/sa/b"],
            "client_certificate_identity",
        ),
        (
            &["https://cluster.local/ns/a/sa/b"],
            "client_certificate_identity",
        ),
        (
            &["spiffe://cluster.local/ns/a/sa/b,c"],
            "client_certificate_identity",
        ),
        (&[&comma], "client_certificate_identity"),
    ];
    for (uris, expected) in rows {
        let result = pki.fixture.by_chain(&pki.chain(TestLeaf::new(uris))).await;
        assert_eq!(code(result), *expected, "{uris:?}");
    }
    let comma = pki.fixture.by_chain(&pki.chain(TestLeaf::new(&[&comma]))).await;
    // One name, quoted whole: never split in two.
    assert!(comma.unwrap_err().reasons().contains("cart,spiffe://"));
}

#[tokio::test]
async fn an_alias_is_granted_as_the_primary_domain() {
    let pki = Pki::new();
    let old = "spiffe://old.example/ns/shop/sa/cart";
    let caller = pki
        .fixture
        .by_chain(&pki.chain(TestLeaf::new(&[old])))
        .await
        .unwrap();
    assert_eq!(caller.identities()[0].to_string(), CART);
    assert_eq!(caller.presented().unwrap().to_string(), old);
}

#[tokio::test]
async fn other_names_are_no_identities() {
    let pki = Pki::new();
    let leaf = TestLeaf::new(&[CART]).dns("kubernetes.default.svc");
    let caller = pki.fixture.by_chain(&pki.chain(leaf)).await.unwrap();
    assert_eq!(caller.identities().len(), 1);
}

#[tokio::test]
async fn chains_that_do_not_verify() {
    let pki = Pki::new();
    let other = TestCa::root("root");
    let stranger = other.intermediate("issuing", NOW + HOUR);
    let leaf = || TestLeaf::new(&[CART]);
    let dead = pki.root.intermediate("dead", NOW - 60);
    let as_ca = pki.issuing.issue(leaf());
    let rows: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("by the root itself", vec![pki.root.issue(leaf())], "accepted"),
        (
            "intermediate left out",
            vec![pki.issuing.issue(leaf())],
            "client_certificate_untrusted",
        ),
        (
            "another CA of the same names",
            vec![stranger.issue(leaf()), stranger.der.clone()],
            "client_certificate_untrusted",
        ),
        (
            "another CA, its root sent along",
            vec![stranger.issue(leaf()), stranger.der.clone(), other.der.clone()],
            "client_certificate_untrusted",
        ),
        (
            "expired",
            pki.chain(leaf().valid(NOW - HOUR, NOW - 1)),
            "client_certificate_untrusted",
        ),
        (
            "not yet valid",
            pki.chain(leaf().valid(NOW + 1, NOW + HOUR)),
            "client_certificate_untrusted",
        ),
        (
            "its last second",
            pki.chain(leaf().valid(NOW - HOUR, NOW)),
            "accepted",
        ),
        (
            "expired intermediate",
            vec![dead.issue(leaf()), dead.der.clone()],
            "client_certificate_untrusted",
        ),
        (
            "a CA as a client",
            pki.chain(leaf().ca()),
            "client_certificate_untrusted",
        ),
        (
            "a root as a client",
            vec![pki.root.der.clone()],
            "client_certificate_untrusted",
        ),
        (
            "server only",
            pki.chain(leaf().usages(&[ServerAuth])),
            "client_certificate_untrusted",
        ),
        ("client only", pki.chain(leaf().usages(&[ClientAuth])), "accepted"),
        (
            "any usage",
            pki.chain(leaf().usages(&[])),
            "client_certificate_usage",
        ),
        (
            "a leaf as issuer",
            vec![stranger.issue(leaf()), as_ca],
            "client_certificate_untrusted",
        ),
        (
            "garbage",
            vec![b"garbage".to_vec()],
            "client_certificate_untrusted",
        ),
        ("empty", vec![Vec::new()], "client_certificate_untrusted"),
        (
            "nine certificates",
            vec![pki.issuing.der.clone(); 9],
            "client_certificate_malformed",
        ),
    ];
    for (name, chain, expected) in rows {
        for _ in 0..2 {
            // The second time nothing that was refused has become known.
            assert_eq!(code(pki.fixture.by_chain(&chain).await), expected, "{name}");
        }
    }
}
