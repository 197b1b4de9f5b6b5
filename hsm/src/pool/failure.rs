//! Why a signature was not made, and why a pool makes none any more.

use std::sync::Arc;

use sealwright_identity::KeyType;
use thiserror::Error;

use crate::{error::Error, module::CallError};

/// Why a signature was not made.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The queue is full.
    #[error("{queue} signatures wait already")]
    Overloaded {
        /// The queue's size.
        queue: usize,
    },
    /// Time ran out, in the queue or in the token.
    #[error("the signature was not made in time")]
    Deadline,
    /// The token could not do it now, repairs included.
    #[error("the token could not sign")]
    Unavailable(#[source] Arc<Error>),
    /// The token does not do this with this key.
    #[error("the token refused to sign")]
    Refused(#[source] CallError),
    /// The key's type is not supported.
    #[error("cannot sign: {reason}")]
    Unsupported {
        /// What is not supported.
        reason: String,
    },
    /// The structure names another signature algorithm than the key's.
    #[error("the structure's signature algorithm is not that of a {key_type} key")]
    Algorithm {
        /// The key's type.
        key_type: KeyType,
    },
    /// A health key signs probes only, and nothing else signs them.
    #[error("the key does not serve this purpose")]
    Purpose,
    /// The key is of another token than the pool.
    #[error("the key is of another token")]
    ForeignKey,
    /// The token's answer has not the form of a signature.
    #[error("the token's answer is no signature: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The signature of a probe is not valid.
    #[error("the token's signature is not valid")]
    Unverified,
    /// The pool has failed for good.
    #[error("the token is out of order until a restart")]
    Fatal(#[source] PoolFailure),
}

impl SignError {
    pub(crate) const CODES: [&'static str; 11] = [
        "overloaded",
        "deadline",
        "unavailable",
        "refused",
        "unsupported",
        "algorithm",
        "purpose",
        "foreign_key",
        "malformed",
        "unverified",
        "fatal",
    ];

    /// The error as a label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Overloaded { .. } => "overloaded",
            Self::Deadline => "deadline",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::Unsupported { .. } => "unsupported",
            Self::Algorithm { .. } => "algorithm",
            Self::Purpose => "purpose",
            Self::ForeignKey => "foreign_key",
            Self::Malformed { .. } => "malformed",
            Self::Unverified => "unverified",
            Self::Fatal(_) => "fatal",
        }
    }
}

/// Why a pool makes no signatures any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PoolFailure {
    /// The login, the key or the token could not be repaired.
    #[error("the token cannot be repaired in place")]
    Token(#[source] Arc<Error>),
    /// The device failed several times without a signature in between.
    #[error("the token failed {failures} times in a row")]
    Device {
        /// How many times.
        failures: usize,
        /// The last time.
        source: CallError,
    },
    /// The device answered several times in a row with what is no signature.
    #[error("the token's answer was no signature {failures} times in a row: {reason}")]
    Malformed {
        /// How many times, other failures counted in.
        failures: usize,
        /// What was wrong with the last.
        reason: String,
    },
    /// Workers hang in the module, and all replacements are used up.
    #[error("a call of the module hangs, after {replaced} workers were replaced")]
    Hung {
        /// How many replacements were made.
        replaced: usize,
    },
    /// The code that calls the module panicked over its answer.
    #[error("a call of the module ended in a panic: {reason}")]
    Panicked {
        /// What the panic said.
        reason: String,
    },
    /// The system gives no thread.
    #[error("cannot start a worker thread: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// The pool was stopped.
    #[error("the pool was stopped")]
    Stopped,
}

impl PoolFailure {
    /// True when the PIN is at fault: nobody may simply start again.
    pub fn is_pin(&self) -> bool {
        matches!(self, Self::Token(error) if error.is_pin())
    }
}
