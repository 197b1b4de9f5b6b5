//! Forged tokens, and texts that are none.

use serde_json::json;

use super::Issuer;
use crate::authn::tests::support::tokens::{RSA, TestKey, claims, encode, header, unsigned, with};

#[tokio::test]
async fn the_classic_forgeries() {
    let issuer = Issuer::new(&[]);
    let good = RSA.sign(&header(), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();

    let none = unsigned(r#"{"alg":"none"}"#, &claims().to_string());
    assert_eq!(issuer.judge(&format!("{none}.")).await, "token_malformed");
    assert_eq!(issuer.judge(&format!("{none}.AA")).await, "token_algorithm");

    // A MAC with the public key as its key, in both of its usual forms.
    let mac_header = with(header(), json!({"alg": "HS256"})).to_string();
    let forged = unsigned(&mac_header, &claims().to_string());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n", encode(&RSA.spki()));
    for secret in [RSA.spki(), pem.into_bytes()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let tag = aws_lc_rs::hmac::sign(&key, forged.as_bytes());
        let token = format!("{forged}.{}", encode(tag.as_ref()));
        assert_eq!(issuer.judge(&token).await, "token_algorithm");
    }

    // The same claims under another key, and other claims under the same signature.
    let stranger = TestKey::p256();
    let es256 = with(header(), json!({"alg": "ES256"}));
    assert_eq!(
        issuer.judge(&stranger.sign(&es256, &claims())).await,
        "token_key_unknown"
    );
    let elsewhere = with(
        claims(),
        json!({"sub": "system:serviceaccount:shop:pay", "kubernetes.io": null}),
    );
    let swapped = unsigned(&header().to_string(), &elsewhere.to_string());
    assert_eq!(
        issuer.judge(&format!("{swapped}.{signature}")).await,
        "token_signature"
    );
    let mut flipped = signature.to_owned().into_bytes();
    flipped[40] = if flipped[40] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    assert_eq!(
        issuer.judge(&format!("{signed}.{flipped}")).await,
        "token_signature"
    );
    // 342 characters are 256 octets, 340 are 255.
    let short = &signature[..340];
    assert_eq!(
        issuer.judge(&format!("{signed}.{short}")).await,
        "token_signature"
    );

    // Members twice: which one counts would be anybody's guess.
    let twice = claims()
        .to_string()
        .replacen('{', r#"{"sub":"system:serviceaccount:a:b","#, 1);
    let token = RSA.sign_texts("RS256", &header().to_string(), &twice);
    assert_eq!(issuer.judge(&token).await, "token_malformed");
    let twice = r#"{"alg":"none","alg":"RS256","kid":"first"}"#;
    let token = RSA.sign_texts("RS256", twice, &claims().to_string());
    assert_eq!(issuer.judge(&token).await, "token_malformed");
}

#[tokio::test]
async fn texts_that_are_no_tokens() {
    let issuer = Issuer::new(&[]);
    let good = RSA.sign(&header(), &claims());
    let deep = "[".repeat(10_000);
    let nested = format!("{{\"a\":{deep}");
    let rows = [
        String::new(),
        "garbage".to_owned(),
        "a.b".to_owned(),
        "...".to_owned(),
        format!("{good}."),
        format!("{good}.{good}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good} "),
        format!("{good} x"),
        good.replace('.', ".."),
        good.replacen("ey", "e_", 1),
        RSA.sign_texts("RS256", "[]", "{}"),
        RSA.sign_texts("RS256", "{}", "{}"),
        RSA.sign_texts("RS256", &header().to_string(), "null"),
        RSA.sign_texts("RS256", &header().to_string(), &format!("{} x", claims())),
        RSA.sign_texts("RS256", &header().to_string(), &nested),
    ];
    for token in rows {
        assert_eq!(issuer.judge(&token).await, "token_malformed", "{token}");
    }
    let huge = with(claims(), json!({"padding": "x".repeat(20_000)}));
    assert_eq!(issuer.judge(&RSA.sign(&header(), &huge)).await, "token_malformed");
}
