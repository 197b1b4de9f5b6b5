//! The client certificate authenticator: renewal with the certificate one has.
//!
//! The handshake proved that the peer holds the key; whether the certificate still
//! counts is decided here, for every request. rustls checks neither dates nor chain
//! again on resumption or on a kept connection, and the roots may have changed since.
//!
//! The identity is the single URI name of the certificate. Other kinds of names, the
//! subject included, never become identities. The text is never split: a comma makes
//! a name invalid, not two names.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sealwright_identity::{SharedClock, TrustBundle};
use sealwright_jwt::{Trust, TrustError, Unverified};
use tokio::sync::watch;

use self::chain::{ChainVerifier, Verified};
use super::caller::{Caller, Peer, Stamp};

mod cache;
mod chain;
mod leaf;

/// Why a client certificate was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection is not TLS.
    #[error("the connection is not TLS")]
    NoTls,
    /// The peer sent no certificate.
    #[error("no client certificate")]
    NoCertificate,
    /// More certificates than any chain of ours has.
    #[error("client certificate chain of {count} certificates, above the limit of {limit}", limit = chain::MAX_CHAIN)]
    TooManyCertificates {
        /// How many.
        count: usize,
    },
    /// A certificate of the chain cannot be read.
    #[error("client certificate chain is not readable")]
    Encoding(#[source] der::Error),
    /// The chain does not end at a root of the trust bundle, now, for client authentication.
    #[error("client certificate chain does not verify against trust bundle {generation}")]
    Chain {
        /// The generation of the trust bundle.
        generation: u64,
        /// What the verification says.
        #[source]
        source: webpki::Error,
    },
    /// The certificate is not for client authentication.
    #[error("client certificate lacks the extended key usage clientAuth")]
    Usage,
    /// There is not exactly one URI name.
    #[error("client certificate has {count} URI names, it must have exactly one")]
    UriNames {
        /// How many.
        count: usize,
    },
    /// The URI name is no identity of the trust domain.
    #[error("client certificate names {uri}")]
    Identity {
        /// The name in the certificate.
        uri: Unverified,
        /// What is wrong with it.
        #[source]
        source: TrustError,
    },
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTls => "client_certificate_no_tls",
            Self::NoCertificate => "client_certificate_missing",
            Self::TooManyCertificates { .. } | Self::Encoding(_) => "client_certificate_malformed",
            Self::Chain { .. } => "client_certificate_untrusted",
            Self::Usage => "client_certificate_usage",
            Self::UriNames { .. } | Self::Identity { .. } => "client_certificate_identity",
        }
    }
}

/// The authenticator.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    trust: Trust,
    verifier: ChainVerifier,
}

impl ClientCertificate {
    pub(super) fn new(trust: Trust, bundle: watch::Receiver<TrustBundle>, clock: SharedClock) -> Self {
        Self {
            trust,
            verifier: ChainVerifier::new(bundle, clock),
        }
    }

    pub(super) fn authenticate(&self, peer: &Peer, stamp: &Stamp) -> Result<Caller, Error> {
        let tls = peer.tls.as_ref().ok_or(Error::NoTls)?;
        let chain: &[CertificateDer<'static>] = &tls.chain;
        let verified: Arc<Verified> = self.verifier.verify(chain)?;
        // Not cached: the name is cheap to judge.
        let recognized = self
            .trust
            .recognize(&verified.uri)
            .map_err(|source| Error::Identity {
                uri: Unverified::new(&verified.uri),
                source,
            })?;
        let valid_until = verified.window.end();
        Ok(Caller::by_certificate(
            stamp,
            recognized,
            chain,
            peer,
            valid_until,
        ))
    }
}
