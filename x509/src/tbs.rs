//! The to-be-signed bytes of leaf certificates: one profile, built from fields or read back to them.
//!
//! The profile (RFC 5280 and RFC 8813, after Istio's with its hazards mended): version 3; a subject that is
//! empty or the first name; basicConstraints (critical, not a CA), keyUsage (critical, digitalSignature, and
//! keyEncipherment for RSA alone), extendedKeyUsage, subjectKeyIdentifier, authorityKeyIdentifier and
//! subjectAltName (always critical), in this order and nothing else.
//!
//! The invariant: the bytes of a [`LeafTbs`] are what its fields build. [`LeafTbs::decode`] keeps it for bytes
//! of an unknown writer by building them again and comparing, so what the profile cannot say cannot pass.

mod decode;
pub(crate) mod encode;
mod fields;

use sealwright_identity::{KeyType, SerialError, Usage};

pub use crate::algorithm::SignatureAlgorithm;
pub use fields::{LeafFields, LeafKind, MAX_SANS, common_name_of};

use crate::{
    asn1::{Malformed, Writer, tag},
    extensions::ExtensionsError,
    spki::{SpkiError, SpkiRef},
    time::TimeError,
};

/// The name of this profile and of the code that builds it. It changes when the same fields would give other bytes: then
/// nobody can tell from a record of the one before whether its bytes were right.
pub const BUILDER: &str = "sealwright-leaf/1";

/// The exact bytes of a leaf certificate that a signature covers, and the fields that they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafTbs {
    der: Vec<u8>,
    fields: LeafFields,
    key_type: KeyType,
}

impl LeafTbs {
    /// Builds the bytes.
    ///
    /// # Errors
    /// When the fields are not what the profile allows; [`LeafFields`] says what that is.
    pub fn build(fields: &LeafFields) -> Result<Self, TbsError> {
        Self::from_fields(fields.clone())
    }

    /// Builds the bytes and keeps the fields.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn from_fields(fields: LeafFields) -> Result<Self, TbsError> {
        let spki = SpkiRef::parse_leaf(&fields.spki_der).map_err(TbsError::Key)?;
        let (key_type, der) = (spki.key_type(), encode::encode(&fields, &spki)?);
        Ok(Self {
            der,
            fields,
            key_type,
        })
    }

    /// Reads bytes of an unknown writer: accepted only when the fields in them build the same bytes again.
    ///
    /// # Errors
    /// When they are not the DER of a certificate's to-be-signed part, or are anything but the profile.
    pub fn decode(der: &[u8]) -> Result<Self, TbsError> {
        let (fields, spki) = decode::decode(der)?;
        let rebuilt = encode::encode(&fields, &spki)?;
        if rebuilt != der {
            let same = rebuilt.iter().zip(der).take_while(|(a, b)| a == b);
            return Err(TbsError::Differs { offset: same.count() });
        }
        Ok(Self {
            der: rebuilt,
            fields,
            key_type: spki.key_type(),
        })
    }

    /// What the bytes say.
    #[must_use]
    pub fn fields(&self) -> &LeafFields {
        &self.fields
    }

    /// The kind of the certified key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The bytes to sign.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate: these bytes, the algorithm, a signature (DER for ECDSA). It is not verified here.
    #[must_use]
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        assemble(&self.der, self.fields.signature_algorithm, signature)
    }
}

pub(crate) fn assemble(tbs: &[u8], algorithm: SignatureAlgorithm, signature: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(tbs.len() + signature.len() + 32);
    w.nest(tag::SEQUENCE, |w| {
        w.raw(tbs);
        w.raw(algorithm.identifier_der());
        w.bits(signature);
    });
    w.into_bytes()
}

/// Why something is not a leaf of the profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TbsError {
    /// Not DER.
    #[error("the to-be-signed certificate cannot be read")]
    Malformed(#[from] Malformed),
    /// Bytes after the structure.
    #[error("there are bytes after the to-be-signed certificate")]
    TrailingBytes,
    /// Not version 3.
    #[error("the certificate is not of version 3")]
    Version,
    /// The serial number is not one.
    #[error("the serial number is not valid")]
    Serial(#[source] SerialError),
    /// An algorithm that no issuer of ours signs with.
    #[error("the signature algorithm is none that an issuer signs with")]
    Algorithm,
    /// The issuer's name is empty or not one DER `Name`.
    #[error("the issuer is not a distinguished name")]
    Issuer,
    /// The validity cannot be written or read.
    #[error("the validity is not valid")]
    Validity(#[from] TimeError),
    /// A subject with anything but one common name.
    #[error("the subject has the attribute {oid} with the value {value:?}")]
    SubjectAttribute {
        /// The attribute's object identifier.
        oid: String,
        /// Its value.
        value: String,
    },
    /// A common name that is not the first name of the certificate, or is too long.
    #[error("the common name {found:?} is not the certificate's first name in at most 64 characters")]
    CommonName {
        /// The common name.
        found: String,
    },
    /// The public key is not one that we certify.
    #[error("the certified public key is not accepted")]
    Key(#[source] SpkiError),
    /// The extensions cannot be read, or one is there twice.
    #[error("the extensions are not valid")]
    Extensions(#[from] ExtensionsError),
    /// An extension that the profile has not.
    #[error("the extension {oid} is not in the profile")]
    UnknownExtension {
        /// Its object identifier.
        oid: String,
    },
    /// An extension that the profile demands.
    #[error("the extension {name} is missing")]
    MissingExtension {
        /// Its name.
        name: &'static str,
    },
    /// An extension whose criticality is not the profile's.
    #[error("the extension {name} is critical or not, against the profile")]
    Criticality {
        /// Its name.
        name: &'static str,
    },
    /// A CA.
    #[error("the certificate would be a CA's")]
    IsCa,
    /// Key usages other than the profile's for this kind of key.
    #[error("the key usages ({found}) are not the profile's for this kind of key")]
    KeyUsage {
        /// What is there.
        found: String,
    },
    /// An extended key usage other than server and client authentication.
    #[error("the extended key usage {oid} is not in the profile")]
    ExtendedKeyUsage {
        /// Its object identifier.
        oid: String,
    },
    /// No usages, repeated ones, or in another order than server, client.
    #[error("the usages are empty, repeated or out of order: {found:?}")]
    Usages {
        /// What is there.
        found: Vec<Usage>,
    },
    /// An authority key identifier that is empty, too long or has more than the identifier.
    #[error("the authority key identifier is not one identifier of 1 to 64 octets")]
    AuthorityKeyIdentifier,
    /// A name that is not of an issued kind, or not valid.
    #[error("the name {found:?} is not one that we issue: {reason}")]
    San {
        /// The name.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No names, the same twice, or too many.
    #[error("there are no names, one is repeated, or there are more than {MAX_SANS}")]
    Sans,
    /// Names or usages that do not go with the kind of leaf.
    #[error("{reason}")]
    Kind {
        /// What does not fit.
        reason: &'static str,
    },
    /// The fields build other bytes: an encoding or an order that is not the profile's.
    #[error("the bytes are not those of the profile, from octet {offset} on")]
    Differs {
        /// The first octet that differs.
        offset: usize,
    },
}

impl TbsError {
    /// A short name for metrics and records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "tbs_malformed",
            Self::TrailingBytes => "tbs_trailing_bytes",
            Self::Version => "tbs_version",
            Self::Serial(_) => "tbs_serial",
            Self::Algorithm => "tbs_algorithm",
            Self::Issuer => "tbs_issuer",
            Self::Validity(_) => "tbs_validity",
            Self::SubjectAttribute { .. } => "tbs_subject",
            Self::CommonName { .. } => "tbs_common_name",
            Self::Key(_) => "tbs_key",
            Self::Extensions(_) => "tbs_extensions",
            Self::UnknownExtension { .. } => "tbs_unknown_extension",
            Self::MissingExtension { .. } => "tbs_missing_extension",
            Self::Criticality { .. } => "tbs_criticality",
            Self::IsCa => "tbs_is_ca",
            Self::KeyUsage { .. } => "tbs_key_usage",
            Self::ExtendedKeyUsage { .. } => "tbs_extended_key_usage",
            Self::Usages { .. } => "tbs_usages",
            Self::AuthorityKeyIdentifier => "tbs_authority_key_identifier",
            Self::San { .. } => "tbs_san",
            Self::Sans => "tbs_sans",
            Self::Kind { .. } => "tbs_kind",
            Self::Differs { .. } => "tbs_differs",
        }
    }
}

#[cfg(test)]
mod tests;
