//! What belongs to one request besides its message: an id, a method, a deadline, and who sent it.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::status::RequestError;
use crate::authn::Caller;

/// Names one request in the log, in the ledger and in the answer to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// 64 random bits. They name, they protect nothing; a failing generator costs only the name.
    pub(crate) fn random() -> Self {
        let mut bytes = [0u8; 8];
        let _unnamed = aws_lc_rs::rand::fill(&mut bytes);
        Self(hex::encode(bytes).into())
    }

    /// Of a request that is refused without a name.
    pub(super) fn unnamed() -> Self {
        Self("".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What goes with a request from its headers to its record.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Its name.
    pub id: RequestId,
    /// `istio.v1.auth.IstioCertificateService/CreateCertificate` and so on.
    pub method: &'static str,
    /// Nothing is waited for after this.
    pub deadline: Instant,
    /// The value of the header `clusterid`, when there is exactly one. Nobody has verified it.
    pub claimed_cluster: Option<String>,
}

/// An authenticated request: what the admission layer leaves in the extensions.
///
/// Only that layer makes one, so a service that was mounted without it answers nobody.
#[derive(Clone, Debug)]
pub struct Admitted {
    caller: Arc<Caller>,
    context: RequestContext,
}

impl Admitted {
    pub(super) fn new(caller: impl Into<Arc<Caller>>, context: RequestContext) -> Self {
        Self {
            caller: caller.into(),
            context,
        }
    }

    /// Who sent the request.
    ///
    /// # Errors
    /// When the request did not come through the admission layer.
    pub fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Caller>, RequestError> {
        Ok(Arc::clone(&Self::of(request)?.caller))
    }

    /// The request's context.
    ///
    /// # Errors
    /// When the request did not come through the admission layer.
    pub fn context<T>(request: &tonic::Request<T>) -> Result<RequestContext, RequestError> {
        Ok(Self::of(request)?.context.clone())
    }

    fn of<T>(request: &tonic::Request<T>) -> Result<&Self, RequestError> {
        request
            .extensions()
            .get::<Self>()
            .ok_or(RequestError::NotAdmitted)
    }
}
