//! What a token that comes again costs, and what it does not get.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::KeySet;

const NOW: i64 = 1_795_341_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(NOW + seconds)
}

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn key_set(pair: &EcdsaKeyPair) -> KeySet {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "first", "x": x, "y": y});
    KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
}

fn token(pair: &EcdsaKeyPair) -> String {
    let header = json!({"alg": "ES256", "kid": "first"}).to_string();
    let claims = json!({
        "iss": "https://issuer.example", "aud": "istio-ca", "sub": "system:serviceaccount:shop:cart",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
    });
    let [header, claims] = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verifier(cache_entries: usize) -> Verifier {
    Verifier::new(Settings {
        issuer: "https://issuer.example".into(),
        algorithms: vec![Algorithm::ES256],
        rules: Rules {
            audiences: vec!["istio-ca".into()],
            clock_skew: Duration::from_secs(60),
        },
        subject: SubjectForm::Kubernetes,
        trust: Trust {
            domain: "cluster.local".parse().unwrap(),
            aliases: Vec::new(),
        },
        cache_entries,
    })
}

fn verify(verifier: &Verifier, keys: &KeySet, token: &str, now: Timestamp) -> Result<Arc<Verified>, Error> {
    let candidate = verifier.open(token, Verifier::digest(token))?;
    let key = keys.select(candidate.kid(), candidate.algorithm())?;
    verifier.verify(candidate, &key, now)
}

#[test]
fn a_verified_token_is_known_for_as_long_as_it_is_good() {
    let pair = pair();
    let (verifier, keys, token) = (verifier(10), key_set(&pair), token(&pair));
    let digest = Verifier::digest(&token);
    let known = |now| verifier.known(&digest, keys.generation(), now);
    assert!(known(at(0)).unwrap().is_none());
    let verified = verify(&verifier, &keys, &token, at(0)).unwrap();
    let again = known(at(599)).unwrap().unwrap();
    assert!(Arc::ptr_eq(&verified, &again));
    let identity = &again.recognized().identity;
    assert_eq!(identity.to_string(), "spiffe://cluster.local/ns/shop/sa/cart");

    assert_eq!(known(at(600)).unwrap_err().code(), "token_expired");
    // It was forgotten, and does not come back with the clock.
    assert!(known(at(599)).unwrap().is_none());
    verify(&verifier, &keys, &token, at(0)).unwrap();
    assert_eq!(known(at(-61)).unwrap_err().code(), "token_not_yet_valid");
}

#[test]
fn other_keys_know_nothing_of_it() {
    let pair = pair();
    let (verifier, keys, token) = (verifier(10), key_set(&pair), token(&pair));
    verify(&verifier, &keys, &token, at(0)).unwrap();
    // The same key in a set that was read again, and other keys.
    for newer in [key_set(&pair), key_set(&self::pair())] {
        assert!(newer.generation() > keys.generation());
        let known = verifier.known(&Verifier::digest(&token), newer.generation(), at(0));
        assert!(known.unwrap().is_none());
    }
}

#[test]
fn nothing_is_kept_of_a_failure() {
    let pair = pair();
    let (verifier, keys, token) = (verifier(10), key_set(&pair), token(&pair));
    let known = |token: &str| {
        let digest = Verifier::digest(token);
        verifier.known(&digest, keys.generation(), at(0)).unwrap()
    };
    // Another signature over the same claims is another token.
    verify(&verifier, &keys, &token, at(0)).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut octets = URL_SAFE_NO_PAD.decode(signature).unwrap();
    octets[7] ^= 1;
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(octets));
    for _ in 0..2 {
        assert!(known(&forged).is_none());
        let refused = verify(&verifier, &keys, &forged, at(0));
        assert_eq!(refused.unwrap_err().code(), "token_signature");
    }
    assert!(known(&token).is_some());

    let late = verify(&verifier, &keys, &self::token(&pair), at(600));
    assert_eq!(late.unwrap_err().code(), "token_expired");
    let off = self::verifier(0);
    verify(&off, &keys, &token, at(0)).unwrap();
    let digest = Verifier::digest(&token);
    assert!(off.known(&digest, keys.generation(), at(0)).unwrap().is_none());
}
