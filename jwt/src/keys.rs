//! An issuer's key set (RFC 7517), and which of its keys is a token's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde::Deserialize;

use self::jwk::Jwk;
use crate::{Algorithm, Unverified};

mod jwk;

/// More keys than this are no issuer's key set.
const MAX_KEYS: usize = 256;

/// The generation of the set that is parsed next.
static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// Why a document is no key set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON of a key set.
    #[error("not a JWK set")]
    Json(#[source] serde_json::Error),
    /// Too many keys.
    #[error("{count} keys, above the limit of {MAX_KEYS}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// No key can verify a token: wrong kinds, sizes or uses.
    #[error(
        "none of the {count} keys can verify a token: RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519, with use \"sig\" or none, is needed"
    )]
    NoneUsable {
        /// How many keys were looked at.
        count: usize,
    },
}

/// Why no key of a set is a token's.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The set has no key of this id.
    #[error("no key has id {kid}")]
    UnknownId {
        /// The token's `kid`.
        kid: Unverified,
    },
    /// The key is of another kind than the algorithm, or made for another algorithm.
    #[error("key {kid} does not fit {algorithm}")]
    Unfit {
        /// The token's `kid`.
        kid: Unverified,
        /// The token's `alg`.
        algorithm: Algorithm,
    },
    /// The token names no key and none fits.
    #[error("the token names no key and none fits {algorithm}")]
    NoneFits {
        /// The token's `alg`.
        algorithm: Algorithm,
    },
    /// Several keys could be meant; none is tried.
    #[error("{count} keys could be the token's")]
    Ambiguous {
        /// How many.
        count: usize,
    },
}

impl SelectError {
    /// Whether a newer key set might have the key.
    #[must_use]
    pub fn may_be_rotation(&self) -> bool {
        matches!(self, Self::UnknownId { .. } | Self::NoneFits { .. })
    }
}

/// The usable keys of an issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    generation: u64,
}

/// One public key.
#[derive(Debug)]
pub struct Key {
    id: Option<String>,
    generation: u64,
    kind: Kind,
    /// The only algorithm that the issuer uses it with, when it says.
    only: Option<Algorithm>,
    material: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// Reads a key set. Keys that cannot verify a token are left out, as RFC 7517
    /// section 5 asks for.
    ///
    /// # Errors
    /// When the document is no key set, or none of its keys is usable.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let document: Document = serde_json::from_slice(json).map_err(Error::Json)?;
        let count = document.keys.len();
        if count > MAX_KEYS {
            return Err(Error::TooMany { count });
        }
        let generation = NEXT_GENERATION.fetch_add(1, Ordering::Relaxed);
        let usable = |value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            jwk.into_key(generation)
        };
        let keys: Vec<_> = document
            .keys
            .into_iter()
            .filter_map(usable)
            .map(Arc::new)
            .collect();
        if keys.is_empty() {
            return Err(Error::NoneUsable { count });
        }
        Ok(Self { keys, generation })
    }

    /// Usable keys; never none.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a set without a usable key is not made"
    )]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Grows with every set that this process reads, and is no other's.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The one key that a token with this `kid` and `alg` can have been signed with.
    ///
    /// # Errors
    /// When none fits, or several do.
    pub fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, SelectError> {
        let named = |key: &&Arc<Key>| kid.is_none() || key.id.as_deref() == kid;
        let mut fitting = self.keys.iter().filter(named).filter(|key| key.fits(algorithm));
        let Some(key) = fitting.next() else {
            let unverified = |kid| Unverified::new(kid);
            return Err(match kid {
                None => SelectError::NoneFits { algorithm },
                Some(kid) if self.keys.iter().any(|key| key.id.as_deref() == Some(kid)) => {
                    let kid = unverified(kid);
                    SelectError::Unfit { kid, algorithm }
                }
                Some(kid) => SelectError::UnknownId { kid: unverified(kid) },
            });
        };
        match fitting.count() {
            0 => Ok(Arc::clone(key)),
            more => Err(SelectError::Ambiguous { count: more + 1 }),
        }
    }
}

impl Key {
    /// Of the set that the key is in.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether `signature` is this key's over `signed`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        // The provider by name: the library's own choice panics when features of another
        // crate's making leave it two to choose from.
        let factory = DEFAULT_PROVIDER.verifier_factory;
        self.fits(algorithm)
            && factory(&algorithm.in_library(), &self.material)
                .is_ok_and(|verifier| verifier.verify(signed, &signature.to_vec()).is_ok())
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
        };
        self.kind == kind && self.only.is_none_or(|only| only == algorithm)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}
