//! The TokenReview authenticator: the API server of the caller's cluster judges the token.
//!
//! Unlike the JWT authenticator it sees pods, accounts and nodes that are gone. The token is
//! looked at here first, unverified, and what no API server could make good is refused without
//! asking: one review costs the cluster more than a certificate costs us. The answer is then
//! held against the token's own claims ([`verdict`]): `authenticated: true` alone proves nothing.
//!
//! Good answers are kept for a short time and never past `exp`; that time adds to how long a
//! deleted pod's token stays good. Refusals are not kept. One review runs for one token, however
//! many callers wait for it; reviews at a time, and callers that wait, are bounded per cluster.
//!
//! The token itself is in no error, no log line and no `Debug` output. `kube`'s and
//! `k8s-openapi`'s own types for a review would print it, so they are not used for the question.

use std::sync::Arc;

use http::HeaderMap;
use sealwright_identity::SharedClock;
use sealwright_jwt::{ClaimsError, CompactError, Rules, SubjectError, Token, Trust, Unverified, map_subject};

use self::clusters::{Cluster, Clusters};
use super::access;
use super::bearer;
use super::caller::{Caller, Peer, TokenEvidence};
use super::config::{AuthenticatorConfig, ClusterConfig, TokenReviewConfig};

pub use clusters::Error as ClusterError;
pub use desk::Error as ReviewError;
pub use question::Error as QuestionError;
pub use verdict::Error as VerdictError;

mod cache;
mod clusters;
mod desk;
mod question;
mod verdict;

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token to look at, or more than one.
    #[error(transparent)]
    Bearer(#[from] bearer::Error),
    /// The token has characters that no JWT has. An API server may overlook them.
    #[error("the bearer token has characters that no token has")]
    Characters,
    /// The token is not a JWT.
    #[error("the bearer token is not a usable JWT")]
    Compact(#[from] CompactError),
    /// A claim is missing or refuses the token.
    #[error("the token's claims do not hold")]
    Claims(#[from] ClaimsError),
    /// The subject is no service account, or contradicts the other claims.
    #[error("the token's subject is not usable")]
    Subject(#[from] SubjectError),
    /// No cluster is meant, or none that is known.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The token is of another issuer than the cluster's.
    #[error("issuer {found} is not that of cluster {cluster:?}")]
    Issuer {
        /// The token's `iss`.
        found: Unverified,
        /// The cluster.
        cluster: Arc<str>,
    },
    /// The API server refused the token, or did not judge it.
    #[error("cluster {cluster:?}")]
    Review {
        /// The cluster.
        cluster: Arc<str>,
        /// What came of it.
        #[source]
        source: Arc<ReviewError>,
    },
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bearer(bearer::Error::Missing) => "token_missing",
            Self::Bearer(bearer::Error::Several { .. }) => "token_ambiguous",
            Self::Bearer(_) | Self::Characters | Self::Compact(_) => "token_malformed",
            Self::Claims(error) => error.code(),
            Self::Subject(_) => "token_subject",
            Self::Cluster(_) => "token_cluster",
            Self::Issuer { .. } => "token_issuer",
            Self::Review { source, .. } => source.code(),
        }
    }

    /// Whether the token was never judged, for reasons that are not the caller's.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Review { source, .. } if source.is_unavailable())
    }
}

/// The authenticator.
#[derive(Debug)]
pub(super) struct TokenReview {
    rules: Rules,
    clusters: Clusters,
    trust: Trust,
    clock: SharedClock,
}

impl TokenReview {
    /// Reads the clusters' files; asks nobody.
    pub(super) fn new(
        authenticator: &AuthenticatorConfig,
        config: &TokenReviewConfig,
        trust: Trust,
        clock: SharedClock,
    ) -> Result<Self, BuildError> {
        let cluster = |cluster: &ClusterConfig| {
            Cluster::new(authenticator, config, cluster, &clock).map_err(|source| BuildError {
                cluster: cluster.id.clone(),
                source,
            })
        };
        let clusters = config.clusters.iter().map(cluster).collect::<Result<_, _>>()?;
        Ok(Self {
            rules: Rules {
                audiences: config.audiences.clone(),
                clock_skew: config.clock_skew,
            },
            clusters: Clusters::new(clusters),
            trust,
            clock,
        })
    }

    pub(super) async fn authenticate(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Error> {
        let text = bearer::token(headers)?;
        if !text.bytes().all(is_token_byte) {
            return Err(Error::Characters);
        }
        let token = Token::parse(text)?;
        self.rules.check(token.claims(), self.clock.now())?;
        let (recognized, claimed) = map_subject(Default::default(), token.claims(), &self.trust)?;
        let claimed = claimed.ok_or(Error::Subject(SubjectError::Missing))?;
        let cluster = self.clusters.choose(headers)?;
        cluster.check_issuer(token.claims().issuer().unwrap_or_default())?;

        let expires_at = token.claims().expires_at().unwrap_or_else(|| self.clock.now());
        let reviewed = cluster.desk.review(text, claimed, expires_at).await;
        let facts = reviewed.map_err(|source| Error::Review {
            cluster: Arc::clone(&cluster.id),
            source,
        })?;
        // The API server may have taken its time.
        self.rules.check(token.claims(), self.clock.now())?;
        let (header_json, claims_json) = token.into_json();
        let evidence = Arc::new(TokenEvidence {
            header_json,
            claims_json,
        });
        let caller = Caller::by_token(
            &cluster.stamp,
            recognized,
            Some(facts),
            evidence,
            peer,
            expires_at,
        );
        Ok(caller.handing_over(&cluster.stamp, text))
    }

    /// Reads every kubeconfig again and forgets all answers. The first failure is returned,
    /// after all were read; where one fails the client before stays.
    pub(super) async fn reload(&self) -> Result<(), BuildError> {
        let mut outcome = Ok(());
        for cluster in self.clusters.iter() {
            if let Err(source) = cluster.desk.reload().await {
                let cluster = cluster.id.to_string();
                outcome = outcome.and(Err(BuildError { cluster, source }));
            }
        }
        outcome
    }
}

/// A cluster that cannot be asked as configured.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster:?} cannot be reached as configured")]
pub struct BuildError {
    cluster: String,
    #[source]
    source: access::Error,
}

/// What base64url and the dots between are made of (RFC 7515 section 2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
