//! The verification of one issuer's tokens, in the order that costs least.

use std::fmt;
use std::sync::Arc;

use sealwright_identity::{Digest, Timestamp};

use crate::cache::Cache;
use crate::claims::Times;
use crate::keys::{Key, SelectError};
use crate::subject::{self, SubjectForm};
use crate::{
    Algorithm, ClaimsError, CompactError, KubernetesFacts, Recognized, Rules, SubjectError, Token, Trust,
    Unverified,
};

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
            Self::Compact(_) => "token_malformed",
            Self::Issuer { .. } => "token_issuer",
            Self::Algorithm { .. } => "token_algorithm",
            Self::Key(_) => "token_key_unknown",
            Self::Signature => "token_signature",
            Self::Claims(error) => error.code(),
            Self::Subject(_) => "token_subject",
        }
    }
}

/// What one issuer's tokens are held against.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `iss` of its tokens, compared as it stands.
    pub issuer: String,
    /// Signature algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Audiences, and how far ahead the issuer's clock may be.
    pub rules: Rules,
    /// How `sub` becomes an identity.
    pub subject: SubjectForm,
    /// Whose identities count.
    pub trust: Trust,
    /// Verified tokens that are kept; 0 keeps none.
    pub cache_entries: usize,
}

/// Verifies the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    cache: Cache<Verified>,
}

/// A token taken apart, of the right issuer and with an algorithm that is accepted. Not verified.
pub struct Candidate<'a> {
    token: Token<'a>,
    algorithm: Algorithm,
    digest: Digest,
}

/// What a verified token says.
#[derive(Debug)]
pub struct Verified {
    recognized: Recognized,
    kubernetes: Option<Arc<KubernetesFacts>>,
    evidence: Arc<TokenEvidence>,
    times: Times,
}

/// The verified token without its signature: evidence that cannot be replayed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEvidence {
    /// The JOSE header exactly as it was signed.
    pub header_json: String,
    /// The claims exactly as they were signed.
    pub claims_json: String,
}

impl Verifier {
    /// A verifier that has verified nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let cache = Cache::new(settings.cache_entries);
        Self { settings, cache }
    }

    /// The name of a token among those that were verified.
    #[must_use]
    pub fn digest(token: &str) -> Digest {
        Digest::of(token.as_bytes())
    }

    /// A token that a key of this generation has verified before; `None` when it has to be
    /// verified. Its times are held against `now`, as if it were new.
    ///
    /// # Errors
    /// When the token's time is over, or has not come by a clock that was set back.
    pub fn known(
        &self,
        token: &Digest,
        generation: u64,
        now: Timestamp,
    ) -> Result<Option<Arc<Verified>>, Error> {
        let Some(verified) = self.cache.get(token, generation) else {
            return Ok(None);
        };
        let judged = self.settings.rules.check_times(&verified.times, now);
        if let Err(error) = judged {
            self.cache.forget(token);
            return Err(error.into());
        }
        Ok(Some(verified))
    }

    /// Takes a token apart. Costs no signature: a token of another issuer is refused before
    /// anybody looks for its key.
    ///
    /// # Errors
    /// When the token is none, of another issuer, or of an algorithm that is not accepted.
    pub fn open<'a>(&self, text: &'a str, digest: Digest) -> Result<Candidate<'a>, Error> {
        let token = Token::parse(text)?;
        let issuer = token.claims().issuer().unwrap_or_default();
        if issuer != self.settings.issuer {
            let found = Unverified::new(issuer);
            return Err(Error::Issuer { found });
        }
        let algorithm = Algorithm::from_name(token.alg())
            .filter(|algorithm| self.settings.algorithms.contains(algorithm))
            .ok_or_else(|| Error::Algorithm {
                alg: Unverified::new(token.alg()),
            })?;
        Ok(Candidate {
            token,
            algorithm,
            digest,
        })
    }

    /// Verifies a token with the key that it names, and keeps it when it is good.
    ///
    /// # Errors
    /// When signature, claims or subject do not hold.
    pub fn verify(
        &self,
        candidate: Candidate<'_>,
        key: &Key,
        now: Timestamp,
    ) -> Result<Arc<Verified>, Error> {
        let Candidate {
            token,
            algorithm,
            digest,
        } = candidate;
        if !token.is_signed_by(key, algorithm) {
            return Err(Error::Signature);
        }
        let times = self.settings.rules.check(token.claims(), now)?;
        let (recognized, kubernetes) =
            subject::map(self.settings.subject, token.claims(), &self.settings.trust)?;
        let (header_json, claims_json) = token.into_json();
        let verified = Arc::new(Verified {
            recognized,
            kubernetes: kubernetes.map(Arc::new),
            evidence: Arc::new(TokenEvidence {
                header_json,
                claims_json,
            }),
            times,
        });
        self.cache.put(digest, key.generation(), Arc::clone(&verified));
        Ok(verified)
    }
}

impl Candidate<'_> {
    /// The key's name, if the token names one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.token.kid()
    }

    /// The token's algorithm, one of those that are accepted.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verified {
    /// The identity that the token names, of the primary trust domain.
    #[must_use]
    pub fn recognized(&self) -> &Recognized {
        &self.recognized
    }

    /// The workload behind a service account token.
    #[must_use]
    pub fn kubernetes(&self) -> Option<&Arc<KubernetesFacts>> {
        self.kubernetes.as_ref()
    }

    /// `exp`: from then on the token vouches for nobody.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.times.exp
    }

    /// Header and claims, as they were signed.
    #[must_use]
    pub fn evidence(&self) -> &Arc<TokenEvidence> {
        &self.evidence
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEvidence").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
