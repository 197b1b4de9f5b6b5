//! The keys that callers' tokens are verified with: pinned in the gate's own configuration.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use sealwright_identity::Timestamp;
use sealwright_jwt::{
    Algorithm, Error as TokenError, KeySet, NodeAccount, Rules, Settings, Trust, Verified, Verifier,
};

use crate::config::{CallerKind, VerifyCallerConfig};
use crate::issuers::{IssuersError, pinned_keys};

/// Every `[[gate.verify_caller]]`, loaded.
#[derive(Debug, Default)]
pub(super) struct Pins(Vec<Pin>);

/// One of them.
#[derive(Debug)]
pub(super) struct Pin {
    authenticator: String,
    cluster: Option<String>,
    pub(super) method: Method,
}

/// How callers are verified.
#[derive(Debug)]
pub(super) enum Method {
    Token(Box<Tokens>),
    ClientCertificate,
    Unverified,
}

/// The tokens of one issuer.
#[derive(Debug)]
pub(super) struct Tokens {
    authenticator: String,
    file: PathBuf,
    keys: RwLock<Arc<KeySet>>,
    verifier: Verifier,
    trusted: Vec<NodeAccount>,
}

/// Key sets that were read again, of which none counts yet.
#[must_use]
#[derive(Debug)]
pub(super) struct FreshPins<'p>(Vec<(&'p Tokens, Arc<KeySet>)>);

impl Pins {
    /// None: callers are not verified again.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads every key set.
    pub(super) fn load(configs: &[VerifyCallerConfig], trust: &Trust) -> Result<Self, IssuersError> {
        let pin = |config: &VerifyCallerConfig| {
            Ok(Pin {
                authenticator: config.authenticator.clone(),
                cluster: config.cluster.clone(),
                method: match config.kind {
                    CallerKind::Jwt => Method::Token(Box::new(Tokens::load(config, trust)?)),
                    CallerKind::ClientCertificate => Method::ClientCertificate,
                    CallerKind::Unverified => Method::Unverified,
                },
            })
        };
        configs.iter().map(pin).collect::<Result<_, _>>().map(Self)
    }

    /// Reads every key set again; until they are put, all stay as they were.
    pub(super) fn read_again(&self) -> Result<FreshPins<'_>, IssuersError> {
        let fresh = self.tokens().map(|tokens| {
            let keys = pinned_keys(&tokens.authenticator, &tokens.file)?;
            Ok((tokens, Arc::new(keys)))
        });
        fresh.collect::<Result<_, _>>().map(FreshPins)
    }

    /// Without any, the front is believed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, authenticator: &str, cluster: &str) -> Option<&Pin> {
        self.0.iter().find(|pin| {
            pin.authenticator == authenticator && pin.cluster.as_deref().is_none_or(|only| only == cluster)
        })
    }

    fn tokens(&self) -> impl Iterator<Item = &Tokens> {
        self.0.iter().filter_map(|pin| match &pin.method {
            Method::Token(tokens) => Some(&**tokens),
            _ => None,
        })
    }
}

impl FreshPins<'_> {
    /// From now on they count.
    pub(super) fn put(self) {
        for (tokens, keys) in self.0 {
            *tokens.keys.write() = keys;
        }
    }
}

impl Tokens {
    fn load(config: &VerifyCallerConfig, trust: &Trust) -> Result<Self, IssuersError> {
        let file = config.jwks_file.clone().unwrap_or_default();
        let keys = Arc::new(pinned_keys(&config.authenticator, &file)?);
        let algorithms = config.algorithms.clone();
        Ok(Self {
            authenticator: config.authenticator.clone(),
            file,
            keys: RwLock::new(keys),
            verifier: Verifier::new(Settings {
                issuer: config.issuer.clone().unwrap_or_default(),
                algorithms: algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec()),
                rules: Rules {
                    audiences: config.audiences.clone(),
                    clock_skew: config.clock_skew.get(),
                },
                subject: config.subject,
                trust: trust.clone(),
                cache_entries: config.cache_entries,
            }),
            trusted: config.trusted_node_accounts.clone(),
        })
    }

    /// What the token says, if it is good now.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Verified>, TokenError> {
        let keys = Arc::clone(&self.keys.read());
        let digest = Verifier::digest(token);
        if let Some(known) = self.verifier.known(&digest, keys.generation(), now)? {
            return Ok(known);
        }
        let candidate = self.verifier.open(token, digest)?;
        let key = keys.select(candidate.kid(), candidate.algorithm())?;
        self.verifier.verify(candidate, &key, now)
    }

    /// Whether the token is of an account that may act for others.
    pub(super) fn trusts(&self, verified: &Verified) -> bool {
        let facts = verified.kubernetes();
        facts.is_some_and(|facts| self.trusted.iter().any(|account| account.is_of(facts)))
    }
}
