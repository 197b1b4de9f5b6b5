//! Certificates as they arrive (RFC 5280): split and read, borrowed, not verified.
//!
//! For chains of issuers, and for whoever has to look into a certificate. Not a path validation: that is in
//! [`crate::issuer`] for our own chains, and in the TLS library for peers.

use der::Tag;
use sealwright_identity::{SerialError, SerialNumber, Validity};

use crate::{
    asn1::{Malformed, Reader, context},
    extensions::{self, ExtensionRef, ExtensionsError, GeneralName},
    oids,
    spki::{SpkiError, SpkiRef},
    time::{self, TimeError},
    verify::{self, Scheme, VerifyError},
};

/// A certificate, borrowed.
#[derive(Clone, Debug)]
pub struct CertificateRef<'a> {
    tbs_der: &'a [u8],
    algorithm_der: &'a [u8],
    signature: &'a [u8],
    serial: SerialNumber,
    issuer_der: &'a [u8],
    validity: Validity,
    subject_der: &'a [u8],
    spki_der: &'a [u8],
    extensions: Vec<ExtensionRef<'a>>,
}

impl<'a> CertificateRef<'a> {
    /// Reads the only certificate in some bytes.
    ///
    /// # Errors
    /// When it is not one well-formed certificate of version 3, or its algorithm fields differ.
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        let mut certificate = Reader::open(der, Tag::Sequence, "Certificate")?;
        let tbs_der = certificate.raw(Tag::Sequence)?;
        let algorithm_der = certificate.raw(Tag::Sequence)?;
        let signature = certificate.octet_aligned_bits()?;
        certificate.finish()?;

        let mut tbs = Reader::open(tbs_der, Tag::Sequence, "TBSCertificate")?;
        match tbs.take_optional(context(0, true))? {
            Some([0x02, 0x01, 0x02]) => {}
            _ => return Err(CertificateError::Version),
        }
        let serial =
            SerialNumber::from_der_content(tbs.take(Tag::Integer)?).map_err(CertificateError::Serial)?;
        if tbs.raw(Tag::Sequence)? != algorithm_der {
            return Err(CertificateError::AlgorithmsDiffer);
        }
        let issuer_der = tbs.raw(Tag::Sequence)?;
        let validity = time::read_validity(&mut tbs)?;
        let subject_der = tbs.raw(Tag::Sequence)?;
        let spki_der = tbs.raw(Tag::Sequence)?;
        tbs.take_optional(context(1, false))?;
        tbs.take_optional(context(2, false))?;
        let extensions = match tbs.take_optional(context(3, true))? {
            Some(list) => extensions::read(&mut Reader::open(list, Tag::Sequence, "Extensions")?)?,
            None => Vec::new(),
        };
        tbs.finish()?;
        Ok(Self {
            tbs_der,
            algorithm_der,
            signature,
            serial,
            issuer_der,
            validity,
            subject_der,
            spki_der,
            extensions,
        })
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn tbs_der(&self) -> &'a [u8] {
        self.tbs_der
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &SerialNumber {
        &self.serial
    }

    /// The issuer's `Name`.
    #[must_use]
    pub fn issuer_der(&self) -> &'a [u8] {
        self.issuer_der
    }

    /// The subject's `Name`.
    #[must_use]
    pub fn subject_der(&self) -> &'a [u8] {
        self.subject_der
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The public key, as `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &'a [u8] {
        self.spki_der
    }

    /// The public key, read.
    ///
    /// # Errors
    /// When it is of a kind that we do not know.
    pub fn spki(&self) -> Result<SpkiRef<'a>, SpkiError> {
        SpkiRef::parse(self.spki_der)
    }

    /// Whether it names itself as its issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// Verifies that a key signed this certificate. Names and dates are not looked at.
    ///
    /// # Errors
    /// When the algorithm is not accepted or the signature is not the key's.
    pub fn verify_signed_by(&self, signer: &SpkiRef<'_>) -> Result<(), VerifyError> {
        let scheme = Scheme::from_identifier_der(self.algorithm_der)?;
        verify::verify(signer, scheme, self.tbs_der, self.signature)
    }

    /// Whether it is a CA's, and how many CA certificates may follow it.
    ///
    /// # Errors
    /// When basicConstraints cannot be read.
    pub fn basic_constraints(&self) -> Result<(bool, Option<u8>), CertificateError> {
        match self.extension(oids::BASIC_CONSTRAINTS) {
            Some(value) => Ok(extensions::basic_constraints(value)?),
            None => Ok((false, None)),
        }
    }

    /// Whether the key may sign certificates: keyUsage is there and says so.
    ///
    /// # Errors
    /// When keyUsage cannot be read.
    pub fn may_sign_certificates(&self) -> Result<bool, CertificateError> {
        match self.extension(oids::KEY_USAGE) {
            Some(value) => Ok(extensions::key_usage(value)? & extensions::KEY_CERT_SIGN != 0),
            None => Ok(false),
        }
    }

    /// The subject key identifier.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn subject_key_identifier(&self) -> Result<Option<&'a [u8]>, CertificateError> {
        let value = self.extension(oids::SUBJECT_KEY_IDENTIFIER);
        Ok(value.map(extensions::subject_key_identifier).transpose()?)
    }

    /// The id of the rehearsal that it comes from, if it does.
    ///
    /// # Errors
    /// When the mark is there and cannot be read.
    pub fn rehearsal(&self) -> Result<Option<[u8; 16]>, CertificateError> {
        let Some(value) = self.extension(oids::REHEARSAL) else {
            return Ok(None);
        };
        let mut mark = Reader::new(value, "Rehearsal")?;
        let id = mark.take(Tag::OctetString)?;
        mark.finish()?;
        let id = <[u8; 16]>::try_from(id);
        id.map(Some)
            .map_err(|_| Malformed::value("Rehearsal", Tag::OctetString).into())
    }

    /// The URIs among its alternative names, unchecked.
    ///
    /// # Errors
    /// When subjectAltName cannot be read.
    pub fn uris(&self) -> Result<Vec<&'a str>, CertificateError> {
        let mut uris = Vec::new();
        if let Some(value) = self.extension(oids::SUBJECT_ALT_NAME) {
            extensions::general_names::<Malformed>(value, |name| {
                if let GeneralName::Uri(text) = name {
                    uris.push(text);
                }
                Ok(())
            })?;
        }
        Ok(uris)
    }

    /// The extended key usages as object identifiers' octets; `None` when there is no such extension.
    pub(crate) fn extended_key_usage(&self) -> Result<Option<Vec<&'a [u8]>>, CertificateError> {
        let value = self.extension(oids::EXTENDED_KEY_USAGE);
        Ok(value.map(extensions::extended_key_usage).transpose()?)
    }

    /// The critical extensions that `known` has not.
    pub(crate) fn critical_beyond(&self, known: &[&[u8]]) -> Option<String> {
        let unknown = |extension: &&ExtensionRef<'_>| extension.critical && !known.contains(&extension.oid);
        let found = self.extensions.iter().find(unknown)?;
        Some(oids::dotted(found.oid))
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let found = self.extensions.iter().find(|extension| extension.oid == oid)?;
        Some(found.value)
    }
}

/// When a certificate of these to-be-signed bytes is valid. What else they say is not looked at.
///
/// # Errors
/// When they cannot be read that far.
pub fn validity_of(tbs_der: &[u8]) -> Result<Validity, CertificateError> {
    let mut tbs = Reader::open(tbs_der, Tag::Sequence, "TBSCertificate")?;
    tbs.take_optional(context(0, true))?;
    tbs.take(Tag::Integer)?;
    tbs.raw(Tag::Sequence)?;
    tbs.raw(Tag::Sequence)?;
    Ok(time::read_validity(&mut tbs)?)
}

/// Why bytes are not a certificate that we can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not DER.
    #[error("the certificate cannot be read")]
    Malformed(#[from] Malformed),
    /// Not version 3.
    #[error("the certificate is not of version 3")]
    Version,
    /// The serial number is not one.
    #[error("the certificate's serial number is not valid")]
    Serial(#[source] SerialError),
    /// The validity cannot be read.
    #[error("the certificate's validity is not valid")]
    Validity(#[from] TimeError),
    /// The signed and the unsigned algorithm differ (RFC 5280, section 4.1.1.2).
    #[error("the certificate's two signature algorithms differ")]
    AlgorithmsDiffer,
    /// The extensions cannot be read.
    #[error("the certificate's extensions are not valid")]
    Extensions(#[from] ExtensionsError),
}
