//! Claims: times and audiences.

use serde_json::json;

use super::Issuer;
use crate::authn::tests::support::tokens::{RSA, claims, header, with};
use crate::authn::tests::support::{NOW, seconds};

#[tokio::test]
async fn claims_that_do_and_do_not_hold() {
    let issuer = Issuer::new(&[]);
    let rows = [
        (json!({}), "accepted"),
        (json!({"exp": NOW + 1}), "accepted"),
        (json!({"exp": NOW}), "token_expired"),
        (json!({"exp": NOW - 30}), "token_expired"),
        (json!({"exp": NOW - 90}), "token_expired"),
        (
            json!({"exp": NOW + 3600, "nbf": NOW + 60, "iat": NOW + 60}),
            "accepted",
        ),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        (json!({"iat": NOW + 61}), "token_not_yet_valid"),
        (json!({"nbf": NOW + 50, "exp": NOW + 40}), "token_claims"),
        (json!({"exp": 0.5 + NOW as f64}), "accepted"),
        (json!({"exp": NOW as f64 - 0.5}), "token_expired"),
        (json!({"exp": 1_000_000_000_000_i64}), "token_malformed"),
        (json!({"exp": -1}), "token_malformed"),
        (json!({"exp": 1e300}), "token_malformed"),
        (json!({"exp": (NOW + 60).to_string()}), "token_malformed"),
        (json!({"exp": null}), "token_claims"),
        (json!({"nbf": null}), "token_claims"),
        (json!({"iat": null}), "token_claims"),
        (json!({"aud": null}), "token_claims"),
        (json!({"aud": []}), "token_audience"),
        (json!({"aud": "istio-ca"}), "accepted"),
        (json!({"aud": ["other", "sealwright"]}), "accepted"),
        (json!({"aud": ["other"]}), "token_audience"),
        (json!({"aud": "istio-ca,sealwright"}), "token_audience"),
        (json!({"aud": ["Istio-CA"]}), "token_audience"),
        (json!({"aud": {"istio-ca": true}}), "token_malformed"),
        (json!({"iss": null}), "token_issuer"),
        (json!({"iss": "https://issuer.example/"}), "token_issuer"),
        (json!({"iss": "https://evil.example"}), "token_issuer"),
        (json!({"iss": 7}), "token_malformed"),
        (json!({"sub": null}), "token_subject"),
        (json!({"jti": null}), "accepted"),
    ];
    for (changes, expected) in rows {
        let token = RSA.sign(&header(), &with(claims(), changes.clone()));
        assert_eq!(issuer.judge(&token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn a_token_ends_when_its_time_comes() {
    let issuer = Issuer::with_options(&[], "clock_skew = \"10s\"");
    let token = RSA.sign(&header(), &claims());
    let early = RSA.sign(&header(), &with(claims(), json!({"nbf": NOW + 30})));
    assert_eq!(issuer.judge(&token).await, "accepted");
    assert_eq!(issuer.judge(&early).await, "token_not_yet_valid");
    issuer.fixture.clock.advance(seconds(20));
    assert_eq!(issuer.judge(&early).await, "accepted");
    issuer.fixture.clock.advance(seconds(3579));
    assert_eq!(issuer.judge(&token).await, "accepted");
    issuer.fixture.clock.advance(seconds(1));
    assert_eq!(issuer.judge(&token).await, "token_expired");
}
