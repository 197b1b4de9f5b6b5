//! From a grant to the exact bytes to be signed, and through the gate to a certificate.
//!
//! The certificate is built from the [`Grant`], never from the CSR, which gives a public key and
//! nothing else. What is built here is linted here and checked against the issuer's ceiling; the
//! gate then does the same from the bytes alone, and does not care that it was done.

mod gate;
mod tbs;

use std::time::Duration;

use bytes::Bytes;
use sealwright_identity::{SerialError, SerialNumber, SharedClock, Timestamp, Validity, ValidityError};
use sealwright_proto::gate::IssueRequest;
use sealwright_x509::ceiling::CeilingViolation;
use sealwright_x509::csr::VerifiedCsr;
use sealwright_x509::lint::Finding;
use sealwright_x509::tbs::{LeafTbs, TbsError};

use crate::authz::Grant;
use crate::metrics::{Metrics, Stage};
use crate::service::RequestContext;

pub use gate::{Gate, IssuedCertificate};

/// Prepares what is to be signed.
#[derive(Clone, Debug)]
pub struct CertificateAuthority {
    clock: SharedClock,
    metrics: Metrics,
}

/// Bytes to be signed with the evidence of the decision. Only [`CertificateAuthority::prepare`]
/// makes them, and only from a [`Grant`].
#[derive(Debug)]
pub struct ToBeSigned {
    request: IssueRequest,
    serial: SerialNumber,
    validity: Validity,
    context: RequestContext,
}

/// Why no bytes to be signed could be made. None of it is the caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The issuer's chain has ended.
    #[error("the chain of issuer {issuer} ended at {not_after}")]
    IssuerExpired {
        /// The issuer's name.
        issuer: String,
        /// Its end.
        not_after: Timestamp,
    },
    /// The system generator failed.
    #[error("no serial number could be drawn")]
    Serial(#[from] SerialError),
    /// The dates make no sense.
    #[error("the certificate would never be valid")]
    Validity(#[from] ValidityError),
    /// The bytes could not be encoded.
    #[error("the certificate could not be encoded")]
    Encode(#[from] TbsError),
    /// Our own lint found fault with our own bytes.
    #[error("the certificate does not pass its own lint: {}", findings(.0))]
    Lint(Vec<Finding>),
    /// The certificate would leave the issuer's ceiling.
    #[error("the certificate would leave the issuer's ceiling")]
    Ceiling(#[from] CeilingViolation),
}

impl CertificateAuthority {
    /// An authority that reads the time from `clock`.
    pub fn new(clock: SharedClock, metrics: Metrics) -> Self {
        Self { clock, metrics }
    }

    /// The exact bytes to be signed for `csr`'s key under `grant`, linted.
    ///
    /// # Errors
    /// When the issuer has ended, or the bytes would break the profile or the ceiling.
    pub fn prepare(&self, csr: &VerifiedCsr, grant: Grant) -> Result<ToBeSigned, PrepareError> {
        let _time = self.metrics.time(Stage::Prepare);
        let parts = grant.into_parts();
        let now = self.clock.now();
        let validity = tbs::validity(&parts.issuer, parts.lifetime, now)?;
        if validity.not_after().saturating_since(now) < parts.lifetime / 2 {
            self.metrics.clamped(&parts.issuer.name);
        }
        let serial = SerialNumber::fresh(now)?;
        let fields = tbs::fields(csr, &parts, serial.clone(), validity);
        let leaf = LeafTbs::build(&fields)?;
        sealwright_x509::lint::lint_leaf(&leaf, &parts.issuer.chain).map_err(PrepareError::Lint)?;
        let ceiling = &parts.issuer.ceiling;
        sealwright_x509::ceiling::check(&fields, ceiling, &parts.issuer.chain, now)?;
        Ok(ToBeSigned {
            request: IssueRequest {
                issuer: parts.issuer.name.to_string(),
                tbs: Bytes::copy_from_slice(leaf.as_der()),
                csr: Bytes::copy_from_slice(csr.der()),
                evidence: Some(parts.evidence),
                credential: parts.credential,
            },
            serial,
            validity,
            context: parts.context,
        })
    }
}

fn findings(findings: &[Finding]) -> String {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// What is left of the time a request may take, for a wait on the gate that must end before it.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
