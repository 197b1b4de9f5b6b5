//! Who is asking: the authenticators of the signer.
//!
//! Each configured authenticator looks at the request's metadata and at its
//! connection and either vouches for a [`Caller`] or says why not. They are asked
//! in the order of the configuration and the first success wins; every failure is
//! kept for the log, and the peer is told nothing of it ([`AuthenticationFailure`]).
//!
//! This is not authorization: what a caller may have is decided by the ceiling and
//! the policies. Nor does it read the request's body.
//!
//! The invariant: a [`Caller`] is made here and nowhere else, always with at least
//! one identity, and every identity is of the primary trust domain.

pub(crate) mod access;
mod bearer;
mod caller;
mod client_cert;
pub mod config;
mod failure;
mod jwt;
#[cfg(test)]
mod tests;
mod token_review;

use http::HeaderMap;
use sealwright_identity::{SharedClock, TrustBundle};
use tokio::sync::watch;

pub use access::Error as AccessError;
pub use bearer::Error as BearerError;
pub use caller::{AuthSource, Caller, KubernetesFacts, ObjectRef, Peer, PeerTls, Renewal, TokenEvidence};
pub use client_cert::Error as ClientCertificateError;
pub use config::AuthenticatorConfig;
pub use failure::{AuthenticationFailure, Error, Unverified};
pub use jwt::{Error as TokenError, KeySourceError, Refuted, Unavailable};
pub use sealwright_jwt::{ClaimsError, CompactError, SelectError, SubjectError, Trust, TrustError};
pub use token_review::{
    BuildError as ClusterBuildError, ClusterError, Error as TokenReviewError, QuestionError, ReviewError,
    VerdictError,
};

use caller::Stamp;
use client_cert::ClientCertificate;
use config::AuthenticatorKind;
use jwt::Jwt;
use token_review::TokenReview;

/// The authenticators of one signer, in the order of its configuration.
#[derive(Debug)]
pub struct Authenticators {
    entries: Vec<Entry>,
}

/// Why the authenticators could not be made. The configuration is at fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Two authenticators have one name, so issuers could not tell them apart.
    #[error("two authenticators are named {name:?}: give each [[authenticators]] a `name` of its own")]
    DuplicateName {
        /// The name that is used twice.
        name: String,
    },
    /// The key source of a `jwt` authenticator is unusable.
    #[error("authenticator {name:?} cannot be built")]
    Keys {
        /// The authenticator's name.
        name: String,
        /// What is wrong with its key source.
        #[source]
        source: KeySourceError,
    },
    /// A cluster of a `token-review` authenticator cannot be asked as configured.
    #[error("authenticator {name:?} cannot be built")]
    Cluster {
        /// The authenticator's name.
        name: String,
        /// Which cluster, and why.
        #[source]
        source: ClusterBuildError,
    },
}

/// Why something could not be read again. What was read before stays in place.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A JWKS file.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
    /// A kubeconfig.
    #[error(transparent)]
    Cluster(#[from] ClusterBuildError),
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    method: Method,
}

/// What an authenticator looks at.
#[derive(Debug)]
enum Method {
    ClientCertificate(ClientCertificate),
    Jwt(Box<Jwt>),
    TokenReview(Box<TokenReview>),
}

impl Authenticators {
    /// Makes the authenticators of `configs`.
    ///
    /// JWKS files and kubeconfigs are read here; nothing is asked over the network, so a
    /// signer starts while a token issuer or an API server is away. `bundle` is read for every request.
    ///
    /// # Errors
    /// When two authenticators share a name, or a JWKS file, CA file or kubeconfig is missing or unusable.
    pub fn build(
        configs: &[AuthenticatorConfig],
        trust: Trust,
        bundle: watch::Receiver<TrustBundle>,
        clock: SharedClock,
    ) -> Result<Self, BuildError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.name.clone();
            if entries.iter().any(|entry| *entry.stamp.authenticator == *name) {
                return Err(BuildError::DuplicateName { name });
            }
            let method =
                match &config.kind {
                    AuthenticatorKind::ClientCertificate => Method::ClientCertificate(
                        ClientCertificate::new(trust.clone(), bundle.clone(), clock.clone()),
                    ),
                    AuthenticatorKind::Jwt(jwt) => Jwt::new(&name, jwt, trust.clone(), clock.clone())
                        .map(|jwt| Method::Jwt(Box::new(jwt)))
                        .map_err(|source| BuildError::Keys { name, source })?,
                    AuthenticatorKind::TokenReview(review) => {
                        TokenReview::new(config, review, trust.clone(), clock.clone())
                            .map(|review| Method::TokenReview(Box::new(review)))
                            .map_err(|source| BuildError::Cluster { name, source })?
                    }
                };
            let stamp = Stamp::new(&config.name, &config.attributes, config.hands_over);
            entries.push(Entry { stamp, method });
        }
        Ok(Self { entries })
    }

    /// Finds out who sent a request with `headers` over the connection of `peer`.
    ///
    /// May wait for a token issuer's keys, at most for the fetch's own deadline.
    ///
    /// # Errors
    /// When no authenticator vouches for the caller. The failure's `Display` is what
    /// an unauthenticated peer may see; its reasons are for the log alone.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Caller, AuthenticationFailure> {
        let mut failures = Vec::new();
        for Entry { stamp, method } in &self.entries {
            let result = match method {
                Method::ClientCertificate(method) => method.authenticate(peer, stamp).map_err(Error::from),
                Method::Jwt(method) => method
                    .authenticate(headers, peer, stamp)
                    .await
                    .map_err(Error::from),
                // The stamp is the cluster's.
                Method::TokenReview(method) => method.authenticate(headers, peer).await.map_err(Error::from),
            };
            match result {
                Ok(caller) => return Ok(caller),
                Err(error) => failures.push((stamp.authenticator.to_string(), error)),
            }
        }
        Err(AuthenticationFailure::new(peer.addr, failures))
    }

    /// Reads every JWKS file and kubeconfig again, as on SIGHUP. A file that cannot be used
    /// leaves what was read before in place and is reported with its authenticator's name.
    pub async fn reload(&self) -> Vec<(String, ReloadError)> {
        let mut failed = Vec::new();
        for Entry { stamp, method } in &self.entries {
            let outcome = match method {
                Method::ClientCertificate(_) => Ok(()),
                Method::Jwt(method) => method.reload().await.map_err(ReloadError::from),
                Method::TokenReview(method) => method.reload().await.map_err(ReloadError::from),
            };
            if let Err(error) = outcome {
                failed.push((stamp.authenticator.to_string(), error));
            }
        }
        failed
    }

    /// Fetches the keys of every token issuer that has none yet, so that the first
    /// caller need not wait. Failures are logged and tried again on demand.
    pub async fn warm_up(&self) {
        for Entry { method, .. } in &self.entries {
            if let Method::Jwt(method) = method {
                method.warm_up().await;
            }
        }
    }

    /// The names in the order they are asked.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.stamp.authenticator)
    }
}
