//! Orders for the tests of later steps.

use std::time::Duration;

use tokio::time::Instant;

use super::order::CertificateOrder;
use super::{RequestContext, RequestId};

/// A context with ten seconds left.
pub(crate) fn test_context() -> RequestContext {
    RequestContext {
        id: RequestId::random(),
        method: "test",
        deadline: Instant::now() + Duration::from_secs(10),
        claimed_cluster: None,
    }
}

/// An order for this many seconds, of the default issuer.
pub(crate) fn test_order(seconds: u64) -> CertificateOrder {
    CertificateOrder::of(seconds, test_context())
}
