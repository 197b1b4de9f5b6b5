//! The CSR: parsed once, inside its bounds, and verified to come from who holds the key.
//!
//! Only a public key and *facts* for the policies come out of it. Its names are wishes.

use sealwright_x509::csr::{CsrError, CsrLimits};

pub use sealwright_x509::csr::VerifiedCsr;

use crate::metrics::{Metrics, Stage};

/// Verifies CSRs of at most a given size.
#[derive(Clone, Debug)]
pub struct CsrVerifier {
    limits: CsrLimits,
    metrics: Metrics,
}

impl CsrVerifier {
    /// A verifier of CSRs of at most `max_bytes`, as they were sent.
    pub fn new(max_bytes: usize, metrics: Metrics) -> Self {
        Self {
            limits: CsrLimits { max_bytes },
            metrics,
        }
    }

    /// Parses one CSR, PEM or DER, and verifies that it signs itself.
    ///
    /// # Errors
    /// Anything but exactly one CSR, of a key that is strong enough, with a good signature.
    pub fn verify(&self, csr: &[u8]) -> Result<VerifiedCsr, CsrError> {
        let _time = self.metrics.time(Stage::Csr);
        VerifiedCsr::from_pem_or_der(csr, &self.limits)
    }
}
