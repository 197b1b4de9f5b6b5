//! Opening the token: one login, every issuer's key found once and compared with its chain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealwright_hsm::{
    Error as TokenError, KeySelector, KeySelectorError, Metrics, ModuleError, PinSource, Pkcs11Uri,
    PoolConfig, SessionPool, SignError, Token, TokenConfig, TokenSelector,
};
use sealwright_identity::Digest;
use tokio::sync::Semaphore;

use super::Ring;
use crate::config::{ConfigError, TokenSection, TokenSource};
use crate::issuers::Issuers;

/// What is needed to open the token, parsed.
#[derive(Clone, Debug)]
pub(crate) struct KeysConfig {
    token: TokenConfig,
    keys: BTreeMap<Arc<str>, (KeySelector, Digest)>,
    health: Option<KeySelector>,
    marker_dir: PathBuf,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The configuration does not name a token.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key's or token's URI cannot be read.
    #[error("{key}: {uri:?} cannot be used; write pkcs11:object=LABEL;id=%01")]
    Uri {
        /// The configuration key.
        key: String,
        /// Its value.
        uri: String,
        /// What is wrong with it.
        #[source]
        source: KeySelectorError,
    },
    /// The token, its PIN or one of its keys.
    #[error("{key}: it cannot be used; {fix}")]
    Token {
        /// The configuration key.
        key: String,
        /// What to do.
        fix: &'static str,
        /// What is wrong.
        #[source]
        source: Box<TokenError>,
    },
    /// The token is there, and signs nothing.
    #[error("the token is there but does not sign")]
    Ill(#[source] SignError),
    /// The key in the token is not the one of the certificate.
    #[error(
        "issuers.{issuer}.key: the token's key {key} has {found}, the chain's certificate has {expected}; name the right key or chain"
    )]
    Mismatch {
        /// The issuer.
        issuer: String,
        /// The key's URI.
        key: String,
        /// Digest of the public key in the token.
        found: Digest,
        /// Digest of the public key in the certificate.
        expected: Digest,
    },
}

impl KeysError {
    fn of_token(error: TokenError) -> Self {
        let (key, fix) = match &error {
            TokenError::Module(_) => ("gate.token.module", "name the PKCS#11 library of the token"),
            error if error.is_pin() => (
                "gate.token",
                "give the right PIN; `sealwright gate reset-pin` lets the same be tried again",
            ),
            _ => ("gate.token", "name a token that is there, and its PIN"),
        };
        Self::Token {
            key: key.into(),
            fix,
            source: Box::new(error),
        }
    }

    fn of_key(key: String, error: TokenError) -> Self {
        Self::Token {
            key,
            fix: "name exactly one key pair of the token: pkcs11:object=LABEL;id=%01",
            source: Box::new(error),
        }
    }

    /// Whether the PIN is at fault, so that nobody may simply start again.
    pub fn is_pin(&self) -> bool {
        matches!(self, Self::Token { source, .. } if source.is_pin())
    }

    /// Whether the token is there, and signs nothing.
    pub(crate) fn is_ill(&self) -> bool {
        matches!(self, Self::Ill(_))
    }

    /// Whether waiting may help: the token or its module is away or ill.
    pub(crate) fn may_pass(&self) -> bool {
        let error = match self {
            Self::Token { source, .. } => &**source,
            Self::Ill(_) => return true,
            _ => return false,
        };
        match error {
            TokenError::TokenAbsent { .. } | TokenError::Call { .. } => true,
            TokenError::Module(error) => !matches!(error, ModuleError::Load { .. }),
            TokenError::Pin { .. } => !error.is_pin(),
            TokenError::Marker(error) => error.may_pass(),
            _ => false,
        }
    }
}

impl KeysConfig {
    pub(crate) fn new(
        section: &TokenSection,
        issuers: &Issuers,
        marker_dir: &Path,
    ) -> Result<Self, KeysError> {
        let keys = issuers
            .iter()
            .map(|issuer| {
                let key = format!("issuers.{}.key", issuer.name);
                let selector = selector(key, &issuer.key)?;
                Ok((Arc::clone(&issuer.name), (selector, issuer.chain.key_digest())))
            })
            .collect::<Result<_, KeysError>>()?;
        let health = section
            .health_key
            .as_ref()
            .map(|uri| selector("gate.token.health_key".into(), uri))
            .transpose()?;
        Ok(Self {
            token: token_config(section)?,
            keys,
            health,
            marker_dir: marker_dir.to_owned(),
        })
    }
}

/// The section as the `hsm` crate wants it.
pub(crate) fn token_config(section: &TokenSection) -> Result<TokenConfig, KeysError> {
    let token = match section.source()? {
        TokenSource::Uri(uri) => {
            TokenSelector::Uri(uri.parse::<Pkcs11Uri>().map_err(|error| KeysError::Uri {
                key: "gate.token.uri".into(),
                uri: uri.to_owned(),
                source: error.into(),
            })?)
        }
        TokenSource::Label(label) => TokenSelector::Label(label.to_owned()),
        TokenSource::Serial(serial) => TokenSelector::Serial(serial.to_owned()),
    };
    let pin = match (&section.pin_file, section.pin_fd) {
        (Some(file), _) => PinSource::File(file.clone()),
        (None, Some(fd)) => PinSource::Fd(fd),
        (None, None) => PinSource::Prompt,
    };
    Ok(TokenConfig {
        sessions: section.sessions,
        queue: section.queue,
        deadline: section.deadline.get(),
        ..TokenConfig::new(section.module.clone(), token, pin)
    })
}

fn selector(key: String, uri: &str) -> Result<KeySelector, KeysError> {
    uri.parse().map_err(|source| KeysError::Uri {
        key,
        uri: uri.to_owned(),
        source,
    })
}

/// Opens the token and finds every key. Blocks: the module and a person at a prompt decide
/// for how long.
pub(crate) fn open(config: &KeysConfig, metrics: &Metrics) -> Result<Ring, KeysError> {
    let token = Token::open_with(&config.token, &config.marker_dir, metrics).map_err(KeysError::of_token)?;
    let mut keys = BTreeMap::new();
    for (issuer, (selector, expected)) in &config.keys {
        let key = token
            .find_key(selector)
            .map_err(|error| KeysError::of_key(format!("issuers.{issuer}.key"), error))?;
        let found = Digest::of(key.spki_der());
        if found != *expected {
            return Err(KeysError::Mismatch {
                issuer: issuer.to_string(),
                key: selector.to_string(),
                found,
                expected: *expected,
            });
        }
        keys.insert(Arc::clone(issuer), key);
    }
    let health = config
        .health
        .as_ref()
        .map(|selector| {
            token
                .find_health_key(selector)
                .map_err(|error| KeysError::of_key("gate.token.health_key".into(), error))
        })
        .transpose()?;
    let info = token.info().clone();
    let pool = PoolConfig::from(&config.token);
    // One place of the queue is kept for the health probe.
    let seats = pool.queue.saturating_sub(1).max(1);
    Ok(Ring {
        info,
        pool: SessionPool::start(token, pool, metrics.clone()),
        keys,
        health,
        seats: Arc::new(Semaphore::new(seats)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::error::{EXIT_CONFIG, EXIT_FAULT, GateError};

    #[test]
    fn a_token_that_does_not_sign_is_waited_for() {
        let ill = KeysError::Ill(SignError::Deadline);
        assert!(ill.is_ill() && ill.may_pass() && !ill.is_pin());
        let absent = KeysError::of_token(TokenError::TokenAbsent {
            selector: "t".into(),
            seen: Vec::new(),
        });
        assert!(absent.may_pass() && !absent.is_ill());
        // When it was waited for long enough, another process may try; the configuration is good.
        assert_eq!(GateError::from(ill).exit_code(), EXIT_FAULT);
        let wrong = KeysError::of_token(TokenError::KeySelector);
        assert!(!wrong.may_pass());
        assert_eq!(GateError::from(wrong).exit_code(), EXIT_CONFIG);
    }
}
