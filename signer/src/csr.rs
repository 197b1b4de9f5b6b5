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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::testing::{csr_with, metrics};

    const ROUNDS: u32 = 1_000;

    /// For ADR 7. Run with `--ignored`, and with optimized code for figures to quote.
    #[test]
    #[ignore = "measures, and asserts nothing"]
    fn what_verification_costs() {
        let verifier = CsrVerifier::new(16 << 10, metrics());
        let csr = csr_with(&["a.example"], None);
        let each = |work: &dyn Fn()| -> Duration {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| work());
            start.elapsed() / ROUNDS
        };
        let good = each(&|| drop(verifier.verify(csr.der()).unwrap()));
        // Refused without a look at the signature.
        let mut cut = csr.der().to_vec();
        cut.truncate(cut.len() - 1);
        let unread = each(&|| drop(verifier.verify(&cut).unwrap_err()));
        eprintln!("verified {good:?}, unreadable {unread:?}");
    }
}
