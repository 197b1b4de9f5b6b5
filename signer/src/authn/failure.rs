//! Why nobody vouched for a caller: opaque to the peer, exact to the operator.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

pub use sealwright_jwt::Unverified;

use super::{client_cert, jwt, token_review};

/// Why one authenticator did not vouch for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection's client certificate was not accepted.
    #[error("client certificate not accepted")]
    ClientCertificate(#[from] client_cert::Error),
    /// The request's token was not accepted.
    #[error("token not accepted")]
    Token(#[from] jwt::Error),
    /// The request's token was not vouched for by its cluster.
    #[error("token not reviewed as good")]
    Review(#[from] token_review::Error),
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClientCertificate(error) => error.code(),
            Self::Token(error) => error.code(),
            Self::Review(error) => error.code(),
        }
    }

    /// Whether the credential was never judged: the issuer's key set is away, or the
    /// cluster's API server. The caller may be honest.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Token(error) => matches!(error, jwt::Error::Keys(_)),
            Self::Review(error) => error.is_unavailable(),
            Self::ClientCertificate(_) => false,
        }
    }
}

/// No authenticator vouched for the caller.
///
/// `Display` is the fixed text for the peer. [`reasons`](Self::reasons) is for the log;
/// it holds names, times and identifiers out of the credentials, never a token.
#[derive(Debug, thiserror::Error)]
#[error("request authentication failed")]
pub struct AuthenticationFailure {
    peer: SocketAddr,
    failures: Vec<(String, Error)>,
}

impl AuthenticationFailure {
    pub(super) fn new(peer: SocketAddr, failures: Vec<(String, Error)>) -> Self {
        Self { peer, failures }
    }

    /// A failure for want of keys, for the tests of what comes after one.
    #[cfg(test)]
    pub(crate) fn away() -> Self {
        let keys = jwt::Unavailable::Never(None);
        let failures = vec![("kubernetes".to_owned(), Error::Token(keys.into()))];
        Self::new(SocketAddr::from(([192, 0, 2, 7], 4000)), failures)
    }

    /// The address that the request came from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The authenticators' names and errors, in the order they were asked.
    #[must_use]
    pub fn failures(&self) -> &[(String, Error)] {
        &self.failures
    }

    /// Whether some credential was never judged, see [`Error::is_unavailable`].
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.failures.iter().any(|(_, error)| error.is_unavailable())
    }

    /// Every failure with its causes, `name: error: cause; name: …`.
    #[must_use]
    pub fn reasons(&self) -> String {
        if self.failures.is_empty() {
            return "no authenticator is configured".to_owned();
        }
        let mut text = String::new();
        for (index, (name, error)) in self.failures.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{gap}{name}: {}", Causes(error));
        }
        text
    }
}

/// An error and its sources on one line.
pub(super) struct Causes<'a>(pub(super) &'a dyn std::error::Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
