//! Subjects, and the claim that Kubernetes adds.

use serde_json::json;

use super::Issuer;
use crate::authn::tests::support::NOW;
use crate::authn::tests::support::tokens::{RSA, claims, header, with};

#[tokio::test]
async fn subjects_that_are_and_are_not_service_accounts() {
    let issuer = Issuer::new(&[]);
    let rows = [
        ("system:serviceaccount:shop:cart", "accepted"),
        ("system:serviceaccount:shop:cart.v2", "accepted"),
        ("system:serviceaccount:shop", "token_subject"),
        ("system:serviceaccount", "token_subject"),
        ("system:serviceaccount:shop:cart:x", "token_subject"),
        ("system:serviceaccount:shop:", "token_subject"),
        ("system:serviceaccount::cart", "token_subject"),
        ("system:serviceaccount:Shop:cart", "token_subject"),
        ("system:serviceaccount:shop:cart/../pay", "token_subject"),
        ("system:serviceaccount:shop.x:cart", "token_subject"),
        ("system:serviceaccount:shop:..", "token_subject"),
        ("system:serviceaccount:-shop:cart", "token_subject"),
        ("system:serviceaccounts:shop:cart", "token_subject"),
        ("System:serviceaccount:shop:cart", "token_subject"),
        (" system:serviceaccount:shop:cart", "token_subject"),
        ("system:serviceaccount:shop:cart ", "token_subject"),
        ("system:serviceaccount:shop:cart,pay", "token_subject"),
        ("system:node:node-1", "token_subject"),
        ("spiffe://cluster.local/ns/shop/sa/cart", "token_subject"),
        ("", "token_subject"),
    ];
    for (sub, expected) in rows {
        let changes = json!({"sub": sub, "kubernetes.io": null});
        let token = RSA.sign(&header(), &with(claims(), changes));
        assert_eq!(issuer.judge(&token).await, expected, "{sub:?}");
    }
    let long = format!("system:serviceaccount:{}:cart", "n".repeat(64));
    let changes = json!({"sub": long, "kubernetes.io": null});
    let token = RSA.sign(&header(), &with(claims(), changes));
    assert_eq!(issuer.judge(&token).await, "token_subject");
}

#[tokio::test]
async fn the_kubernetes_claim_agrees_with_the_subject() {
    let issuer = Issuer::new(&[]);
    let pod = || json!({"name": "cart-1", "uid": "94a45f22-1"});
    let account = || json!({"name": "cart", "uid": "22b4b4f6-1"});
    let rows = [
        (
            json!({"namespace": "shop", "serviceaccount": account()}),
            "accepted",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": pod()}),
            "accepted",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": pod(), "node": {"name": "n1"}, "warnafter": NOW}),
            "accepted",
        ),
        (
            json!({"namespace": "pay", "serviceaccount": account()}),
            "token_subject",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": {"name": "pay"}}),
            "token_subject",
        ),
        (json!({"namespace": "shop"}), "token_subject"),
        (json!({"serviceaccount": account()}), "token_subject"),
        (json!({}), "token_subject"),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": {"name": "cart-1"}}),
            "token_subject",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": {"name": "a\nb", "uid": "1"}}),
            "token_subject",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": {"name": "a", "uid": "1 2"}}),
            "token_subject",
        ),
        (
            json!({"namespace": "shop", "serviceaccount": account(), "pod": {"uid": "1"}}),
            "token_malformed",
        ),
        (json!("shop"), "token_malformed"),
    ];
    for (claim, expected) in rows {
        let token = RSA.sign(&header(), &with(claims(), json!({"kubernetes.io": claim})));
        assert_eq!(issuer.judge(&token).await, expected, "{claim}");
    }
    // No claim at all: an account without a pod.
    let token = RSA.sign(&header(), &with(claims(), json!({"kubernetes.io": null})));
    let caller = issuer.fixture.by_token(&token).await.unwrap();
    assert!(caller.kubernetes().unwrap().pod.is_none());
}

#[tokio::test]
async fn spiffe_subjects_when_configured() {
    let issuer = Issuer::with_options(&[], "subject = \"spiffe\"");
    let rows = [
        ("spiffe://cluster.local/ns/shop/sa/cart", "accepted"),
        ("spiffe://old.example/ns/shop/sa/cart", "accepted"),
        ("spiffe://foreign.example/ns/shop/sa/cart", "token_subject"),
        ("system:serviceaccount:shop:cart", "token_subject"),
    ];
    for (sub, expected) in rows {
        let token = RSA.sign(&header(), &with(claims(), json!({"sub": sub})));
        assert_eq!(issuer.judge(&token).await, expected, "{sub}");
    }
    let old = json!({"sub": "spiffe://old.example/ns/shop/sa/cart"});
    let token = RSA.sign(&header(), &with(claims(), old));
    let caller = issuer.fixture.by_token(&token).await.unwrap();
    assert_eq!(caller.identities()[0].trust_domain().as_str(), "cluster.local");
    assert_eq!(caller.presented().unwrap().trust_domain().as_str(), "old.example");
}
