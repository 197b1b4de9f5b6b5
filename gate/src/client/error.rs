//! What a call to the gate can come to, other than its answer.

use std::time::Duration;

use sealwright_proto::gate::{Refusal, refusal::Code};

/// Why a call has no answer. Nothing here says that nothing was signed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// No gate, a gate without its token or ledger, or a stream that ended meanwhile.
    #[error("the gate is unavailable: {reason}")]
    Unavailable {
        /// For the log and for readiness.
        reason: String,
    },
    /// Too many calls in flight, here or in the gate.
    #[error("too many requests in flight")]
    Overloaded {
        /// When the gate asks to be tried again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The deadline passed.
    #[error("the gate did not answer within the deadline")]
    Deadline,
    /// The gate refused and recorded the refusal.
    #[error("the gate refused: {message}")]
    Denied {
        /// What did not fit the ceiling or the evidence.
        message: String,
    },
    /// The gate found the request malformed.
    #[error("the gate found the request malformed: {message}")]
    Invalid {
        /// What is malformed.
        message: String,
    },
    /// This connection may not ask for that.
    #[error("this connection may not ask for that: {message}")]
    Forbidden {
        /// The role that is missing.
        message: String,
    },
    /// Decided under another policy set than the one in force; nothing was recorded.
    #[error("the gate has policy set {set_number} in force, not the one that was decided under")]
    Stale {
        /// The number of the set in force: decide again, under it.
        set_number: u64,
    },
    /// The gate failed on its own account.
    #[error("the gate failed: {message}")]
    Internal {
        /// For the log.
        message: String,
    },
    /// The request does not fit a frame.
    #[error("the request of {bytes} bytes is too large for the gate")]
    TooLarge {
        /// Length of the encoded request.
        bytes: usize,
    },
    /// The gate answered another question.
    #[error("the gate answered {got} where {wanted} was asked")]
    Protocol {
        /// The kind asked for.
        wanted: &'static str,
        /// The kind received.
        got: &'static str,
    },
}

impl ClientError {
    /// A stable word for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::Deadline => "deadline",
            Self::Denied { .. } => "denied",
            Self::Invalid { .. } => "invalid",
            Self::Forbidden { .. } => "forbidden",
            Self::Stale { .. } => "stale",
            Self::Internal { .. } => "internal",
            Self::TooLarge { .. } => "too_large",
            Self::Protocol { .. } => "protocol",
        }
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let message = refusal.message;
        match code {
            Code::Denied => Self::Denied { message },
            Code::Invalid => Self::Invalid { message },
            Code::Unavailable => Self::Unavailable { reason: message },
            Code::Overloaded => Self::Overloaded {
                retry_after: (refusal.retry_after_ms > 0)
                    .then(|| Duration::from_millis(refusal.retry_after_ms.into())),
            },
            Code::Deadline => Self::Deadline,
            Code::Forbidden => Self::Forbidden { message },
            Code::Stale => Self::Stale {
                set_number: refusal.set_number,
            },
            Code::Internal | Code::Unspecified => Self::Internal { message },
        }
    }
}
