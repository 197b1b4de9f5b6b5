//! The to-be-signed bytes of certification requests of our own (RFC 2986): a CA's to another CA, a client's to us.

use sealwright_identity::{Digest, San};

use crate::{
    algorithm::SignatureAlgorithm,
    asn1::{Malformed, Reader, Writer, tag},
    oids,
    spki::{SpkiError, SpkiRef},
    tbs::{self, encode},
};

/// A `Name` without attributes.
pub const EMPTY_NAME: &[u8] = &[tag::SEQUENCE, 0];

/// The fields of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFields {
    /// The subject's `Name` in DER; may be [`EMPTY_NAME`].
    pub subject_der: Vec<u8>,
    /// The public key, as `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
    /// The names to ask for; may be none.
    pub sans: Vec<San>,
    /// How the private key signs.
    pub signature_algorithm: SignatureAlgorithm,
}

/// The exact bytes of a request that its signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTbs {
    der: Vec<u8>,
    signature_algorithm: SignatureAlgorithm,
}

impl RequestTbs {
    /// Builds the bytes.
    ///
    /// # Errors
    /// When the subject is not DER, the key is not supported, or the algorithm is not for it.
    pub fn build(fields: &RequestFields) -> Result<Self, RequestError> {
        Self::encode(fields, None)
    }

    /// Builds the bytes of a request that no CA is asked with: its attribute holds a digest of a ceremony's
    /// transcript or plan, so that the key says "I was made there".
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_confirming(fields: &RequestFields, digest: &Digest) -> Result<Self, RequestError> {
        Self::encode(fields, Some(digest))
    }

    fn encode(fields: &RequestFields, confirming: Option<&Digest>) -> Result<Self, RequestError> {
        let spki = SpkiRef::parse(&fields.spki_der).map_err(RequestError::Key)?;
        if SignatureAlgorithm::for_ca_key(spki.key_type()) != fields.signature_algorithm {
            return Err(RequestError::Algorithm);
        }
        Reader::open(&fields.subject_der, der::Tag::Sequence, "Name").map_err(RequestError::Name)?;
        let mut w = Writer::with_capacity(256 + spki.der().len());
        w.nest(tag::SEQUENCE, |w| {
            w.value(tag::INTEGER, &[0]);
            w.raw(&fields.subject_der);
            w.raw(spki.der());
            w.nest(tag::context_constructed(0), |w| {
                if !fields.sans.is_empty() {
                    extension_request(w, &fields.sans);
                }
                if let Some(digest) = confirming {
                    confirmation(w, digest);
                }
            });
        });
        Ok(Self {
            der: w.into_bytes(),
            signature_algorithm: fields.signature_algorithm,
        })
    }

    /// The bytes to sign.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// How they are to be signed.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature_algorithm
    }

    /// The request: these bytes, the algorithm, a signature (DER for ECDSA). It is not verified here.
    #[must_use]
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        tbs::assemble(&self.der, self.signature_algorithm, signature)
    }
}

fn confirmation(w: &mut Writer, digest: &Digest) {
    w.nest(tag::SEQUENCE, |w| {
        w.value(tag::OID, oids::CONFIRMATION);
        w.nest(tag::SET, |w| w.value(tag::OCTET_STRING, digest.as_bytes()));
    });
}

fn extension_request(w: &mut Writer, sans: &[San]) {
    w.nest(tag::SEQUENCE, |w| {
        w.value(tag::OID, oids::EXTENSION_REQUEST);
        w.nest(tag::SET, |w| {
            w.nest(tag::SEQUENCE, |w| encode::subject_alt_name(w, sans));
        });
    });
}

/// Why a request cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A subject that is not DER.
    #[error("the subject's name cannot be read")]
    Name(#[source] Malformed),
    /// The key is not one that we know.
    #[error("the public key is not accepted")]
    Key(#[source] SpkiError),
    /// An algorithm for another kind of key.
    #[error("the signature algorithm is not for this kind of key")]
    Algorithm,
}
