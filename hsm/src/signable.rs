//! All that a key of this crate can sign: five kinds of structure, each with a
//! type that can only be made whole. There is no way to sign a bare digest, or
//! bytes of the caller's choice.

use std::sync::Arc;

use aws_lc_rs::rand;
use sealwright_statement::Preimage;
use sealwright_x509::{AuthorityTbs, LeafTbs, RequestTbs, SignatureAlgorithm};

use crate::key::KeyPurpose;

/// First bytes of a probe. No DER begins so, hence no probe is a certificate.
const PROBE: &[u8] = b"sealwright/health-probe/v1\0";

/// What is to be signed.
#[derive(Clone, Debug)]
pub enum Signable {
    /// A leaf certificate.
    Leaf(Arc<LeafTbs>),
    /// A certificate of an authority.
    Authority(AuthorityTbs),
    /// A PKCS#10 certification request; its key should be the signing key.
    CertificationRequest(RequestTbs),
    /// A health probe.
    Probe(Probe),
    /// A statement that a person signs.
    Statement(Preimage),
}

impl Signable {
    /// The exact bytes to be signed.
    pub(crate) fn message(&self) -> &[u8] {
        match self {
            Self::Leaf(tbs) => tbs.as_der(),
            Self::Authority(tbs) => tbs.as_der(),
            Self::CertificationRequest(tbs) => tbs.as_der(),
            Self::Probe(probe) => probe.message(),
            // Its first bytes name its type, and no DER begins so.
            Self::Statement(preimage) => preimage.as_bytes(),
        }
    }

    /// The purpose that a key must have for it.
    pub(crate) fn purpose(&self) -> KeyPurpose {
        match self {
            Self::Leaf(_) | Self::Authority(_) | Self::CertificationRequest(_) => KeyPurpose::Issuing,
            Self::Probe(_) => KeyPurpose::Health,
            Self::Statement(_) => KeyPurpose::Statement,
        }
    }

    /// The algorithm written in it, which the key must be able to keep.
    pub(crate) fn algorithm(&self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Leaf(tbs) => Some(tbs.fields().signature_algorithm),
            Self::Authority(tbs) => Some(tbs.fields().signature_algorithm),
            Self::CertificationRequest(tbs) => Some(tbs.signature_algorithm()),
            Self::Probe(_) | Self::Statement(_) => None,
        }
    }
}

/// A health probe: a fixed text and random bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    message: Vec<u8>,
}

impl Probe {
    /// A probe unlike any before. Should the system have no random bytes, they
    /// are zero: nothing depends on them but that caches see another probe.
    pub fn new() -> Self {
        let mut nonce = [0; 32];
        let _ = rand::fill(&mut nonce);
        Self {
            message: [PROBE, &nonce].concat(),
        }
    }

    /// The bytes to be signed, to verify the answer with.
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}
