//! The JWT authenticator: tokens of one issuer, verified with the issuer's published keys.
//!
//! What makes a token good is judged by `sealwright-jwt`; here are the keys, their source, and
//! the clock. A token that was verified with the key set in force is not verified again: it
//! costs a digest and a look-up, and its times are held against the clock once more.
//!
//! What it cannot see: pods, accounts and nodes that were deleted after the token was made.
//! That is TokenReview's to tell.
//!
//! The token itself is in no error, no log line and no `Debug` output.

use std::sync::Arc;

use http::HeaderMap;
use sealwright_identity::SharedClock;
use sealwright_jwt::{Error as TokenError, Rules, SelectError, Settings, Trust, Verified, Verifier};

use self::source::KeySource;
use super::bearer;
use super::caller::{Caller, Peer, Stamp};
use super::config::JwtConfig;

pub use cluster_keys::Refuted;
pub use fetch::Error as KeySourceError;
pub use source::Unavailable;

pub(super) use cluster_keys::ClusterKeys;
pub(super) use fetch::is_fetchable;

mod cluster_keys;
mod fetch;
mod source;

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token to look at, or more than one.
    #[error(transparent)]
    Bearer(#[from] bearer::Error),
    /// The issuer's keys could not be had, so the token was not judged.
    #[error("the issuer's keys are not available")]
    Keys(#[from] Unavailable),
    /// The token was judged.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bearer(bearer::Error::Missing) => "token_missing",
            Self::Bearer(bearer::Error::Several { .. }) => "token_ambiguous",
            Self::Bearer(_) => "token_malformed",
            Self::Keys(_) => "token_keys_unavailable",
            Self::Token(error) => error.code(),
        }
    }
}

impl From<SelectError> for Error {
    fn from(error: SelectError) -> Self {
        TokenError::Key(error).into()
    }
}

/// The authenticator.
#[derive(Debug)]
pub(super) struct Jwt {
    verifier: Verifier,
    keys: KeySource,
    clock: SharedClock,
}

impl Jwt {
    pub(super) fn new(
        name: &str,
        config: &JwtConfig,
        trust: Trust,
        clock: SharedClock,
    ) -> Result<Self, KeySourceError> {
        Ok(Self {
            verifier: Verifier::new(Settings {
                issuer: config.issuer.clone(),
                algorithms: config.algorithms.clone(),
                rules: Rules {
                    audiences: config.audiences.clone(),
                    clock_skew: config.clock_skew,
                },
                subject: config.subject,
                trust,
                cache_entries: config.cache_entries,
            }),
            keys: KeySource::new(name, config, clock.clone())?,
            clock,
        })
    }

    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        stamp: &Stamp,
    ) -> Result<Caller, Error> {
        let token = bearer::token(headers)?;
        let verified = self.verified(token).await?;
        let caller = Caller::by_token(
            stamp,
            verified.recognized().clone(),
            verified.kubernetes().cloned(),
            Arc::clone(verified.evidence()),
            peer,
            verified.expires_at(),
        );
        Ok(caller.handing_over(stamp, token))
    }

    async fn verified(&self, token: &str) -> Result<Arc<Verified>, Error> {
        let digest = Verifier::digest(token);
        if let Some(generation) = self.keys.generation()
            && let Some(known) = self.verifier.known(&digest, generation, self.clock.now())?
        {
            return Ok(known);
        }
        // A token of another issuer must not make us fetch anything.
        let candidate = self.verifier.open(token, digest)?;
        let key = self.keys.key(candidate.kid(), candidate.algorithm()).await?;
        Ok(self.verifier.verify(candidate, &key, self.clock.now())?)
    }

    pub(super) async fn reload(&self) -> Result<(), KeySourceError> {
        self.keys.reload().await
    }

    pub(super) async fn warm_up(&self) {
        self.keys.warm_up().await;
    }
}
