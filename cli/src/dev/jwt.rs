//! The issuer of service-account tokens of a development home: a key, its JWK set, and tokens.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use sealwright_identity::{Digest, Timestamp};
use sealwright_x509::pem;
use serde_json::json;
use zeroize::Zeroizing;

use super::home::Home;
use crate::{
    failure::{Class, Failure, OrFail},
    files,
};

/// `iss` of the tokens.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Makes the key (0600) and the JWK set.
pub(super) fn make_issuer(home: &Home) -> Result<(), Failure> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .or_fail_doing(Class::Internal, "cannot make the token issuer's key")?;
    let key = Zeroizing::new(pair.serialize_der());
    let text = Zeroizing::new(pem::encode(PRIVATE_KEY, &key));
    files::write(&home.jwt_key(), text.as_bytes(), 0o600)?;
    let set = json!({ "keys": [jwk(pair.public_key_raw())?] });
    files::write(&home.jwks(), format!("{set}\n").as_bytes(), 0o644)
}

/// A P-256 key from its uncompressed point (RFC 7518 section 6.2.1).
fn jwk(point: &[u8]) -> Result<serde_json::Value, Failure> {
    match point.split_first() {
        Some((4, coordinates)) if coordinates.len() == 64 => {
            let (x, y) = coordinates.split_at(32);
            Ok(json!({
                "kty": "EC",
                "crv": "P-256",
                "use": "sig",
                "alg": "ES256",
                "kid": key_id(point),
                "x": URL_SAFE_NO_PAD.encode(x),
                "y": URL_SAFE_NO_PAD.encode(y),
            }))
        }
        _ => Err(Failure::text(
            Class::Internal,
            "the token issuer's key is no P-256 point",
        )),
    }
}

fn key_id(point: &[u8]) -> String {
    let digest = Digest::of(point);
    URL_SAFE_NO_PAD.encode(digest.as_bytes().get(..16).unwrap_or_default())
}

/// What a token says.
pub(crate) struct Claims<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service_account: &'a str,
    pub(crate) audience: &'a str,
    /// Seconds; negative for a token that has expired.
    pub(crate) ttl: i64,
    pub(crate) now: Timestamp,
}

/// A token in the form of Kubernetes' bound service-account tokens.
pub(crate) fn token(home: &Home, claims: &Claims<'_>) -> Result<String, Failure> {
    TokenIssuer::of(home)?.token(claims)
}

/// The issuer of a home, for one token or many.
pub(crate) struct TokenIssuer {
    key: EncodingKey,
    header: Header,
}

impl TokenIssuer {
    /// Reads the key.
    pub(crate) fn of(home: &Home) -> Result<Self, Failure> {
        let path = home.jwt_key();
        let doing = || {
            format!(
                "cannot read {}; start `sealwright dev` on this home once",
                path.display()
            )
        };
        let text = Zeroizing::new(fs::read(&path).or_fail_doing(Class::Usage, doing())?);
        let key = pem::decode_one(&[PRIVATE_KEY], &*text).or_fail_doing(Class::Usage, doing())?;
        let key = Zeroizing::new(key);
        let pair = KeyPair::try_from(key.as_slice()).or_fail_doing(Class::Usage, doing())?;
        Ok(Self {
            key: EncodingKey::from_ec_der(&key),
            header: Header {
                kid: Some(key_id(pair.public_key_raw())),
                ..Header::new(Algorithm::ES256)
            },
        })
    }

    pub(crate) fn token(&self, claims: &Claims<'_>) -> Result<String, Failure> {
        let now = claims.now.unix_seconds();
        let expires = now.saturating_add(claims.ttl);
        // A token that has expired was good for a minute before.
        let issued = now.min(expires.saturating_sub(60));
        let sa = claims.service_account;
        let namespace = claims.namespace;
        let body = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{namespace}:{sa}"),
            "aud": [claims.audience],
            "iat": issued,
            "nbf": issued,
            "exp": expires,
            "jti": format!("{}-{}", files::random_hex()?, files::random_hex()?),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": sa, "uid": uid(&["serviceaccount", namespace, sa]) },
                "pod": { "name": format!("{sa}-0"), "uid": uid(&["pod", namespace, sa]) },
            },
        });
        jsonwebtoken::encode(&self.header, &body, &self.key)
            .or_fail_doing(Class::Internal, "cannot sign the token")
    }
}

/// The same for the same name, in the form of a UUID.
fn uid(name: &[&str]) -> String {
    let digest = hex::encode(Digest::of(name.join("/").as_bytes()).as_bytes());
    let part = |range| digest.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Temporary;

    #[test]
    fn a_token_names_its_key_and_its_workload() {
        let folder = Temporary::beside(&std::env::temp_dir().join("sealwright-jwt")).unwrap();
        let home = Home::at(folder.path());
        make_issuer(&home).unwrap();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let made = |ttl| {
            let claims = Claims {
                namespace: "default",
                service_account: "web",
                audience: "istio-ca",
                ttl,
                now,
            };
            let token = token(&home, &claims).unwrap();
            let part = |at: usize| {
                let text = token.split('.').nth(at).unwrap().to_owned();
                serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
            };
            (part(0), part(1))
        };
        let (header, body) = made(3600);
        let set: serde_json::Value = serde_json::from_slice(&fs::read(home.jwks()).unwrap()).unwrap();
        assert_eq!(header["kid"], set["keys"][0]["kid"]);
        assert_eq!(body["sub"], "system:serviceaccount:default:web");
        assert_eq!(body["exp"], 1_800_003_600_i64);
        assert_eq!(body["iat"], 1_800_000_000_i64);
        let (_, expired) = made(-60);
        assert_eq!(expired["exp"], 1_799_999_940_i64);
        assert!(expired["nbf"].as_i64() < expired["exp"].as_i64());
    }
}
