use std::sync::Arc;

use prometheus_client::registry::Registry;
use sealwright_gate::issuers::Issuer;
use sealwright_identity::{Ceiling, CommonName, KeyType, ManualClock, San, Usage};
use sealwright_proto::gate::Evidence;

use super::*;
use crate::authz::GrantParts;
use crate::service::test_context;
use crate::testing::{DAY, TestPki, clock, csr_with, metrics};

const CART: &str = "URI:spiffe://cluster.local/ns/shop/sa/cart";

fn ceiling(common_name: CommonName) -> Ceiling {
    Ceiling {
        trust_domain: "cluster.local".parse().unwrap(),
        dns: Vec::new(),
        max_lifetime: Duration::from_secs(90 * DAY),
        default_lifetime: Duration::from_secs(DAY),
        key_types: vec![KeyType::P256],
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
        common_name,
    }
}

fn grant(issuer: &Arc<Issuer>, name: &str, lifetime: u64) -> Grant {
    Grant::for_test(GrantParts {
        issuer: Arc::clone(issuer),
        names: vec![name.parse::<San>().unwrap()],
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
        lifetime: Duration::from_secs(lifetime),
        evidence: Evidence::default(),
        credential: None,
        context: test_context(),
    })
}

fn prepare(issuer: &Arc<Issuer>, csr: &VerifiedCsr, name: &str, lifetime: u64) -> LeafTbs {
    let authority = CertificateAuthority::new(clock(), metrics());
    let prepared = authority.prepare(csr, grant(issuer, name, lifetime)).unwrap();
    let leaf = LeafTbs::decode(&prepared.request.tbs).unwrap();
    assert_eq!(leaf.fields().serial, prepared.serial);
    assert_eq!(prepared.request.csr, csr.der());
    leaf
}

#[test]
fn the_leaf_says_what_was_granted_and_nothing_of_the_csr() {
    let issuer = TestPki::new().issuer(ceiling(CommonName::None));
    let csr = csr_with(&["evil.example"], Some("system:masters"));
    let leaf = prepare(&issuer, &csr, CART, 3600);
    let fields = leaf.fields();
    assert_eq!(fields.sans, [CART.parse::<San>().unwrap()]);
    assert_eq!(fields.common_name, None);
    assert_eq!(fields.spki_der, csr.spki_der());
    assert_eq!(fields.validity.duration(), Duration::from_secs(3600 + 120));
    assert_eq!(fields.validity.not_before().micros() % 1_000_000, 0);
    assert_ne!(prepare(&issuer, &csr, CART, 3600).fields().serial, fields.serial);
}

#[test]
fn a_common_name_is_the_first_name_or_none() {
    let dual = TestPki::new().issuer(ceiling(CommonName::FirstName));
    let with = csr_with(&[], Some("whatever it says"));
    let leaf = prepare(&dual, &with, CART, 60);
    assert_eq!(leaf.fields().common_name.as_deref(), CART.strip_prefix("URI:"));
    assert_eq!(
        prepare(&dual, &csr_with(&[], None), CART, 60)
            .fields()
            .common_name,
        None
    );
    let long = format!("{CART}{}", "x".repeat(64));
    assert_eq!(prepare(&dual, &with, &long, 60).fields().common_name, None);
}

#[test]
fn a_leaf_never_outlives_its_issuer_and_short_ones_are_counted() {
    let pki = TestPki::ending_in(Duration::from_secs(3600));
    let issuer = pki.issuer(ceiling(CommonName::None));
    let end = issuer.chain.not_after();
    let csr = csr_with(&[], None);
    for (lifetime, clamped) in [(1800, 0), (5400, 0), (3 * 3600, 1), (90 * DAY, 1)] {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, clock());
        let authority = CertificateAuthority::new(clock(), metrics);
        let prepared = authority.prepare(&csr, grant(&issuer, CART, lifetime)).unwrap();
        let leaf = LeafTbs::decode(&prepared.request.tbs).unwrap();
        assert!(leaf.fields().validity.not_after() <= end);
        assert_eq!(leaf.fields().validity.not_after() == end, lifetime > 3600);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        let line = "sealwright_lifetime_clamped_total{issuer=\"default\"} 1";
        assert_eq!(page.lines().filter(|l| *l == line).count(), clamped, "{lifetime}");
    }
}

#[test]
fn an_issuer_that_has_ended_signs_nothing() {
    let issuer = TestPki::ending_in(Duration::from_secs(3600)).issuer(ceiling(CommonName::None));
    let later = ManualClock::at(issuer.chain.not_after());
    let authority = CertificateAuthority::new(Arc::new(later), metrics());
    let error = authority
        .prepare(&csr_with(&[], None), grant(&issuer, CART, 60))
        .unwrap_err();
    assert!(matches!(error, PrepareError::IssuerExpired { .. }), "{error:?}");
}

#[test]
fn a_grant_outside_the_ceiling_is_not_prepared() {
    let issuer = TestPki::new().issuer(ceiling(CommonName::None));
    let authority = CertificateAuthority::new(clock(), metrics());
    for (name, lifetime) in [
        ("URI:spiffe://other.domain/ns/a/sa/b", 60),
        (CART, 91 * DAY),
        (CART, u64::MAX),
    ] {
        let error = authority
            .prepare(&csr_with(&[], None), grant(&issuer, name, lifetime))
            .unwrap_err();
        assert!(
            matches!(error, PrepareError::Ceiling(_)),
            "{name} {lifetime}: {error:?}"
        );
    }
}
