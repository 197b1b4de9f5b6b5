//! Headers: algorithms and keys.

use serde_json::json;

use super::Issuer;
use crate::authn::tests::support::NOW;
use crate::authn::tests::support::tokens::{RSA, TestKey, claims, header, with};

#[tokio::test]
async fn headers_that_are_and_are_not_accepted() {
    let p256 = TestKey::p256();
    let issuer = Issuer::new(&[p256.jwk("second")]);
    let rows = [
        (json!({}), "accepted"),
        (json!({"typ": "JWT"}), "accepted"),
        (
            json!({"jku": "https://evil.example/jwks", "x5u": "https://evil.example"}),
            "accepted",
        ),
        (json!({"jwk": p256.jwk("first"), "x5c": ["AAAA"]}), "accepted"),
        (json!({"kid": null}), "accepted"),
        (json!({"kid": "second"}), "token_key_unknown"),
        (json!({"kid": "third"}), "token_key_unknown"),
        (json!({"kid": ""}), "token_key_unknown"),
        (json!({"kid": 1}), "token_malformed"),
        (json!({"crit": ["exp"], "exp": NOW}), "token_malformed"),
        (json!({"crit": []}), "token_malformed"),
        (json!({"alg": "RS384"}), "accepted"),
        (json!({"alg": "RS512"}), "accepted"),
        (json!({"alg": "PS256"}), "token_algorithm"),
        (json!({"alg": "rs256"}), "token_algorithm"),
        (json!({"alg": "ES256"}), "token_key_unknown"),
        (json!({"alg": "none"}), "token_algorithm"),
        (json!({"alg": "None"}), "token_algorithm"),
        (json!({"alg": ""}), "token_algorithm"),
    ];
    for (changes, expected) in rows {
        let token = RSA.sign(&with(header(), changes.clone()), &claims());
        assert_eq!(issuer.judge(&token).await, expected, "{changes}");
    }
    // A null cannot be written with `with`, which takes it for "remove".
    let crit = r#"{"alg":"RS256","kid":"first","crit":null}"#;
    let token = RSA.sign_texts("RS256", crit, &claims().to_string());
    assert_eq!(issuer.judge(&token).await, "token_malformed");
}

#[tokio::test]
async fn each_algorithm_with_its_own_key_only() {
    let (p256, p384, ed) = (TestKey::p256(), TestKey::p384(), TestKey::ed25519());
    let rs384_only = with(RSA.jwk("rs384"), json!({"alg": "RS384"}));
    let encryption = with(p256.jwk("enc"), json!({"use": "enc"}));
    let signing_op = with(p256.jwk("sign"), json!({"key_ops": ["sign"]}));
    let verify_op = with(p256.jwk("verify"), json!({"use": null, "key_ops": ["verify"]}));
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "oct"});
    let more = [
        p256.jwk("p256"),
        p384.jwk("p384"),
        ed.jwk("ed"),
        rs384_only,
        encryption,
        signing_op,
        verify_op,
        secret,
    ];
    let issuer = Issuer::new(&more);
    let rows = [
        (&*RSA, "first", "RS256", "accepted"),
        (&*RSA, "first", "RS384", "accepted"),
        (&*RSA, "first", "RS512", "accepted"),
        (&p256, "p256", "ES256", "accepted"),
        (&p384, "p384", "ES384", "accepted"),
        (&ed, "ed", "EdDSA", "accepted"),
        (&p256, "verify", "ES256", "accepted"),
        (&p256, "p256", "ES384", "token_key_unknown"),
        (&p384, "p384", "ES256", "token_key_unknown"),
        (&p256, "p384", "ES384", "token_signature"),
        (&*RSA, "p256", "RS256", "token_key_unknown"),
        (&*RSA, "rs384", "RS384", "accepted"),
        (&*RSA, "rs384", "RS256", "token_key_unknown"),
        (&p256, "enc", "ES256", "token_key_unknown"),
        (&p256, "sign", "ES256", "token_key_unknown"),
        (&p256, "oct", "ES256", "token_key_unknown"),
    ];
    for (key, kid, alg, expected) in rows {
        let token = key.sign(&json!({"alg": alg, "kid": kid}), &claims());
        assert_eq!(issuer.judge(&token).await, expected, "{kid} {alg}");
    }
    let listed = Issuer::with_options(&more, "algorithms = [\"ES256\"]");
    let token = p256.sign(&json!({"alg": "ES256", "kid": "p256"}), &claims());
    assert_eq!(listed.judge(&token).await, "accepted");
    assert_eq!(
        listed.judge(&RSA.sign(&header(), &claims())).await,
        "token_algorithm"
    );
}

#[tokio::test]
async fn a_token_without_kid_needs_a_single_fitting_key() {
    let (one, two) = (TestKey::p256(), TestKey::p256());
    let token = |key: &TestKey, alg| key.sign(&json!({ "alg": alg }), &claims());
    let single = Issuer::new(&[one.jwk("one")]);
    assert_eq!(single.judge(&token(&one, "ES256")).await, "accepted");
    assert_eq!(single.judge(&token(&RSA, "RS256")).await, "accepted");
    assert_eq!(single.judge(&token(&two, "ES256")).await, "token_signature");
    let several = Issuer::new(&[one.jwk("one"), two.jwk("two")]);
    assert_eq!(several.judge(&token(&one, "ES256")).await, "token_key_unknown");
    // A key without an id is found by tokens without one, and by no others.
    let nameless = Issuer::new(&[one.bare_jwk()]);
    assert_eq!(nameless.judge(&token(&one, "ES256")).await, "accepted");
    let named = one.sign(&json!({"alg": "ES256", "kid": "one"}), &claims());
    assert_eq!(nameless.judge(&named).await, "token_key_unknown");
    // Two keys of one id: neither is tried.
    let twins = Issuer::new(&[one.jwk("one"), two.jwk("one")]);
    assert_eq!(twins.judge(&named).await, "token_key_unknown");
}
