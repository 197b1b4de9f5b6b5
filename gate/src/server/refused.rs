//! What a request comes to when it does not come to a certificate.

use sealwright_proto::gate::{Refusal, refusal::Code};

/// How long an overloaded gate asks to be left alone, in milliseconds.
const RETRY_AFTER_MS: u32 = 250;

/// Why a request was not granted, as the front is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Outside the ceiling or not justified by its evidence. Recorded.
    #[error("{0}")]
    Denied(String),
    /// Not well-formed.
    #[error("{0}")]
    Invalid(String),
    /// Key, token or ledger is away.
    #[error("{0}")]
    Unavailable(String),
    /// Too much at once.
    #[error("{message}")]
    Overloaded {
        /// What is full.
        message: String,
        /// When to come back, in milliseconds.
        retry_after_ms: u32,
    },
    /// The deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// Nobody waits for the answer.
    #[error("the request was cancelled")]
    Cancelled,
    /// The gate's own failure.
    #[error("{0}")]
    Internal(String),
    /// The connection lacks a role.
    #[error("this connection lacks {0}")]
    Forbidden(&'static str),
    /// Decided under another policy set than the one in force.
    #[error("decided under policy set {decided}, in force is {in_force}")]
    Stale {
        /// The evidence's.
        decided: u64,
        /// The gate's.
        in_force: u64,
    },
}

impl Refused {
    pub(super) fn overloaded() -> Self {
        Self::busy("too many requests in flight")
    }

    pub(super) fn busy(what: &str) -> Self {
        Self::Overloaded {
            message: what.to_owned(),
            retry_after_ms: RETRY_AFTER_MS,
        }
    }

    const fn code(&self) -> Code {
        match self {
            Self::Denied(_) => Code::Denied,
            Self::Invalid(_) => Code::Invalid,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Overloaded { .. } => Code::Overloaded,
            Self::Deadline | Self::Cancelled => Code::Deadline,
            Self::Internal(_) => Code::Internal,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Stale { .. } => Code::Stale,
        }
    }

    /// A stable word for metrics.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Internal(_) => "internal",
            Self::Forbidden(_) => "forbidden",
            Self::Stale { .. } => "stale",
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let retry_after_ms = match &refused {
            Refused::Overloaded { retry_after_ms, .. } => *retry_after_ms,
            _ => 0,
        };
        let set_number = match &refused {
            Refused::Stale { in_force, .. } => *in_force,
            _ => 0,
        };
        Self {
            code: refused.code().into(),
            message: refused.to_string(),
            retry_after_ms,
            set_number,
        }
    }
}
