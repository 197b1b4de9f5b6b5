//! Named entities for the authenticators' tests: a clock, a PKI, token issuers, a server.

pub(in crate::authn) mod api_server;
pub(in crate::authn) mod pki;
pub(in crate::authn) mod server;
pub(in crate::authn) mod tokens;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sealwright_identity::{ManualClock, Timestamp, TrustBundle};
use tokio::sync::watch;

use crate::authn::{
    AuthenticationFailure, AuthenticatorConfig, Authenticators, Caller, Peer, PeerTls, Trust,
};

/// The time at which every test begins.
pub(super) const NOW: i64 = 1_795_341_600;

pub(super) fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_unix_seconds(NOW))
}

pub(super) fn trust() -> Trust {
    Trust {
        domain: "cluster.local".parse().unwrap(),
        aliases: vec!["old.example".parse().unwrap()],
    }
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Authenticators out of the TOML of their sections.
pub(super) struct Fixture {
    pub(super) clock: ManualClock,
    pub(super) bundle: watch::Sender<TrustBundle>,
    pub(super) authenticators: Authenticators,
}

impl Fixture {
    pub(super) fn new(toml: &str, roots: &[Vec<u8>]) -> Self {
        let clock = clock();
        let (bundle, receiver) = watch::channel(TrustBundle::from_ders(1, roots.iter().cloned()));
        let authenticators =
            Authenticators::build(&sections(toml), trust(), receiver, Arc::new(clock.clone())).unwrap();
        Self {
            clock,
            bundle,
            authenticators,
        }
    }

    pub(super) async fn by_chain(&self, chain: &[Vec<u8>]) -> Result<Caller, AuthenticationFailure> {
        self.authenticators
            .authenticate(&HeaderMap::new(), &tls_peer(chain))
            .await
    }

    pub(super) async fn by_token(&self, token: &str) -> Result<Caller, AuthenticationFailure> {
        self.authenticators
            .authenticate(&authorization(&[&format!("Bearer {token}")]), &tls_peer(&[]))
            .await
    }
}

pub(super) fn sections(toml: &str) -> Vec<AuthenticatorConfig> {
    try_sections(toml).unwrap()
}

pub(super) fn try_sections(toml: &str) -> Result<Vec<AuthenticatorConfig>, toml::de::Error> {
    #[derive(serde::Deserialize)]
    struct File {
        authenticators: Vec<AuthenticatorConfig>,
    }
    toml::from_str::<File>(toml).map(|file| file.authenticators)
}

pub(super) fn authorization(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

pub(super) fn tls_peer(chain: &[Vec<u8>]) -> Peer {
    let chain = chain.iter().map(|der| der.clone().into()).collect();
    Peer {
        tls: Some(PeerTls { chain }),
        ..plaintext_peer()
    }
}

pub(super) fn plaintext_peer() -> Peer {
    Peer {
        addr: "192.0.2.7:40000".parse().unwrap(),
        tls: None,
    }
}

/// The metric word of a failure's only reason.
pub(super) fn code(result: Result<Caller, AuthenticationFailure>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(failure) => {
            assert_eq!(failure.to_string(), "request authentication failed");
            assert_eq!(failure.failures().len(), 1, "{}", failure.reasons());
            failure.failures()[0].1.code()
        }
    }
}
