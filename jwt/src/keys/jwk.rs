//! One JSON Web Key, and whether it can verify tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::{Key, Kind};
use crate::Algorithm;

/// The members of a key that are looked at (RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(rename = "key_ops")]
    operations: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    /// The key, if it can verify tokens.
    pub(super) fn into_key(self, generation: u64) -> Option<Key> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let for_verification = self
            .operations
            .is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !for_signatures || !for_verification {
            return None;
        }
        // An algorithm that is not ours makes the key not ours.
        let only = match &self.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let curve = self.crv.as_deref();
        let (kind, material) = match (self.kty.as_str(), curve) {
            ("RSA", _) => (Kind::Rsa, rsa(self.n.as_deref()?, self.e.as_deref()?)?),
            ("EC", Some("P-256")) => (Kind::P256, point(self.x.as_deref()?, self.y.as_deref()?, 32)?),
            ("EC", Some("P-384")) => (Kind::P384, point(self.x.as_deref()?, self.y.as_deref()?, 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = decode(self.x.as_deref()?).filter(|x| x.len() == 32)?;
                (Kind::Ed25519, DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        Some(Key {
            id: self.kid,
            generation,
            kind,
            only,
            material,
        })
    }
}

fn rsa(n: &str, e: &str) -> Option<DecodingKey> {
    let (n, e) = (decode(n)?, decode(e)?);
    // Some issuers write the sign octet that RFC 7518 section 6.3.1.1 tells them to leave out.
    let n = n.strip_prefix(&[0]).unwrap_or(&n);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    (2048..=8192)
        .contains(&bits)
        .then(|| DecodingKey::from_rsa_raw_components(n, &e))
}

/// An uncompressed point (SEC 1 section 2.3.3).
fn point(x: &str, y: &str, octets: usize) -> Option<DecodingKey> {
    let coordinate = |text| decode(text).filter(|value| value.len() == octets);
    let point = [&[4][..], &coordinate(x)?, &coordinate(y)?].concat();
    Some(DecodingKey::from_ec_der(&point))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
