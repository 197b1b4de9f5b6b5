//! The bearer token of a request, out of its `authorization` metadata (RFC 6750).
//!
//! Like Istio, only values that begin with exactly `Bearer ` count and others, such as
//! `Basic`, are skipped. Unlike Istio, which takes the first, more than one is refused:
//! two tokens are two claims of who is calling.

use http::{HeaderMap, header::AUTHORIZATION};

/// Longer tokens are refused before they are decoded. A bound Kubernetes token has
/// about 1.1 KB.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

const SCHEME: &[u8] = b"Bearer ";

/// Why a request has no token that could be looked at.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No `authorization` value is a bearer token.
    #[error("no bearer token in the authorization metadata")]
    Missing,
    /// More than one bearer token.
    #[error("{count} bearer tokens in the authorization metadata, of which one at most is allowed")]
    Several {
        /// How many.
        count: usize,
    },
    /// The token is longer than any that could be good.
    #[error("bearer token of {bytes} bytes, above the limit of {MAX_TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The token has characters outside of ASCII.
    #[error("bearer token with characters that no token has")]
    NotText,
}

/// The one bearer token of a request.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Error> {
    let mut tokens = headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter_map(|value| value.as_bytes().strip_prefix(SCHEME));
    let token = tokens.next().ok_or(Error::Missing)?;
    let more = tokens.count();
    if more > 0 {
        return Err(Error::Several { count: more + 1 });
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::TooLong { bytes: token.len() });
    }
    std::str::from_utf8(token).map_err(|_| Error::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_only_bearer() {
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        let rows: [(&[&str], Result<&str, Error>); 9] = [
            (&["Bearer abc"], Ok("abc")),
            (&["Basic dXNlcjpwYXNz", "Bearer abc"], Ok("abc")),
            (&["Bearer abc", "Basic dXNlcjpwYXNz"], Ok("abc")),
            (&[], Err(Error::Missing)),
            (&["Basic dXNlcjpwYXNz"], Err(Error::Missing)),
            (&["bearer abc"], Err(Error::Missing)),
            (&["Istio abc"], Err(Error::Missing)),
            (&["Bearer abc", "Bearer abc"], Err(Error::Several { count: 2 })),
            (
                &[&long],
                Err(Error::TooLong {
                    bytes: MAX_TOKEN_BYTES + 1,
                }),
            ),
        ];
        for (values, expected) in rows {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(token(&headers), expected, "{values:?}");
        }
    }
}
