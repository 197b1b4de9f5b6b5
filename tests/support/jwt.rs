//! Tokens that `sealwright dev token` does not make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::Signer;

/// Makes tokens with a development home's own key, so that only what a test changes is wrong.
pub struct Forge {
    key: String,
    header: Value,
    claims: Value,
}

impl Forge {
    pub(crate) fn of(signer: &Signer) -> Self {
        let token = signer.token("default", "web");
        let part = |index: usize| -> Value {
            let text = token.split('.').nth(index).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        let key = std::fs::read_to_string(signer.home().join("jwt-issuer.key")).unwrap();
        Self {
            key,
            header: part(0),
            claims: part(1),
        }
    }

    /// The claims of a good token.
    pub fn claims(&self) -> Value {
        self.claims.clone()
    }

    /// A token with some claims put in or, where null, taken out.
    pub fn with(&self, changes: Value) -> String {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = self.header["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, &claims, &self.key()).unwrap()
    }

    /// A good token but for its key id.
    pub fn with_kid(&self, kid: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, &self.claims(), &self.key()).unwrap()
    }

    /// `alg: none`, with no signature.
    pub fn unsigned(&self) -> String {
        let header = json!({"alg": "none", "typ": "JWT", "kid": self.header["kid"]});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", encode(&header), encode(&self.claims))
    }

    /// HS256, keyed with the public key as everybody can fetch it.
    pub fn hmac_with_public_key(&self, public_key: &[u8]) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = self.header["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, &self.claims(), &EncodingKey::from_secret(public_key)).unwrap()
    }

    fn key(&self) -> EncodingKey {
        let key = rcgen::KeyPair::from_pem(&self.key).unwrap();
        EncodingKey::from_ec_der(&key.serialize_der())
    }
}
