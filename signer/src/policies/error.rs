//! Why a call about policies came to nothing, for callers who are known and have roles.

use sealwright_gate::client::ClientError;
use sealwright_runtime::Chain;
use sealwright_statement::EnvelopeError;
use tonic::Status;

use crate::sets::SetError;

/// Longer texts do not fit into the trailers that clients take.
const MAX_TEXT_BYTES: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The call makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What it is about is not there.
    #[error("{0}")]
    Missing(String),
    /// More than fits.
    #[error("{0}")]
    TooLarge(String),
    /// The stream ended, or stood still.
    #[error("{0}")]
    Incomplete(String),
    /// The text is no statement.
    #[error("the statement cannot be used")]
    Envelope(#[from] EnvelopeError),
    /// A module that does not run here, or is not there.
    #[error("the set cannot be run here")]
    Set(#[from] SetError),
    /// The gate's word.
    #[error(transparent)]
    Gate(#[from] ClientError),
    /// In force at the gate, and not yet here.
    #[error("set {0} is in force; this front has not loaded it yet")]
    NotHere(u64),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text: String = Chain(&refusal).to_string().chars().take(MAX_TEXT_BYTES).collect();
        match &refusal {
            Refusal::Invalid(_) | Refusal::Envelope(_) => Self::invalid_argument(text),
            Refusal::Missing(_) => Self::not_found(text),
            Refusal::TooLarge(_) => Self::resource_exhausted(text),
            Refusal::Incomplete(_) => Self::aborted(text),
            Refusal::NotHere(_) => Self::unavailable(text),
            Refusal::Gate(error) | Refusal::Set(SetError::Gate { source: error, .. }) => of_gate(error, text),
            Refusal::Set(_) => Self::failed_precondition(text),
        }
    }
}

fn of_gate(error: &ClientError, text: String) -> Status {
    match error {
        ClientError::Denied { .. } | ClientError::Stale { .. } => Status::failed_precondition(text),
        ClientError::Invalid { .. } => Status::invalid_argument(text),
        ClientError::Overloaded { .. } | ClientError::TooLarge { .. } => Status::resource_exhausted(text),
        ClientError::Unavailable { .. } => Status::unavailable(text),
        ClientError::Deadline => Status::deadline_exceeded(text),
        ClientError::Forbidden { .. } | ClientError::Internal { .. } | ClientError::Protocol { .. } => {
            Status::internal(text)
        }
    }
}
