//! The stock policy: what it allows, what it denies, which settings it takes.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::load;
use crate::{Evaluation, PolicyInput, Verdict, input::tests::sample};

fn evaluate(settings: Value, change: impl FnOnce(&mut PolicyInput)) -> Evaluation {
    let mut input = sample();
    change(&mut input);
    load("baseline", settings).unwrap().evaluate(&input)
}

/// Settings with every key, all of which fit the sample.
fn full() -> Value {
    json!({
        "trust_domains": ["elsewhere", "cluster.local"],
        "namespaces": ["kube-*", "sh*p"],
        "excluded_namespaces": ["*-system"],
        "service_accounts": ["cart"],
        "auth_sources": ["jwt"],
        "key_types": ["p256", "ed25519"],
        "lifetime_caps": [
            {"namespace": "ba*", "max_seconds": 60},
            {"namespace": "*", "max_seconds": 3600},
            {"namespace": "shop", "max_seconds": 1}
        ]
    })
}

#[test]
fn allows_what_every_rule_allows() {
    let evaluation = evaluate(full(), |_| ());
    assert_eq!(evaluation.verdict, Verdict::Allow, "{evaluation:?}");
    let narrowing = evaluation.narrowing.unwrap();
    assert_eq!(narrowing.lifetime, Some(Duration::from_secs(3600)));
    assert_eq!((narrowing.names, narrowing.usages), (None, None));
}

#[test]
fn absent_lists_do_not_restrict() {
    let settings = json!({"trust_domains": ["cluster.local"]});
    let evaluation = evaluate(settings, |input| input.caller.source = "other".to_owned());
    assert_eq!(evaluation.narrowing, Some(crate::Narrowing::default()));
}

#[test]
fn denies_by_the_first_rule_that_does_not_fit() {
    type Change = fn(&mut PolicyInput);
    let identity: fn(&mut PolicyInput, &str) = |input, id| input.caller.identities = vec![id.to_owned()];
    let cases: [(&str, &str, Change); 13] = [
        ("AUTH_SOURCE_NOT_ALLOWED", "caller.source", |input| {
            input.caller.source = "client-certificate".to_owned();
        }),
        ("KEY_TYPE_NOT_ALLOWED", "csr.key_type", |input| {
            input.csr.key_type = "p384".parse().unwrap();
        }),
        ("NO_IDENTITY", "caller.identities", |input| {
            input.caller.identities.clear();
        }),
        ("TRUST_DOMAIN_NOT_ALLOWED", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://evil/ns/shop/sa/cart".to_owned()];
        }),
        ("NAMESPACE_NOT_ALLOWED", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns/shops/sa/cart".to_owned()];
        }),
        ("NAMESPACE_NOT_ALLOWED", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns/kube/sa/cart".to_owned()];
        }),
        ("NAMESPACE_EXCLUDED", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns/kube-system/sa/cart".to_owned()];
        }),
        ("SERVICE_ACCOUNT_NOT_ALLOWED", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns/shop/sa/car".to_owned()];
        }),
        // Every identity has to fit, not only the first.
        ("NAMESPACE_NOT_ALLOWED", "caller.identities[1]", |input| {
            let second = "spiffe://cluster.local/ns/bank/sa/cart".to_owned();
            input.caller.identities.push(second);
        }),
        ("IDENTITY_SHAPE", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/shop/cart".to_owned()];
        }),
        ("IDENTITY_SHAPE", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns/shop/sa/cart/x".to_owned()];
        }),
        ("IDENTITY_SHAPE", "caller.identities[0]", |input| {
            input.caller.identities = vec!["spiffe://cluster.local/ns//sa/cart".to_owned()];
        }),
        ("IDENTITY_SHAPE", "caller.identities[0]", |input| {
            input.caller.identities = vec!["https://cluster.local/ns/shop/sa/cart".to_owned()];
        }),
    ];
    for (code, field, change) in cases {
        let evaluation = evaluate(full(), change);
        let denial = evaluation.denial.unwrap();
        assert_eq!(
            (denial.code.as_str(), denial.field.as_deref()),
            (code, Some(field))
        );
    }
    let longest = evaluate(full(), |input| {
        identity(input, "spiffe://cluster.local/ns/sh-long-p/sa/cart");
    });
    assert_eq!(longest.verdict, Verdict::Allow);
}

#[test]
fn a_cap_never_exceeds_the_ceiling() {
    let evaluation = evaluate(full(), |input| input.ceiling.max_lifetime_seconds = 60);
    let narrowing = evaluation.narrowing.unwrap();
    assert_eq!(narrowing.lifetime, Some(Duration::from_secs(60)));
}

#[test]
fn names_the_key_of_a_bad_setting() {
    let with = |key: &str, value: Value| {
        let mut settings = full();
        settings[key] = value;
        settings
    };
    let cases = [
        (json!({}), "trust_domains"),
        (json!([]), "cannot be used"),
        (with("namespace", json!(["a"])), "namespace: unknown field"),
        (with("trust_domains", json!([])), "trust_domains: is empty"),
        (with("namespaces", json!("shop")), "namespaces: invalid type"),
        (with("namespaces", json!(["a", ""])), "namespaces[1]: is empty"),
        (with("auth_sources", json!(["mtls"])), "auth_sources[0]: \"mtls\""),
        (with("key_types", json!(["p256", "p-384"])), "key_types[1]"),
        (
            with("lifetime_caps", json!([{"namespace": "a", "max": 1}])),
            "lifetime_caps[0].max: unknown field",
        ),
        (
            with("lifetime_caps", json!([{"namespace": "a", "max_seconds": 0}])),
            "lifetime_caps[0].max_seconds: is zero",
        ),
        (
            with("lifetime_caps", json!([{"namespace": "a", "max_seconds": -1}])),
            "lifetime_caps[0].max_seconds: invalid value",
        ),
    ];
    for (settings, expected) in cases {
        let error = load("baseline", settings.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{settings}: {error} lacks {expected}");
    }
}
