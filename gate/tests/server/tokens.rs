//! An issuer of tokens, for gates that verify them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example";

pub struct TokenIssuer(EcdsaKeyPair);

impl TokenIssuer {
    pub fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn jwks(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "first", "x": x, "y": y}]}).to_string()
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A good token of this service account.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        self.sign(&header(), &claims(namespace, account))
    }
}

pub fn header() -> Value {
    json!({"alg": "ES256", "kid": "first"})
}

pub fn claims(namespace: &str, account: &str) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    json!({
        "iss": ISSUER, "aud": ["istio-ca"], "iat": now, "nbf": now, "exp": now + 600,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
    })
}

/// Header and claims, as the evidence has them.
pub fn parts(token: &str) -> (String, String) {
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (text(parts.next().unwrap()), text(parts.next().unwrap()))
}
