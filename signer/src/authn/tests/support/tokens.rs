//! Token issuers with keys of their own, and tokens good and odd.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::NOW;

pub(in crate::authn) const ISSUER: &str = "https://issuer.example";

/// Made once for all tests of the process: RSA keys are slow to make.
pub(in crate::authn) static RSA: LazyLock<TestKey> =
    LazyLock::new(|| TestKey::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048).unwrap()));

pub(in crate::authn) enum TestKey {
    Rsa(rsa::KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TestKey {
    pub(in crate::authn) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(in crate::authn) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(in crate::authn) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public key as a JWK with an id.
    pub(in crate::authn) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(in crate::authn) fn bare_jwk(&self) -> Value {
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Self::P256(key) => point("P-256", key.public_key().as_ref()),
            Self::P384(key) => point("P-384", key.public_key().as_ref()),
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())})
            }
        }
    }

    /// A token with this header and these claims, signed as `alg` says.
    pub(in crate::authn) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(&header.to_string(), &claims.to_string());
        let signature = self.signature(header["alg"].as_str().unwrap(), signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    /// A token with these texts as they stand.
    pub(in crate::authn) fn sign_texts(&self, alg: &str, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let signature = self.signature(alg, signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn signature(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key's SPKI, as an attacker would use it for a MAC key.
    pub(in crate::authn) fn spki(&self) -> Vec<u8> {
        let Self::Rsa(key) = self else {
            panic!("only RSA keys are asked for");
        };
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }
}

/// The header and claims of a bound service account token, as Kubernetes writes them.
pub(in crate::authn) fn header() -> Value {
    json!({"alg": "RS256", "kid": "first"})
}

pub(in crate::authn) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": ["istio-ca"],
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "jti": "b54c4f40-5817-4ac7-bee9-c2605664fa7a",
        "sub": "system:serviceaccount:shop:cart",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "98b62d58-0000-4000-8000-000000000001"},
            "pod": {"name": "cart-1", "uid": "94a45f22-0000-4000-8000-000000000002"},
            "serviceaccount": {"name": "cart", "uid": "22b4b4f6-0000-4000-8000-000000000003"}
        }
    })
}

/// `base` with members replaced, or removed where the value is null.
pub(in crate::authn) fn with(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    let Value::Object(changes) = changes else {
        panic!("changes are an object");
    };
    for (name, value) in changes {
        match value {
            Value::Null => members.remove(&name),
            value => members.insert(name, value),
        };
    }
    base
}

pub(in crate::authn) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(in crate::authn) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()))
}

pub(in crate::authn) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(curve: &str, uncompressed: &[u8]) -> Value {
    let (x, y) = uncompressed[1..].split_at((uncompressed.len() - 1) / 2);
    json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
}
