//! The certificate services: Istio's protocol and our own, and one request as seven lines.
//!
//! Read `issue` first, which all of them share; each step leads one module down: `authn`, `order`, `csr`,
//! `authz`, `ca`, and through the gate to the key. The credentials were checked in `admission`
//! already, on the headers, before the body was read.

mod admission;
mod budget;
mod context;
mod held;
mod legacy;
mod open;
mod order;
mod rate;
mod response;
mod sampler;
mod signing;
mod status;
#[cfg(test)]
mod testing;
mod turnstile;

use std::sync::Arc;

use sealwright_identity::SharedClock;
use sealwright_proto::istio::istio_certificate_service_server::IstioCertificateService;
use sealwright_proto::istio::{CsrRequest, CsrResponse, IstioCertificateRequest, IstioCertificateResponse};
use sealwright_x509::csr::VerifiedCsr;
use tonic::{Request, Response, Status};
use tracing::{debug, error, info};

use crate::authn::Caller;
use crate::authz::Authorizer;
use crate::ca::{CertificateAuthority, Gate, IssuedCertificate};
use crate::config::ServerConfig;
use crate::csr::CsrVerifier;
use crate::metrics::Metrics;
use crate::sets::Sets;

pub(crate) use admission::Opened;
pub use admission::{Admission, AdmissionLimits, AdmittedService};
pub use context::{Admitted, RequestContext, RequestId};
pub(crate) use held::Held;
pub use open::OpenService;
pub use order::{CertificateOrder, OrderError};
pub use rate::IdentityRate;
pub(crate) use sampler::Sampler;
pub use signing::SigningService;
pub(crate) use status::chain;
pub use status::{CallEnd, IMPERSONATION_REFUSED, NOT_AUTHENTICATED_NOW, RequestError, UNAUTHENTICATED};
#[cfg(test)]
pub(crate) use testing::{test_context, test_order};

/// Policy sets that may come into force while one request is decided.
const MAX_SWITCHES: u32 = 4;

/// Answers certificate requests. Clones share everything.
#[derive(Clone, Debug)]
pub struct CertificateService(Arc<Steps>);

/// The steps of one request, in order.
#[derive(Debug)]
pub struct Steps {
    /// Holds the key?
    pub csr: CsrVerifier,
    /// May?
    pub authorizer: Authorizer,
    /// By what.
    pub sets: Sets,
    /// The bytes.
    pub issuer: CertificateAuthority,
    /// The key.
    pub gate: Gate,
    /// Counts outcomes.
    pub metrics: Metrics,
}

impl CertificateService {
    /// A service of these steps. It answers only requests that came through [`Admission`].
    pub fn new(steps: Steps) -> Self {
        Self(Arc::new(steps))
    }

    /// The service of calls with many requests, of the same steps.
    pub fn signing(&self, config: &ServerConfig, clock: SharedClock) -> SigningService {
        let request = config.request_timeout.get();
        SigningService::new(Arc::clone(&self.0), &config.signing, request, clock)
    }
}

impl Steps {
    /// One request: `IstioCertificateService/CreateCertificate`, and each of `SigningService/Sign`.
    async fn issue<Message, Answer>(
        &self,
        request: Request<Message>,
    ) -> Result<Response<Answer>, RequestError>
    where
        CertificateOrder: TryFrom<Request<Message>, Error = RequestError>,
        Answer: From<IssuedCertificate>,
    {
        let caller = Admitted::caller(&request)?; //                            who
        let order = CertificateOrder::try_from(request)?; //                    what, bounded, parsed once
        let csr = self.csr.verify(order.csr())?; //                             holds the key
        let issued = self
            .in_force(&order, || self.decide(&caller, &order, &csr))
            .await?;
        Ok(Response::new(issued.into())) //                                     leaf, intermediates, root bundle last
    }

    /// The part of a request that is done again when another policy set came into force meanwhile.
    async fn decide(
        &self,
        caller: &Caller,
        order: &CertificateOrder,
        csr: &VerifiedCsr,
    ) -> Result<IssuedCertificate, RequestError> {
        let grant = self.authorizer.authorize(caller, order, csr).await?; //    may: native ceiling, then Wasm policies
        let tbs = self.issuer.prepare(csr, grant)?; //                          exact bytes to be signed, linted
        Ok(self.gate.issue(tbs).await?) //                                      recorded, signed, verified
    }

    /// Decides, and decides again when the gate says that the policy set is not the one in force.
    async fn in_force<Deciding: Future<Output = Result<IssuedCertificate, RequestError>>>(
        &self,
        order: &CertificateOrder,
        decide: impl Fn() -> Deciding,
    ) -> Result<IssuedCertificate, RequestError> {
        let deadline = order.context().deadline;
        let mut switches = 0;
        loop {
            let set = self.sets.current().flatten();
            let outcome = decide().await;
            match outcome {
                Err(error) if error.is_stale() && switches < MAX_SWITCHES => {
                    switches += 1;
                    self.metrics.decided_again();
                    if !self.sets.refresh(set.as_ref(), deadline).await {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// `IstioCAService/HandleCSR`, of Istio's early releases. Never a certificate authority.
    async fn handle_csr(&self, request: Request<CsrRequest>) -> Result<Response<CsrResponse>, RequestError> {
        let caller = Admitted::caller(&request)?;
        let order = CertificateOrder::try_from(request)?;
        let csr = self.csr.verify(order.csr())?;
        legacy::require_name(&csr)?;
        let issued = self
            .in_force(&order, || self.decide(&caller, &order, &csr))
            .await?;
        Ok(Response::new(issued.into()))
    }

    /// Counts and logs an outcome, and turns an error into what the caller may know of it.
    fn finish<T>(
        &self,
        id: Option<RequestId>,
        outcome: Result<Response<T>, RequestError>,
    ) -> Result<Response<T>, Status> {
        let failure = match outcome {
            Ok(response) => {
                self.metrics.issued();
                return Ok(response);
            }
            Err(failure) => failure,
        };
        if let Some(kind) = failure.sign_error() {
            self.metrics.sign_failed(kind);
        }
        if let Some(kind) = failure.overload() {
            self.metrics.overloaded(kind);
        }
        if failure.is_overload() {
            debug!(error = chain(&failure), "a certificate request was refused");
        } else if failure.is_internal() {
            error!(error = chain(&failure), "a certificate request failed");
        } else {
            info!(error = chain(&failure), "a certificate request was refused");
        }
        Err(failure.to_status(&id.unwrap_or_else(RequestId::random)))
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let id = Admitted::context(&request).ok().map(|context| context.id);
        let outcome = self.0.issue(request).await;
        self.0.finish(id, outcome)
    }
}
