//! The registered claims of a token (RFC 7519 section 4.1), judged against the clock.

use std::time::Duration;

use sealwright_identity::Timestamp;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::Unverified;
use crate::subject::KubernetesClaim;

/// The claims that are looked at. A member that is there twice is refused.
#[derive(Debug, Deserialize)]
pub struct Claims {
    iss: Option<String>,
    pub(crate) sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: Option<KubernetesClaim>,
}

impl Claims {
    /// `iss`, if the token has one.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.iss.as_deref()
    }

    /// `exp`, if the token has one.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.exp.map(|date| date.0)
    }
}

/// What an issuer's tokens have to satisfy.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A token must be for one of these.
    pub audiences: Vec<String>,
    /// How far ahead of ours the issuer's clock may be.
    pub clock_skew: Duration,
}

/// When a token is good. All three are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub(crate) exp: Timestamp,
    nbf: Timestamp,
    iat: Timestamp,
}

/// Why claims do not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A required claim is not there.
    #[error("claim {claim:?} is missing")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// The token's time is over.
    #[error("token expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The token's time has not come.
    #[error("token is valid from {at}, it is {now}")]
    NotYetValid {
        /// `nbf`.
        at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The token comes from the future.
    #[error("token was issued at {at}, it is {now}")]
    IssuedInFuture {
        /// `iat`.
        at: Timestamp,
        /// Our clock.
        now: Timestamp,
    },
    /// The token ends before it begins.
    #[error("token expires at {exp}, which is not after its beginning at {nbf}")]
    NeverValid {
        /// `nbf`.
        nbf: Timestamp,
        /// `exp`.
        exp: Timestamp,
    },
    /// The token is for somebody else.
    #[error("audience {found} is not one of ours")]
    Audience {
        /// The token's `aud`, joined.
        found: Unverified,
    },
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::NeverValid { .. } => "token_claims",
            Self::Expired { .. } => "token_expired",
            Self::NotYetValid { .. } | Self::IssuedInFuture { .. } => "token_not_yet_valid",
            Self::Audience { .. } => "token_audience",
        }
    }
}

impl Rules {
    /// Checks everything but `iss` and `sub`, which the authenticator compares itself.
    ///
    /// The clock skew forgives an issuer whose clock is ahead. It is not added to `exp`:
    /// an issuer that means 60 s more can say so.
    ///
    /// # Errors
    /// When a claim is missing, or refuses the token now.
    pub fn check(&self, claims: &Claims, now: Timestamp) -> Result<Times, Error> {
        let times = Times {
            exp: required(claims.exp, "exp")?,
            nbf: required(claims.nbf, "nbf")?,
            iat: required(claims.iat, "iat")?,
        };
        self.check_times(&times, now)?;
        let audience = claims.aud.as_ref().ok_or(Error::Missing { claim: "aud" })?;
        if audience
            .values()
            .any(|value| self.audiences.iter().any(|ours| ours == value))
        {
            return Ok(times);
        }
        let found: Vec<&str> = audience.values().collect();
        Err(Error::Audience {
            found: Unverified::new(&found.join(" ")),
        })
    }

    /// The part of it that changes with the time.
    pub(crate) fn check_times(&self, times: &Times, now: Timestamp) -> Result<(), Error> {
        let Times { exp, nbf, iat } = *times;
        if now >= exp {
            return Err(Error::Expired { at: exp, now });
        }
        let horizon = now.saturating_add(self.clock_skew);
        if nbf > horizon {
            return Err(Error::NotYetValid { at: nbf, now });
        }
        if iat > horizon {
            return Err(Error::IssuedInFuture { at: iat, now });
        }
        if exp <= nbf {
            return Err(Error::NeverValid { nbf, exp });
        }
        Ok(())
    }
}

fn required(date: Option<NumericDate>, claim: &'static str) -> Result<Timestamp, Error> {
    date.map(|date| date.0).ok_or(Error::Missing { claim })
}

/// `aud`: one string or several (RFC 7519 section 4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn values(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values.as_slice(),
        };
        values.iter().map(String::as_str)
    }
}

/// Seconds since 1970, possibly with a fraction (RFC 7519 section 2), up to the year 9999.
#[derive(Clone, Copy, Debug)]
struct NumericDate(Timestamp);

impl NumericDate {
    const MAX_SECONDS: u64 = 253_402_300_799;
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumericDateVisitor)
    }
}

struct NumericDateVisitor;

impl Visitor<'_> for NumericDateVisitor {
    type Value = NumericDate;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("seconds since 1970, at most to the year 9999")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
        if seconds > NumericDate::MAX_SECONDS {
            return Err(E::invalid_value(de::Unexpected::Unsigned(seconds), &self));
        }
        i64::try_from(seconds)
            .map(|seconds| NumericDate(Timestamp::from_unix_seconds(seconds)))
            .map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
        let duration = Duration::try_from_secs_f64(seconds).map_err(E::custom)?;
        if duration.as_secs() > NumericDate::MAX_SECONDS {
            return Err(E::invalid_value(de::Unexpected::Float(seconds), &self));
        }
        Ok(NumericDate(
            Timestamp::from_unix_seconds(0).saturating_add(duration),
        ))
    }
}
