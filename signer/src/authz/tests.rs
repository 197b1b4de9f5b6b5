use std::net::SocketAddr;

use http::HeaderMap;
use rcgen::KeyPair;
use sealwright_identity::{Ceiling, CommonName, KeyType, San, TrustDomain, Usage};
use sealwright_policy_wasm::Narrowing;
use tokio::sync::watch;

use super::ceiling::lifetime;
use super::*;
use crate::authn::config::{AuthenticatorConfig, AuthenticatorKind};
use crate::authn::{Authenticators, Peer, PeerTls, Trust};
use crate::testing::{DAY, TestPki, clock, csr_with, end_entity};

const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/cart";

fn ceiling() -> Ceiling {
    Ceiling {
        trust_domain: trust_domain(),
        dns: vec!["*.shop.svc".parse().unwrap()],
        max_lifetime: Duration::from_secs(90 * DAY),
        default_lifetime: Duration::from_secs(DAY),
        key_types: vec![KeyType::P256],
        // On purpose in the order that a certificate does not have.
        usages: vec![Usage::ClientAuth, Usage::ServerAuth],
        common_name: CommonName::None,
    }
}

fn trust_domain() -> TrustDomain {
    "cluster.local".parse().unwrap()
}

/// A caller by the only way there is one: an authenticator vouched for it.
async fn caller(pki: &TestPki) -> Caller {
    let config = AuthenticatorConfig {
        name: "mtls".to_owned(),
        attributes: Default::default(),
        kind: AuthenticatorKind::ClientCertificate,
        hands_over: false,
    };
    let trust = Trust {
        domain: trust_domain(),
        aliases: Vec::new(),
    };
    let (_sender, bundle) = watch::channel(pki.bundle());
    let authenticators = Authenticators::build(&[config], trust, bundle, clock()).unwrap();
    let leaf = pki.issue(&end_entity(&[IDENTITY], &[]), &KeyPair::generate().unwrap());
    let chain = [leaf, pki.issuing_der.clone()].map(Into::into).to_vec();
    let peer = Peer {
        addr: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls: Some(PeerTls { chain }),
    };
    authenticators
        .authenticate(&HeaderMap::new(), &peer)
        .await
        .unwrap()
}

fn order(seconds: u64) -> CertificateOrder {
    crate::service::test_order(seconds)
}

async fn grant_with(dns: &[&str], seconds: u64, narrowing: Narrowing) -> Result<Terms, Denial> {
    let pki = TestPki::new();
    let (caller, order, csr) = (caller(&pki).await, order(seconds), csr_with(dns, None));
    let issuer = pki.issuer(ceiling());
    let case = Case {
        lifetime: lifetime(&issuer, &order).unwrap(),
        caller: &caller,
        order: &order,
        csr: &csr,
        issuer,
        now: clock().now(),
    };
    Offer::of(&case).narrowed(&narrowing)
}

fn names(texts: &[&str]) -> Vec<San> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn chosen(texts: &[&str]) -> Narrowing {
    Narrowing {
        names: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
        ..Narrowing::default()
    }
}

#[tokio::test]
async fn narrowings_are_applied_and_never_widen() {
    let uri = format!("URI:{IDENTITY}");
    let own = names(&[&uri]);
    let both = vec![Usage::ServerAuth, Usage::ClientAuth];
    let asked = ["a.shop.svc", "b.other.svc", "a.shop.svc"];
    let terms = |names: &[San], usages: &[Usage], seconds| Terms {
        names: names.to_vec(),
        usages: usages.to_vec(),
        lifetime: Duration::from_secs(seconds),
    };
    let lifetime = |seconds| Narrowing {
        lifetime: Some(Duration::from_secs(seconds)),
        ..Narrowing::default()
    };
    let usages = |usages: &[Usage]| Narrowing {
        usages: Some(usages.to_vec()),
        ..Narrowing::default()
    };
    let with_dns = names(&[&uri, "DNS:a.shop.svc"]);
    let rows: Vec<(&str, u64, Narrowing, Terms)> = vec![
        (
            "no word on names: the identity alone",
            0,
            Narrowing::default(),
            terms(&own, &both, DAY),
        ),
        (
            "a lifetime that was asked for",
            60,
            Narrowing::default(),
            terms(&own, &both, 60),
        ),
        ("a shorter life", 0, lifetime(60), terms(&own, &both, 60)),
        (
            "a longer life does not lengthen",
            60,
            lifetime(DAY),
            terms(&own, &both, 60),
        ),
        (
            "one usage",
            0,
            usages(&[Usage::ServerAuth]),
            terms(&own, &[Usage::ServerAuth], DAY),
        ),
        (
            "a DNS name that was offered",
            0,
            chosen(&[&uri, "DNS:a.shop.svc"]),
            terms(&with_dns, &both, DAY),
        ),
        (
            "the order is the offer's",
            0,
            chosen(&["DNS:a.shop.svc", &uri]),
            terms(&with_dns, &both, DAY),
        ),
        (
            "a name outside the patterns is not granted",
            0,
            chosen(&[&uri, "DNS:b.other.svc"]),
            terms(&own, &both, DAY),
        ),
        (
            "a name nobody asked for is not granted",
            0,
            chosen(&[&uri, "DNS:c.shop.svc"]),
            terms(&own, &both, DAY),
        ),
        (
            "a foreign identity is not granted",
            0,
            chosen(&[&uri, "URI:spiffe://cluster.local/ns/other/sa/x"]),
            terms(&own, &both, DAY),
        ),
    ];
    for (what, seconds, narrowing, expected) in rows {
        assert_eq!(
            grant_with(&asked, seconds, narrowing).await,
            Ok(expected),
            "{what}"
        );
    }
    for (field, narrowing) in [
        ("names", chosen(&["DNS:a.shop.svc"])),
        ("names", chosen(&[])),
        ("usages", usages(&[])),
        ("lifetime", lifetime(0)),
    ] {
        let denial = grant_with(&asked, 0, narrowing).await.unwrap_err();
        assert_eq!(
            (denial.code.as_str(), denial.field.as_str()),
            ("NOTHING_ALLOWED", field)
        );
    }
}

#[test]
fn lifetimes_default_and_are_refused_above_the_maximum() {
    let issuer = TestPki::new().issuer(ceiling());
    let maximum = 90 * DAY;
    assert_eq!(lifetime(&issuer, &order(0)).unwrap().as_secs(), DAY);
    assert_eq!(lifetime(&issuer, &order(maximum)).unwrap().as_secs(), maximum);
    for seconds in [maximum + 1, i64::MAX as u64 / 1_000_000_000, i64::MAX as u64] {
        let error = lifetime(&issuer, &order(seconds)).unwrap_err();
        let AuthorizationError::LifetimeTooLong {
            requested,
            maximum: told,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((requested, told), (seconds, maximum));
    }
}

#[tokio::test]
async fn the_ceiling_denies_before_any_policy() {
    let pki = TestPki::new();
    let (caller, order, csr) = (caller(&pki).await, order(0), csr_with(&[], None));
    type Change = fn(&mut Issuer);
    let rows: [(&str, Change); 4] = [
        ("", |_| {}),
        ("AUTHENTICATOR_NOT_ALLOWED", |issuer| {
            issuer.authenticators = vec!["kubernetes".to_owned()];
        }),
        ("KEY_TYPE_NOT_ALLOWED", |issuer| {
            issuer.ceiling.key_types = vec![KeyType::P384]
        }),
        ("IDENTITY_NOT_ALLOWED", |issuer| {
            issuer.ceiling.trust_domain = "other.domain".parse().unwrap();
        }),
    ];
    for (code, change) in rows {
        let mut issuer = Issuer::clone(&pki.issuer(ceiling()));
        change(&mut issuer);
        let case = Case {
            lifetime: Duration::from_secs(1),
            caller: &caller,
            order: &order,
            csr: &csr,
            issuer: Arc::new(issuer),
            now: clock().now(),
        };
        let denial = ceiling::denial(&case);
        assert_eq!(denial.map(|denial| denial.code).unwrap_or_default(), code);
    }
}

#[tokio::test]
async fn policies_are_offered_identities_and_allowed_dns_names() {
    let pki = TestPki::new();
    let (caller, order) = (caller(&pki).await, order(0));
    let csr = csr_with(&["a.shop.svc", "evil.example"], Some("a name"));
    let issuer = pki.issuer(ceiling());
    let case = Case {
        lifetime: Duration::from_secs(5),
        caller: &caller,
        order: &order,
        csr: &csr,
        issuer,
        now: clock().now(),
    };
    let input = input::of(&case);
    assert_eq!(
        input.ceiling.names,
        [format!("URI:{IDENTITY}"), "DNS:a.shop.svc".to_owned()]
    );
    assert_eq!(input.csr.dns, ["a.shop.svc", "evil.example"]);
    assert_eq!(input.csr.common_name.as_deref(), Some("a name"));
    assert_eq!(input.request.lifetime_seconds, 5);
    assert_eq!(
        (input.caller.source.as_str(), input.caller.authenticator.as_str()),
        ("client-certificate", "mtls")
    );
    input.check().unwrap();
}
