//! Why a call about policies came to nothing, for callers who are known and have roles.

use sealwright_gate::client::ClientError;
use sealwright_identity::Digest;
use sealwright_policy_wasm::AbortReason;
use sealwright_policy_wasm::admission::ReportError;
use sealwright_runtime::Chain;
use sealwright_statement::EnvelopeError;
use sealwright_x509::csr::CsrError;
use tonic::Status;

use super::admission::is_of_module;
use super::judge::JudgeError;
use crate::front_shadows::NoPlace;
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
    /// There is no report.
    #[error("the module was not judged")]
    Judge(#[source] JudgeError),
    /// Something speaks against it.
    #[error("the module is not admitted: {0}")]
    NotAdmitted(String),
    /// The author's is none.
    #[error("the report that came along cannot be used")]
    Report(#[source] ReportError),
    /// The author's is another, by the same engine.
    #[error("the report that came along is {theirs}, and this server's is {ours}: build and judge again")]
    OtherReport {
        /// Its digest.
        theirs: Digest,
        /// Of this server's.
        ours: Digest,
    },
    /// The gate's word.
    #[error(transparent)]
    Gate(#[from] ClientError),
    /// A shadow of this front alone that may not be one more.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// No CSR, or one that does not sign itself.
    #[error("the CSR cannot be used")]
    Csr(#[source] CsrError),
    /// An explanation that did not come about.
    #[error("nothing was explained")]
    Explanation(#[source] AbortReason),
    /// No gate has said yet what decides.
    #[error("the policy set in force is not known yet")]
    NotKnown,
    /// Taken away for ever.
    #[error("revision {0} was revoked")]
    Revoked(String),
    /// In force at the gate, and not yet here.
    #[error("set {0} is in force; this front has not loaded it yet")]
    NotHere(u64),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text: String = Chain(&refusal).to_string().chars().take(MAX_TEXT_BYTES).collect();
        match &refusal {
            Refusal::Invalid(_) | Refusal::Envelope(_) | Refusal::Csr(_) => Self::invalid_argument(text),
            Refusal::Missing(_) => Self::not_found(text),
            Refusal::TooLarge(_) | Refusal::NoPlace(NoPlace::Taken(_)) => Self::resource_exhausted(text),
            Refusal::Incomplete(_) => Self::aborted(text),
            Refusal::Explanation(AbortReason::Deadline) => Self::deadline_exceeded(text),
            Refusal::Explanation(AbortReason::QueueFull) => Self::resource_exhausted(text),
            Refusal::NotHere(_) | Refusal::NotKnown | Refusal::Explanation(_) => Self::unavailable(text),
            Refusal::Gate(error) | Refusal::Set(SetError::Gate { source: error, .. }) => of_gate(error, text),
            Refusal::Judge(error) if !is_of_module(error) => Self::unavailable(text),
            Refusal::Report(_) => Self::invalid_argument(text),
            Refusal::Set(_)
            | Refusal::Judge(_)
            | Refusal::NotAdmitted(_)
            | Refusal::OtherReport { .. }
            | Refusal::NoPlace(NoPlace::None)
            | Refusal::Revoked(_) => Self::failed_precondition(text),
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
