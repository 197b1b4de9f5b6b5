//! Why the front does not start, or ends.

use std::net::SocketAddr;

use sealwright_policy_wasm::{EngineError, HostError};
use sealwright_runtime::http::HttpError;
use sealwright_runtime::tls::TlsError;

use crate::authn::BuildError as AuthenticatorError;
use crate::catalog::CatalogError;
use crate::config::ConfigError;
use crate::policies::RolesError;

/// Why the front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting that does not fit another.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The policy engine.
    #[error("the policy engine did not start")]
    Engine(#[from] EngineError),
    /// The policy threads.
    #[error("the policy host did not start")]
    Host(#[from] HostError),
    /// Issuers or policies.
    #[error("issuers and policies cannot be loaded")]
    Catalog(#[from] CatalogError),
    /// Loading ended without a word.
    #[error("loading issuers and policies was cut off")]
    Interrupted,
    /// An authenticator.
    #[error("the authenticators cannot be built")]
    Authenticators(#[from] AuthenticatorError),
    /// An issuer admits callers of an authenticator that is not there.
    #[error(
        "issuers.{issuer}.authenticators: no authenticator is called {authenticator:?}; correct the name, or add it to [[authenticators]]"
    )]
    UnknownAuthenticator {
        /// The issuer.
        issuer: String,
        /// The missing authenticator.
        authenticator: String,
    },
    /// Roles that nobody can have.
    #[error("the roles of [[policy_roles]] cannot be used")]
    Roles(#[from] RolesError),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The gRPC port.
    #[error("cannot listen for gRPC on {address}; choose another server.listen")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP port.
    #[error("the HTTP port cannot be served")]
    Http(#[from] HttpError),
    /// Reflection cannot read our own descriptors.
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Why the front ended other than by being told.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The gRPC server.
    #[error("the gRPC server failed")]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP server.
    #[error("the HTTP server failed")]
    Http(#[from] HttpError),
}
