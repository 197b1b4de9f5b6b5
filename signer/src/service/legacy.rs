//! `IstioCAService`: the service of Istio's early releases, mounted only when it is switched on.
//!
//! Lifetimes are minutes, the root is not sent, and a CSR must ask for some name, though for which
//! one makes no difference. Status codes are those of the current service.

use sealwright_proto::istio::istio_ca_service_server::IstioCaService;
use sealwright_proto::istio::{CsrRequest, CsrResponse};
use sealwright_x509::csr::VerifiedCsr;
use tonic::{Request, Response, Status};

use super::{Admitted, CertificateService, OrderError};

#[tonic::async_trait]
impl IstioCaService for CertificateService {
    async fn handle_csr(&self, request: Request<CsrRequest>) -> Result<Response<CsrResponse>, Status> {
        let id = Admitted::context(&request).ok().map(|context| context.id);
        let outcome = self.0.handle_csr(request).await;
        self.0.finish(id, outcome)
    }
}

pub(super) fn require_name(csr: &VerifiedCsr) -> Result<(), OrderError> {
    let facts = csr.facts();
    if facts.uris.is_empty() && facts.dns.is_empty() && facts.ips.is_empty() {
        return Err(OrderError::NoName);
    }
    Ok(())
}
