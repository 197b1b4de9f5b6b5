//! The compact serialization of a signed token (RFC 7515 section 7.1), taken apart.
//!
//! Nothing that comes out of here has been verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::Algorithm;
use crate::claims::Claims;
use crate::keys::Key;

/// Why a text is not a signed token that could be verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not three parts. An encrypted token has five, an unsigned one an empty last.
    #[error("a signed token has three parts, none of them empty")]
    Parts,
    /// A part is not base64url without padding (RFC 7515 section 2).
    #[error("the token's {part} is not base64url")]
    Base64 {
        /// Header, claims or signature.
        part: &'static str,
    },
    /// A part is not the JSON that it has to be, or has a member twice.
    #[error("the token's {part} is not readable")]
    Json {
        /// Header or claims.
        part: &'static str,
        /// Where and why; it never quotes the token.
        #[source]
        source: JsonError,
    },
    /// The header names extensions that must be understood; none are.
    #[error("the token's header has \"crit\"")]
    Critical,
}

/// Where JSON cannot be read, without quoting any of it.
#[derive(Debug, thiserror::Error)]
#[error("{kind} error in column {column}")]
pub struct JsonError {
    kind: &'static str,
    column: usize,
}

/// A token taken apart. Nothing of it is verified.
pub struct Token<'a> {
    /// What the signature is over.
    signed: &'a [u8],
    header: Header,
    claims: Claims,
    signature: Vec<u8>,
    header_json: String,
    claims_json: String,
}

/// The members of a header that are looked at (RFC 7515 section 4.1). All others, such
/// as `jku`, `jwk` and `x5u`, are ignored: keys come from the configuration alone.
#[derive(Debug, serde::Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When the text is not a signed token in the compact serialization.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Error::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Parts)?;
        let empty = header.is_empty() || claims.is_empty() || signature.is_empty();
        if empty || claims.contains('.') {
            return Err(Error::Parts);
        }
        let header_json = decode_text(header, "header")?;
        let claims_json = decode_text(claims, "claims")?;
        let header: Header = from_json(&header_json, "header")?;
        if header.crit {
            return Err(Error::Critical);
        }
        Ok(Self {
            signed: signed.as_bytes(),
            header,
            claims: from_json(&claims_json, "claims")?,
            signature: decode(signature, "signature")?,
            header_json,
            claims_json,
        })
    }

    /// The algorithm's name in the header.
    #[must_use]
    pub fn alg(&self) -> &str {
        &self.header.alg
    }

    /// The key's name in the header.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The claims that are looked at.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Whether the signature is this key's.
    #[must_use]
    pub fn is_signed_by(&self, key: &Key, algorithm: Algorithm) -> bool {
        key.verifies(algorithm, self.signed, &self.signature)
    }

    /// Header and claims, as they were signed.
    #[must_use]
    pub fn into_json(self) -> (String, String) {
        (self.header_json, self.claims_json)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Base64 { part })
}

fn decode_text(text: &str, part: &'static str) -> Result<String, Error> {
    String::from_utf8(decode(text, part)?).map_err(|error| Error::Json {
        part,
        source: JsonError {
            kind: "UTF-8",
            column: error.utf8_error().valid_up_to(),
        },
    })
}

/// What is looked at; and the rest is read too, since all of it goes into records: a member that nobody
/// looks at may not be one that nobody can read, such as half a surrogate pair.
fn from_json<T: serde::de::DeserializeOwned>(text: &str, part: &'static str) -> Result<T, Error> {
    let looked_at = serde_json::from_str(text).and_then(|found| {
        serde_json::from_str::<serde_json::Value>(text)?;
        Ok(found)
    });
    looked_at.map_err(|error| Error::Json {
        part,
        source: JsonError {
            kind: match error.classify() {
                serde_json::error::Category::Data => "data",
                _ => "syntax",
            },
            column: error.column(),
        },
    })
}

/// True for a member that is there, whatever its value, `null` included.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_member_can_be_read() {
        let parse = |header: &str, claims: &str| {
            let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            Token::parse(&format!("{header}.{claims}.AA")).map(|_| ())
        };
        let header = r#"{"alg":"ES256"}"#;
        let claims = r#"{"iss":"https://issuer.example","more":{"number":1e3,"text":"\ud83d\ude00"}}"#;
        parse(header, claims).unwrap();
        for broken in [
            r#"{"alg":"ES256","typ":"J\ud800WT"}"#,
            r#"{"alg":"ES256","more":{"deep":["\udc00"]}}"#,
            r#"{"alg":"ES256","more":1e400}"#,
        ] {
            assert!(
                matches!(parse(broken, claims), Err(Error::Json { .. })),
                "{broken}"
            );
            let claims = broken.replace("alg", "iss");
            assert!(
                matches!(parse(header, &claims), Err(Error::Json { .. })),
                "{claims}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,200}", header in ".{0,60}", claims in ".{0,60}") {
            let _ = Token::parse(&text);
            let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            let _ = Token::parse(&format!("{header}.{claims}.AA"));
        }

        #[test]
        fn never_quotes_what_it_refuses(secret in "[a-z]{12,30}") {
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
            let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":"{secret}"}}"#));
            let error = Token::parse(&format!("{header}.{claims}.AA")).unwrap_err();
            let shown = format!("{error:?} {error}");
            prop_assert!(!shown.contains(&secret));
        }
    }
}
