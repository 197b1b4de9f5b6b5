//! The JWT authenticator: tokens of one issuer, verified with the issuer's published keys.
//!
//! `jsonwebtoken` verifies the signature and nothing else. Which algorithms may be used,
//! which key fits, and every claim (RFC 7519 section 4.1; `exp nbf iat iss aud sub` are all
//! required) are decided here, against [`Clock`](sealwright_identity::Clock). `none` and the
//! HMAC family cannot be named by [`Algorithm`], so no token can choose them. The header's
//! `jku`, `jwk`, `x5u` and `x5c` are ignored; `crit` is refused (RFC 7515 section 4.1.11).
//!
//! What it cannot see: pods, accounts and nodes that were deleted after the token was made.
//! That is TokenReview's to tell.
//!
//! The token itself is in no error, no log line and no `Debug` output.

use http::HeaderMap;
use sealwright_identity::SharedClock;

use self::source::KeySource;
use super::bearer;
use super::caller::{Caller, Peer, Stamp, TokenEvidence};
use super::config::{JwtConfig, SubjectForm};
use super::failure::Unverified;
use super::trust::Trust;

pub use algorithm::Algorithm;
pub use claims::Error as ClaimsError;
pub use cluster_keys::Refuted;
pub use compact::Error as CompactError;
pub use fetch::Error as KeySourceError;
pub use keys::SelectError;
pub use source::Unavailable;
pub use subject::Error as SubjectError;

pub(super) use claims::Rules;
pub(super) use cluster_keys::ClusterKeys;
pub(super) use compact::Token;
pub(super) use fetch::is_fetchable;
pub(super) use subject::{is_dns_label, is_dns_subdomain, map as map_subject, service_account};

mod algorithm;
mod claims;
mod cluster_keys;
mod compact;
mod fetch;
mod keys;
mod source;
mod subject;

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token to look at, or more than one.
    #[error(transparent)]
    Bearer(#[from] bearer::Error),
    /// The token is not a JWT.
    #[error("the bearer token is not a usable JWT")]
    Compact(#[from] CompactError),
    /// The token is of another issuer.
    #[error("issuer {found} is not this authenticator's")]
    Issuer {
        /// The token's `iss`.
        found: Unverified,
    },
    /// The algorithm is unknown, insecure, or not one of the issuer's.
    #[error("signature algorithm {alg} is not accepted from this issuer")]
    Algorithm {
        /// The header's `alg`.
        alg: Unverified,
    },
    /// The issuer's keys could not be had, so the token was not judged.
    #[error("the issuer's keys are not available")]
    Keys(#[from] Unavailable),
    /// No key of the issuer is the token's.
    #[error("the token's key was not found among the issuer's")]
    Key(#[from] SelectError),
    /// The signature is wrong.
    #[error("the token's signature does not verify")]
    Signature,
    /// A claim is missing or refuses the token.
    #[error("the token's claims do not hold")]
    Claims(#[from] ClaimsError),
    /// The subject is no identity.
    #[error("the token's subject is not usable")]
    Subject(#[from] SubjectError),
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bearer(bearer::Error::Missing) => "token_missing",
            Self::Bearer(bearer::Error::Several { .. }) => "token_ambiguous",
            Self::Bearer(_) | Self::Compact(_) => "token_malformed",
            Self::Issuer { .. } => "token_issuer",
            Self::Algorithm { .. } => "token_algorithm",
            Self::Keys(_) => "token_keys_unavailable",
            Self::Key(_) => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Claims(error) => error.code(),
            Self::Subject(_) => "token_subject",
        }
    }
}

/// The authenticator.
#[derive(Debug)]
pub(super) struct Jwt {
    issuer: String,
    algorithms: Vec<Algorithm>,
    rules: Rules,
    subject: SubjectForm,
    trust: Trust,
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
            issuer: config.issuer.clone(),
            algorithms: config.algorithms.clone(),
            rules: Rules {
                audiences: config.audiences.clone(),
                clock_skew: config.clock_skew,
            },
            subject: config.subject,
            trust,
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
        let token = Token::parse(bearer::token(headers)?)?;
        // Before the keys: a token of another issuer must not make us fetch anything.
        let issuer = token.claims.iss.as_deref().unwrap_or_default();
        if issuer != self.issuer {
            let found = Unverified::new(issuer);
            return Err(Error::Issuer { found });
        }
        let algorithm = self.accepted_algorithm(&token)?;
        let key = self.keys.key(token.header.kid.as_deref(), algorithm).await?;
        if !key.verifies(algorithm, token.signed, &token.signature) {
            return Err(Error::Signature);
        }
        self.rules.check(&token.claims, self.clock.now())?;
        let (recognized, kubernetes) = subject::map(self.subject, &token.claims, &self.trust)?;
        let evidence = TokenEvidence {
            header_json: token.header_json,
            claims_json: token.claims_json,
        };
        Ok(Caller::by_token(stamp, recognized, kubernetes, evidence, peer))
    }

    pub(super) async fn reload(&self) -> Result<(), KeySourceError> {
        self.keys.reload().await
    }

    pub(super) async fn warm_up(&self) {
        self.keys.warm_up().await;
    }

    fn accepted_algorithm(&self, token: &Token<'_>) -> Result<Algorithm, Error> {
        let alg = &token.header.alg;
        Algorithm::from_name(alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| Error::Algorithm {
                alg: Unverified::new(alg),
            })
    }
}
