//! The to-be-signed bytes of CA certificates, roots and intermediates: one profile, built from fields.
//!
//! The profile: version 3; basicConstraints (critical, a CA), keyUsage (critical, keyCertSign and cRLSign),
//! subjectKeyIdentifier, authorityKeyIdentifier; then, where a ceremony's plan says so, cRLDistributionPoints,
//! authorityInfoAccess, and our own mark of a rehearsal. No names, no extended key usages.

use sealwright_identity::{SerialNumber, Validity};

use crate::{
    algorithm::SignatureAlgorithm,
    asn1::{Malformed, Writer, tag},
    name, oids,
    spki::{SpkiError, SpkiRef},
    tbs::{self, encode},
    time::{self, TimeError},
};

/// The fields of a CA certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFields {
    /// The serial number.
    pub serial: SerialNumber,
    /// The CA's `Name` in DER, not empty ([`crate::name::authority_name`]).
    pub subject_der: Vec<u8>,
    /// The issuer's `Name` in DER; the subject again for a root.
    pub issuer_der: Vec<u8>,
    /// From 1970 to 9999.
    pub validity: Validity,
    /// The CA's key, as `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
    /// How many CA certificates may follow on the way to a leaf; `None` without a limit, at most 127.
    pub path_len: Option<u8>,
    /// The issuer's key identifier; `None` for a root, which gets its own.
    pub aki: Option<Vec<u8>>,
    /// How the issuer signs.
    pub signature_algorithm: SignatureAlgorithm,
}

/// What a CA certificate may say beyond its fields; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityExtensions {
    /// Where the issuer's CRL is, for a certificate below a root.
    pub crl_urls: Vec<String>,
    /// Where the issuer's certificate is.
    pub issuer_urls: Vec<String>,
    /// The id of the rehearsal that the certificate comes from.
    pub rehearsal: Option<[u8; 16]>,
}

/// The exact bytes of a CA certificate that a signature covers, and the fields that they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityTbs {
    der: Vec<u8>,
    fields: AuthorityFields,
    /// Most have none.
    extensions: Box<AuthorityExtensions>,
    ski: [u8; 20],
}

impl AuthorityTbs {
    /// Builds the bytes.
    ///
    /// # Errors
    /// When a name is empty or not DER, the key is not supported, or a time or the path length cannot be written.
    pub fn build(fields: &AuthorityFields) -> Result<Self, AuthorityError> {
        Self::build_with(fields, &AuthorityExtensions::default())
    }

    /// Builds the bytes, with more extensions.
    ///
    /// # Errors
    /// As [`Self::build`], and when a URL is not plain ASCII.
    pub fn build_with(fields: &AuthorityFields, more: &AuthorityExtensions) -> Result<Self, AuthorityError> {
        let spki = SpkiRef::parse(&fields.spki_der).map_err(AuthorityError::Key)?;
        check_name(&fields.subject_der)?;
        check_name(&fields.issuer_der)?;
        if fields.path_len.is_some_and(|length| length > 127) {
            return Err(AuthorityError::PathLength);
        }
        let mut urls = more.crl_urls.iter().chain(&more.issuer_urls);
        if let Some(url) = urls.find(|url| url.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(AuthorityError::Url(url.clone()));
        }
        let not_before = time::date_time(fields.validity.not_before())?;
        let not_after = time::date_time(fields.validity.not_after())?;
        let ski = spki.key_identifier();
        let mut w = Writer::with_capacity(512 + spki.der().len());
        w.nest(tag::SEQUENCE, |w| {
            w.raw(&[tag::context_constructed(0), 3, tag::INTEGER, 1, 2]);
            w.value(tag::INTEGER, fields.serial.as_bytes());
            w.raw(fields.signature_algorithm.identifier_der());
            w.raw(&fields.issuer_der);
            time::write_validity(w, not_before, not_after);
            w.raw(&fields.subject_der);
            w.raw(spki.der());
            w.nest(tag::context_constructed(3), |w| {
                w.nest(tag::SEQUENCE, |w| {
                    extensions(w, fields, &ski);
                    more_extensions(w, more);
                });
            });
        });
        Ok(Self {
            der: w.into_bytes(),
            fields: fields.clone(),
            extensions: Box::new(more.clone()),
            ski,
        })
    }

    /// What the bytes say.
    #[must_use]
    pub fn fields(&self) -> &AuthorityFields {
        &self.fields
    }

    /// What they say beyond that.
    #[must_use]
    pub fn extensions(&self) -> &AuthorityExtensions {
        &self.extensions
    }

    /// The CA's own key identifier, for what it issues.
    #[must_use]
    pub fn ski(&self) -> &[u8] {
        &self.ski
    }

    /// The bytes to sign.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate: these bytes, the algorithm, a signature (DER for ECDSA). It is not verified here.
    #[must_use]
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        tbs::assemble(&self.der, self.fields.signature_algorithm, signature)
    }
}

fn extensions(w: &mut Writer, fields: &AuthorityFields, ski: &[u8]) {
    encode::extension(w, oids::BASIC_CONSTRAINTS, true, |w| {
        w.nest(tag::SEQUENCE, |w| {
            w.raw(&[tag::BOOLEAN, 1, 0xff]);
            if let Some(length) = fields.path_len {
                w.value(tag::INTEGER, &[length]);
            }
        });
    });
    encode::extension(w, oids::KEY_USAGE, true, |w| {
        // keyCertSign and cRLSign: bits 5 and 6, one unused.
        w.raw(&[tag::BIT_STRING, 2, 1, 0x06]);
    });
    encode::key_identifiers(w, ski, fields.aki.as_deref().unwrap_or(ski));
}

fn more_extensions(w: &mut Writer, more: &AuthorityExtensions) {
    let url = |w: &mut Writer, url: &String| w.value(tag::context(6), url.as_bytes());
    if !more.crl_urls.is_empty() {
        encode::extension(w, oids::CRL_DISTRIBUTION_POINTS, false, |w| {
            w.nest(tag::SEQUENCE, |w| {
                for crl in &more.crl_urls {
                    // DistributionPoint, distributionPoint, fullName.
                    w.nest(tag::SEQUENCE, |w| {
                        w.nest(tag::context_constructed(0), |w| {
                            w.nest(tag::context_constructed(0), |w| url(w, crl));
                        });
                    });
                }
            });
        });
    }
    if !more.issuer_urls.is_empty() {
        encode::extension(w, oids::AUTHORITY_INFO_ACCESS, false, |w| {
            w.nest(tag::SEQUENCE, |w| {
                for issuer in &more.issuer_urls {
                    w.nest(tag::SEQUENCE, |w| {
                        w.value(tag::OID, oids::CA_ISSUERS);
                        url(w, issuer);
                    });
                }
            });
        });
    }
    if let Some(id) = &more.rehearsal {
        encode::extension(w, oids::REHEARSAL, false, |w| w.value(tag::OCTET_STRING, id));
    }
}

fn check_name(der: &[u8]) -> Result<(), AuthorityError> {
    match name::check(der) {
        Ok(true) => Ok(()),
        Ok(false) => Err(AuthorityError::NoName),
        Err(malformed) => Err(AuthorityError::Name(malformed)),
    }
}

/// Why a CA certificate cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A name that is not DER.
    #[error("the authority's or issuer's name cannot be read")]
    Name(#[source] Malformed),
    /// An empty name.
    #[error("an authority has a name that is not empty")]
    NoName,
    /// The key is not one that we certify.
    #[error("the authority's public key is not accepted")]
    Key(#[source] SpkiError),
    /// A time that a certificate cannot hold.
    #[error("the authority's validity is not valid")]
    Validity(#[from] TimeError),
    /// A URL that an extension cannot hold.
    #[error("{0:?} is no URL of plain ASCII characters")]
    Url(String),
    /// Above 127.
    #[error("a path length is at most 127")]
    PathLength,
}
