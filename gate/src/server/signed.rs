//! The fourth step: what the token answered is verified by another implementation before
//! anybody sees it. Only this makes a [`Verified`].

use std::sync::Arc;

use sealwright_runtime::Chain;
use sealwright_x509::tbs::LeafTbs;

use super::recorded::Failed;
use super::refused::Refused;
use crate::issuers::Issuer;

/// Bytes that the token calls a signature of a recorded certificate.
#[derive(Debug)]
pub(super) struct Signed {
    issuer: Arc<Issuer>,
    tbs: Arc<LeafTbs>,
    signature: Vec<u8>,
    sequence: u64,
}

/// A certificate whose signature is right.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) issuer: Arc<Issuer>,
    pub(super) certificate: Vec<u8>,
    pub(super) sequence: u64,
}

impl Signed {
    /// For the signing step alone, which has it of a recorded certificate.
    pub(super) fn new(issuer: Arc<Issuer>, tbs: Arc<LeafTbs>, signature: Vec<u8>, sequence: u64) -> Self {
        Self {
            issuer,
            tbs,
            signature,
            sequence,
        }
    }

    /// Verifies with the key of the issuer's own certificate, in software.
    pub(super) fn verify(self) -> Result<Verified, Failed> {
        match self.issuer.chain.verify(self.tbs.as_der(), &self.signature) {
            Ok(()) => Ok(Verified {
                certificate: self.tbs.assemble(&self.signature),
                issuer: self.issuer,
                sequence: self.sequence,
            }),
            Err(error) => Err(Failed {
                sequence: self.sequence,
                refused: Refused::Internal(format!(
                    "the token's signature does not verify: {}",
                    Chain(&error)
                )),
            }),
        }
    }
}
