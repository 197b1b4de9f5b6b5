//! The one place where errors become gRPC statuses.
//!
//! Opaque to the unauthenticated: three fixed texts, and nothing that depends on the reason. Exact to
//! the authenticated: codes, fields and hints as `google.rpc` details. What is our own fault is
//! INTERNAL with the request's id and no more; the log has the rest.

use std::collections::HashMap;
use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_proto::gate::Denial;
use sealwright_runtime::Chain;
use sealwright_x509::csr::CsrError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::context::RequestId;
use super::order::OrderError;
use super::rate::RATE;
use crate::authn::AuthenticationFailure;
use crate::authz::AuthorizationError;
use crate::ca::PrepareError;
use crate::metrics::Overload;

/// `google.rpc.ErrorInfo.domain`.
const DOMAIN: &str = "sealwright";
/// When to come back after an overload, if the gate has no wish of its own.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Texts of policies. Clients refuse trailers beyond 8 KiB, and a message in another script than
/// Latin is three times as long on the wire.
const MAX_TEXT_BYTES: usize = 512;
/// Codes, policies' names and fields, which are identifiers.
const MAX_NAME_BYTES: usize = 128;

/// All that nobody who is not authenticated ever learns.
pub const UNAUTHENTICATED: &str = "the request could not be authenticated";
/// The same, while what would judge the credential is away: worth another try.
pub const NOT_AUTHENTICATED_NOW: &str = "the request cannot be authenticated now";
/// The same, for a request to act for another identity.
pub const IMPERSONATION_REFUSED: &str = "the request to act for another identity was refused";

/// Why a request was not answered with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No authenticator vouched for the caller.
    #[error("nobody vouched for the caller")]
    Unauthenticated(#[source] AuthenticationFailure),
    /// The request came around the admission layer.
    #[error("the request was not admitted")]
    NotAdmitted,
    /// A message above the limit, by its frame header.
    #[error("a message of {bytes} bytes is above the limit of {limit}")]
    MessageTooLarge {
        /// What the frame header says.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is not exactly one gRPC message.
    #[error("the request body is not one whole message")]
    MessageMalformed,
    /// The requests in flight hold as many bytes as they may.
    #[error("too many requests are in flight")]
    Overloaded,
    /// The queue is as long as it may be.
    #[error("too many requests are waiting")]
    QueueFull {
        /// When there may be room.
        retry_after: Duration,
    },
    /// The caller's identity has asked for more than it may.
    #[error("this identity asks for more certificates than it may")]
    RateLimited {
        /// When it may have the next.
        retry_after: Duration,
    },
    /// The request's time is over.
    #[error("the request took longer than it may")]
    DeadlineExceeded,
    /// The message is wrong.
    #[error("the order is not valid")]
    Order(#[from] OrderError),
    /// The CSR is wrong.
    #[error("the CSR is not valid")]
    Csr(#[from] CsrError),
    /// Ceiling or policies said no, or could not say.
    #[error("the request was not granted")]
    Authorization(#[from] AuthorizationError),
    /// No bytes to be signed could be made.
    #[error("the certificate could not be prepared")]
    Prepare(#[from] PrepareError),
    /// The gate did not sign.
    #[error("the gate did not issue")]
    Gate(#[from] ClientError),
    /// A call with many requests was ended.
    #[error(transparent)]
    Call(#[from] CallEnd),
}

/// Why a call with many requests was ended by the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallEnd {
    /// The token or the client certificate has ended.
    #[error("the credential of this call has expired")]
    CredentialExpired,
    /// No request came.
    #[error("no request came for a while: open another call")]
    Idle,
    /// It was open for as long as any may be.
    #[error("the call was open as long as it may be: open another one")]
    TooLong,
    /// A message came in part, and not the rest.
    #[error("the rest of a message did not come in time")]
    Incomplete,
    /// Answers were not read.
    #[error("the answers were not read in time")]
    NotRead,
    /// The signer ends, or starts again.
    #[error("the signer is stopping: open another call")]
    Stopping,
}

impl RequestError {
    /// The status that the caller gets.
    pub fn to_status(&self, id: &RequestId) -> Status {
        match self {
            Self::Unauthenticated(failure) if failure.is_unavailable() => {
                let details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
                Status::with_error_details(Code::Unavailable, NOT_AUTHENTICATED_NOW, details)
            }
            Self::Unauthenticated(_) | Self::NotAdmitted => Status::unauthenticated(UNAUTHENTICATED),
            Self::MessageTooLarge { .. } => Status::resource_exhausted(self.to_string()),
            Self::MessageMalformed => Status::invalid_argument(self.to_string()),
            Self::Overloaded => overloaded(&self.to_string(), None),
            Self::QueueFull { retry_after } => overloaded(&self.to_string(), Some(*retry_after)),
            Self::RateLimited { retry_after } => rate_limited(&self.to_string(), *retry_after, id),
            Self::DeadlineExceeded => Status::deadline_exceeded(self.to_string()),
            Self::Order(error) => invalid(error.field(), &chain(error)),
            Self::Csr(error) => invalid("csr", &chain(error)),
            Self::Authorization(error) => authorization(error, id),
            Self::Prepare(_) => internal(id),
            Self::Gate(error) => gate(error, id),
            Self::Call(end) => call_end(*end),
        }
    }

    /// The label of `citadel_server_csr_sign_err_count`; `None` for what never came to signing.
    pub fn sign_error(&self) -> Option<&'static str> {
        match self {
            Self::Order(OrderError::NegativeLifetime { .. }) => Some("TTL_ERROR"),
            Self::Order(_) | Self::Csr(_) => Some("CSR_ERROR"),
            Self::Authorization(AuthorizationError::Impersonation(_)) => None,
            Self::Authorization(AuthorizationError::LifetimeTooLong { .. }) => Some("TTL_ERROR"),
            Self::Authorization(AuthorizationError::Gate(error)) | Self::Gate(error) => Some(match error {
                ClientError::Unavailable { .. } => "CA_NOT_READY",
                _ => "CERT_GEN_ERROR",
            }),
            Self::Authorization(AuthorizationError::NoSet) => Some("CA_NOT_READY"),
            Self::Authorization(_) | Self::Prepare(_) => Some("CERT_GEN_ERROR"),
            _ => None,
        }
    }

    /// Whether the gate has another policy set in force than the one that was decided under.
    pub(super) fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::Authorization(AuthorizationError::Gate(ClientError::Stale { .. }))
                | Self::Gate(ClientError::Stale { .. })
        )
    }

    /// Which room was too small, as metrics call it.
    pub fn overload(&self) -> Option<Overload> {
        match self {
            Self::Overloaded => Some(Overload::Bytes),
            Self::QueueFull { .. } => Some(Overload::Queue),
            _ => None,
        }
    }

    /// Whether it was refused because it was too much: anybody can have that at any rate.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::Overloaded | Self::QueueFull { .. } | Self::RateLimited { .. }
        )
    }

    /// Whether the fault is ours: worth an operator's look.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Prepare(_) | Self::NotAdmitted => true,
            Self::Authorization(AuthorizationError::Gate(error)) | Self::Gate(error) => {
                gate_code(error) == Code::Internal
            }
            _ => false,
        }
    }
}

impl OrderError {
    fn field(&self) -> &'static str {
        match self {
            Self::NegativeLifetime { .. } => "validity_duration",
            Self::SignerNotString => "metadata.CertSigner",
            Self::NoName | Self::TooLarge { .. } => "csr",
            Self::MetadataTooLarge | Self::MetadataNotJson => "metadata",
        }
    }
}

fn call_end(end: CallEnd) -> Status {
    match end {
        CallEnd::CredentialExpired => Status::unauthenticated(end.to_string()),
        CallEnd::Stopping => {
            let details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
            Status::with_error_details(Code::Unavailable, end.to_string(), details)
        }
        CallEnd::Idle | CallEnd::TooLong | CallEnd::Incomplete | CallEnd::NotRead => {
            Status::deadline_exceeded(end.to_string())
        }
    }
}

fn authorization(error: &AuthorizationError, id: &RequestId) -> Status {
    match error {
        AuthorizationError::Impersonation(_) => Status::unauthenticated(IMPERSONATION_REFUSED),
        AuthorizationError::UnknownIssuer { .. } => invalid("metadata.CertSigner", &chain(error)),
        AuthorizationError::LifetimeTooLong { .. } => invalid("validity_duration", &chain(error)),
        AuthorizationError::Denied(denial) => denied(denial, id),
        AuthorizationError::Aborted { .. } => overloaded("the decision was aborted", None),
        AuthorizationError::Gate(error) => gate(error, id),
        AuthorizationError::NoSet => unavailable(id),
    }
}

fn unavailable(id: &RequestId) -> Status {
    let text = format!("the certificate authority cannot sign now (request {id})");
    let details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
    Status::with_error_details(Code::Unavailable, text, details)
}

fn gate(error: &ClientError, id: &RequestId) -> Status {
    match gate_code(error) {
        Code::Unavailable => unavailable(id),
        Code::ResourceExhausted => {
            let after = match error {
                ClientError::Overloaded { retry_after } => *retry_after,
                _ => None,
            };
            overloaded("the certificate authority is overloaded", after)
        }
        Code::PermissionDenied => denied(
            &Denial {
                code: "CEILING".to_owned(),
                message: chain(error),
                ..Denial::default()
            },
            id,
        ),
        _ => internal(id),
    }
}

fn gate_code(error: &ClientError) -> Code {
    match error {
        // Stale: the set in force could not be had within the deadline.
        ClientError::Unavailable { .. } | ClientError::Deadline | ClientError::Stale { .. } => {
            Code::Unavailable
        }
        ClientError::Overloaded { .. } => Code::ResourceExhausted,
        ClientError::Denied { .. } => Code::PermissionDenied,
        ClientError::Invalid { .. }
        | ClientError::Forbidden { .. }
        | ClientError::Internal { .. }
        | ClientError::TooLarge { .. }
        | ClientError::Protocol { .. } => Code::Internal,
    }
}

/// Code and message once, for people; field and hint for programs, in the details.
fn denied(denial: &Denial, id: &RequestId) -> Status {
    let code = bounded(&denial.code, MAX_NAME_BYTES);
    let message = bounded(&denial.message, MAX_TEXT_BYTES);
    let mut info = HashMap::from([("request_id".to_owned(), id.to_string())]);
    for (name, text, longest) in [
        ("policy", &denial.policy, MAX_NAME_BYTES),
        ("field", &denial.field, MAX_NAME_BYTES),
        ("hint", &denial.hint, MAX_TEXT_BYTES),
    ] {
        if !text.is_empty() {
            info.insert(name.to_owned(), bounded(text, longest));
        }
    }
    let text = format!("{code}: {message}");
    let mut details = ErrorDetails::with_error_info(code, DOMAIN, info);
    if !denial.field.is_empty() {
        details.add_bad_request_violation(bounded(&denial.field, MAX_NAME_BYTES), message);
    }
    Status::with_error_details(Code::PermissionDenied, text, details)
}

fn invalid(field: &str, reason: &str) -> Status {
    let reason = bounded(reason, MAX_TEXT_BYTES);
    let details = ErrorDetails::with_bad_request_violation(field, reason.clone());
    let text = format!("CSR signing error ({reason})");
    Status::with_error_details(Code::InvalidArgument, text, details)
}

fn overloaded(text: &str, after: Option<Duration>) -> Status {
    let details = ErrorDetails::with_retry_info(Some(after.unwrap_or(RETRY_DELAY)));
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// Unlike an overload it is this caller's own doing: the reason says so to programs.
fn rate_limited(text: &str, after: Duration, id: &RequestId) -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(after));
    let info = HashMap::from([("request_id".to_owned(), id.to_string())]);
    details.set_error_info(RATE, DOMAIN, info);
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

fn internal(id: &RequestId) -> Status {
    Status::internal(format!("CSR signing error (internal, request {id})"))
}

/// The error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    Chain(error).to_string()
}

fn bounded(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut short: String = text
        .char_indices()
        .take_while(|(at, char)| at + char.len_utf8() <= longest)
        .map(|(_, char)| char)
        .collect();
    short.push('…');
    short
}

/// The name of a code as it appears on dashboards.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
