//! Certification requests (PKCS#10, RFC 2986): parsed strictly, bounded, possession of the key verified.
//!
//! A [`VerifiedCsr`] exists only when its self-signature was right. It gives a public key; everything that
//! the applicant asks for beside it is a fact for policies ([`CsrFacts`]) and never gets into a certificate.
//! So a request for a CA, for foreign names or with odd extensions is a good request.

mod facts;

use der::Tag;
use sealwright_identity::KeyType;

pub use facts::CsrFacts;

use crate::{
    asn1::{Malformed, Reader, context},
    extensions::ExtensionsError,
    pem::{self, PemError},
    spki::{SpkiError, SpkiRef},
    verify::{self, Scheme, VerifyError},
};

/// Bounds on what is read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsrLimits {
    /// The most bytes, in the form in which the request came.
    pub max_bytes: usize,
}

impl Default for CsrLimits {
    fn default() -> Self {
        Self { max_bytes: 16_384 }
    }
}

/// A request whose sender has the private key of the public key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCsr {
    der: Vec<u8>,
    spki_der: Vec<u8>,
    facts: CsrFacts,
}

impl VerifiedCsr {
    /// Reads a request in either form: one PEM block with nothing around it, or DER.
    ///
    /// # Errors
    /// As [`Self::from_der`], and when the PEM is not one request.
    pub fn from_pem_or_der(bytes: &[u8], limits: &CsrLimits) -> Result<Self, CsrError> {
        check_size(bytes, limits)?;
        // DER begins with a SEQUENCE's tag, which is the digit 0: not the beginning of any PEM.
        if bytes.first() == Some(&crate::asn1::tag::SEQUENCE) {
            return Self::parse(bytes.to_vec());
        }
        const LABELS: &[&str] = &[pem::CERTIFICATE_REQUEST, pem::NEW_CERTIFICATE_REQUEST];
        Self::parse(pem::decode_one(LABELS, bytes)?)
    }

    /// Reads a request in DER.
    ///
    /// # Errors
    /// When it is empty, too large, not one well-formed request, its key is not one that we certify, or its
    /// signature is weak, of an unknown algorithm or not the key's own.
    pub fn from_der(der: &[u8], limits: &CsrLimits) -> Result<Self, CsrError> {
        check_size(der, limits)?;
        Self::parse(der.to_vec())
    }

    fn parse(der: Vec<u8>) -> Result<Self, CsrError> {
        let mut outermost = Reader::new(&der, "CertificationRequest")?;
        let mut request = outermost.nested(Tag::Sequence, "CertificationRequest")?;
        if !outermost.is_finished() {
            return Err(CsrError::TrailingBytes);
        }
        let info_der = request.raw(Tag::Sequence)?;
        let algorithm = request.raw(Tag::Sequence)?;
        let signature = request.octet_aligned_bits()?;
        request.finish()?;

        let mut info = Reader::open(info_der, Tag::Sequence, "CertificationRequestInfo")?;
        if info.take(Tag::Integer)? != [0] {
            return Err(CsrError::Version);
        }
        let subject = info.take(Tag::Sequence)?;
        let spki = SpkiRef::parse_leaf(info.raw(Tag::Sequence)?).map_err(CsrError::Key)?;
        // Absent attributes are tolerated as every implementation does.
        let attributes = info.take_optional(context(0, true))?.unwrap_or_default();
        info.finish()?;

        let scheme = Scheme::from_identifier_der(algorithm).map_err(CsrError::Algorithm)?;
        // Read before the signature is verified: it is cheaper, and bounded by the size.
        let facts = facts::read(subject, attributes, &spki, scheme)?;
        verify::verify(&spki, scheme, info_der, signature).map_err(|error| match error {
            VerifyError::Signature => CsrError::Signature,
            other => CsrError::Algorithm(other),
        })?;
        let spki_der = spki.der().to_vec();
        Ok(Self { der, spki_der, facts })
    }

    /// The whole request.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The public key, as `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The kind of the public key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.facts.key_type
    }

    /// What the applicant asked for: facts for policies, nothing else.
    #[must_use]
    pub fn facts(&self) -> &CsrFacts {
        &self.facts
    }
}

fn check_size(bytes: &[u8], limits: &CsrLimits) -> Result<(), CsrError> {
    if bytes.is_empty() {
        return Err(CsrError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(CsrError::TooLarge {
            bytes: bytes.len(),
            max: limits.max_bytes,
        });
    }
    Ok(())
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// No bytes.
    #[error("the certification request is empty")]
    Empty,
    /// More bytes than the limit.
    #[error("the certification request has {bytes} bytes, more than {max}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Neither DER nor one PEM block of a request.
    #[error("the certification request is neither DER nor one PEM block")]
    Pem(#[from] PemError),
    /// Not the DER of a request.
    #[error("the certification request cannot be read")]
    Malformed(#[from] Malformed),
    /// Bytes after the request.
    #[error("there are bytes after the certification request")]
    TrailingBytes,
    /// A version other than 1 (which is written 0).
    #[error("the certification request has an unknown version")]
    Version,
    /// The extension request is not usable.
    #[error("the extensions that the certification request asks for cannot be read")]
    Extensions(#[from] ExtensionsError),
    /// An attribute twice, or not with exactly one value.
    #[error("the certification request asks for extensions more than once")]
    RepeatedRequest,
    /// The public key is not one that we certify.
    #[error("the public key of the certification request is not accepted")]
    Key(#[source] SpkiError),
    /// The signature's algorithm is not accepted.
    #[error("the signature algorithm of the certification request is not accepted")]
    Algorithm(#[source] VerifyError),
    /// The signature is not the key's own.
    #[error("the certification request is not signed by the key in it")]
    Signature,
}

impl CsrError {
    /// A short name for metrics and records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "csr_empty",
            Self::TooLarge { .. } => "csr_too_large",
            Self::Pem(_) => "csr_not_pem",
            Self::Malformed(_) | Self::Version | Self::Extensions(_) | Self::RepeatedRequest => {
                "csr_malformed"
            }
            Self::TrailingBytes => "csr_trailing_bytes",
            Self::Key(_) => "csr_key",
            Self::Algorithm(_) => "csr_signature_algorithm",
            Self::Signature => "csr_signature",
        }
    }
}

#[cfg(test)]
mod tests;
