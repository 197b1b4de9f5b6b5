//! All that a key of this crate can sign: four kinds of structure, each with a
//! type that can only be made whole. There is no way to sign a bare digest, or
//! bytes of the caller's choice.

use aws_lc_rs::rand;

use crate::{
    asn1::{BIT_STRING, SEQUENCE, element},
    key::{KeyHandle, KeyPurpose},
    tbs::{AuthorityTbs, LeafTbs, SignatureAlgorithm},
};

/// First bytes of a probe. No DER begins so, hence no probe is a certificate.
const PROBE: &[u8] = b"sealwright/health-probe/v1\0";

/// What is to be signed.
#[derive(Clone, Debug)]
pub enum Signable {
    /// A leaf certificate.
    Leaf(LeafTbs),
    /// A certificate of an authority.
    Authority(AuthorityTbs),
    /// A PKCS#10 certification request for the signing key itself.
    CertificationRequest(CertificationRequestInfo),
    /// A health probe.
    Probe(Probe),
}

impl Signable {
    /// The exact bytes to be signed.
    pub(crate) fn message(&self) -> &[u8] {
        match self {
            Self::Leaf(tbs) => tbs.as_der(),
            Self::Authority(tbs) => tbs.as_der(),
            Self::CertificationRequest(info) => info.as_der(),
            Self::Probe(probe) => probe.message(),
        }
    }

    /// The purpose that a key must have for it.
    pub(crate) fn purpose(&self) -> KeyPurpose {
        match self {
            Self::Leaf(_) | Self::Authority(_) | Self::CertificationRequest(_) => KeyPurpose::Issuing,
            Self::Probe(_) => KeyPurpose::Health,
        }
    }

    /// The algorithm written in it, which the key must be able to keep.
    pub(crate) fn algorithm(&self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Leaf(tbs) => Some(tbs.fields().signature_algorithm),
            Self::Authority(tbs) => Some(tbs.fields().signature_algorithm),
            Self::CertificationRequest(info) => Some(info.algorithm),
            Self::Probe(_) => None,
        }
    }
}

/// `CertificationRequestInfo` (RFC 2986 section 4.1) without attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificationRequestInfo {
    der: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl CertificationRequestInfo {
    /// For the key itself, under the subject given as a `Name` in DER. The
    /// subject is taken as it is; who certifies it parses it.
    pub fn new(subject_der: &[u8], key: &KeyHandle) -> Self {
        const VERSION: &[u8] = &[0x02, 0x01, 0x00];
        const NO_ATTRIBUTES: &[u8] = &[0xa0, 0x00];
        let parts = [VERSION, subject_der, key.spki_der(), NO_ATTRIBUTES];
        Self {
            der: element(SEQUENCE, &parts),
            algorithm: SignatureAlgorithm::for_ca_key(key.key_type()),
        }
    }

    /// The bytes to be signed.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The whole request in DER.
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        let signature = element(BIT_STRING, &[&[0], signature]);
        let parts = [&self.der, self.algorithm.identifier_der(), &signature];
        element(SEQUENCE, &parts)
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
