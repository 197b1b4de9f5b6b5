//! The keys that a cluster publishes, used to refute tokens before its API server is asked.
//!
//! A review costs the cluster about a millisecond of its CPU, and any stranger can ask for one; a
//! signature costs us some microseconds. Only what is refuted counts: a good signature
//! proves nothing here, and without keys nothing is refuted.

use std::sync::Arc;

use sealwright_identity::SharedClock;
use sealwright_jwt::{Algorithm, Error as TokenError, SelectError, Token, Unverified};

use super::Error;
use super::source::KeySource;
use crate::authn::access::Access;

/// Why a token cannot be the cluster's.
#[derive(Debug, thiserror::Error)]
pub enum Refuted {
    /// No API server signs so.
    #[error("signature algorithm {alg} is none of a cluster's")]
    Algorithm {
        /// The header's `alg`.
        alg: Unverified,
    },
    /// No published key is the token's.
    #[error("the token's key was not found among the cluster's")]
    Key(#[source] SelectError),
    /// The signature is wrong.
    #[error("the token's signature does not verify")]
    Signature,
}

/// The published keys of one cluster.
#[derive(Clone, Debug)]
pub(in crate::authn) struct ClusterKeys(KeySource);

impl ClusterKeys {
    /// Asks nobody yet. `name` is for the log.
    pub(in crate::authn) fn new(name: &str, access: Arc<Access>, clock: SharedClock) -> Self {
        Self(KeySource::of_cluster(name, access, clock))
    }

    /// Refutes a token, if the keys do. May wait for them to be fetched.
    pub(in crate::authn) async fn refute(&self, token: &Token<'_>) -> Result<(), Refuted> {
        let alg = token.alg();
        let algorithm = Algorithm::from_name(alg).ok_or_else(|| Refuted::Algorithm {
            alg: Unverified::new(alg),
        })?;
        match self.0.key(token.kid(), algorithm).await {
            Ok(key) if token.is_signed_by(&key, algorithm) => Ok(()),
            Ok(_) => Err(Refuted::Signature),
            Err(Error::Token(TokenError::Key(source))) => Err(Refuted::Key(source)),
            Err(_no_keys) => Ok(()),
        }
    }
}
