//! An issuer's certificate chain and its trust bundle, verified whole before anything is issued from it.
//!
//! The chain file has the issuing certificate first, each next one having signed the one before; the bundle
//! has the roots. The invariant: an [`IssuerChain`] ended at a root of its bundle, every signature on the way
//! was right, and every certificate on it was valid at the time that was given. It does no I/O and keeps no
//! clock: whoever holds one asks [`IssuerChain::check_validity`] again.

mod path;

use sealwright_identity::{Digest, KeyType, Timestamp, Usage};

pub use path::ChainError;

use crate::{
    algorithm::SignatureAlgorithm,
    certificate::CertificateRef,
    pem,
    verify::{Verifier, VerifyError},
};

/// A verified chain, from the issuing certificate to a root.
#[derive(Clone, Debug)]
pub struct IssuerChain {
    name_der: Vec<u8>,
    ski: Vec<u8>,
    spki_der: Vec<u8>,
    key_type: KeyType,
    key_digest: Digest,
    algorithm: SignatureAlgorithm,
    verifier: Verifier,
    usages: Vec<Usage>,
    not_before: Timestamp,
    not_after: Timestamp,
    intermediates: Vec<Vec<u8>>,
    intermediates_pem: Vec<String>,
    roots: Vec<Vec<u8>>,
    roots_pem: String,
}

impl IssuerChain {
    /// Reads and verifies a chain and a bundle, both PEM.
    ///
    /// # Errors
    /// When either is not PEM certificates, or the chain does not hold at `now`; the error says which and why.
    pub fn load(chain_pem: &[u8], roots_pem: &[u8], now: Timestamp) -> Result<Self, ChainError> {
        let chain = pem::decode_all(pem::CERTIFICATE, chain_pem).map_err(ChainError::ChainPem)?;
        let roots = pem::decode_all(pem::CERTIFICATE, roots_pem).map_err(ChainError::RootsPem)?;
        Self::from_ders(chain, roots, now)
    }

    /// Verifies a chain, issuing certificate first, and a bundle.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_ders(
        chain: Vec<Vec<u8>>,
        mut roots: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Self, ChainError> {
        let mut seen = std::collections::HashSet::new();
        roots.retain(|root| seen.insert(root.clone()));
        let verified = path::verify(&chain, &roots, now)?;
        let issuing_der = chain.first().ok_or(ChainError::Empty)?;
        let unreadable = |source| ChainError::Certificate { position: 1, source };
        let issuing = CertificateRef::parse(issuing_der).map_err(unreadable)?;
        let key_error = |source| ChainError::Key { position: 1, source };
        let spki = issuing.spki().map_err(key_error)?;
        let algorithm = SignatureAlgorithm::for_ca_key(spki.key_type());
        let verifier = Verifier::new(&spki, algorithm).map_err(ChainError::IssuingKey)?;
        let ski = match issuing.subject_key_identifier().map_err(unreadable)? {
            Some(identifier) if (1..=64).contains(&identifier.len()) => identifier.to_vec(),
            Some(_) => return Err(ChainError::KeyIdentifier),
            None => spki.key_identifier().to_vec(),
        };
        let name_der = issuing.subject_der().to_vec();
        let (spki_der, key_type, key_digest) = (spki.der().to_vec(), spki.key_type(), spki.digest());
        let mut intermediates = chain;
        intermediates.truncate(verified.intermediates);
        let to_pem = |der: &Vec<u8>| pem::encode(pem::CERTIFICATE, der);
        Ok(Self {
            name_der,
            ski,
            spki_der,
            key_type,
            key_digest,
            algorithm,
            verifier,
            usages: verified.usages,
            not_before: verified.not_before,
            not_after: verified.not_after,
            intermediates_pem: intermediates.iter().map(to_pem).collect(),
            intermediates,
            roots_pem: roots.iter().map(to_pem).collect(),
            roots,
        })
    }

    /// Checks again that the chain is valid now; [`Self::load`] did so for its own time only.
    ///
    /// # Errors
    /// When it is not valid yet, or no longer.
    pub fn check_validity(&self, now: Timestamp) -> Result<(), ChainError> {
        if self.not_before <= now && now <= self.not_after {
            return Ok(());
        }
        Err(ChainError::NotValid {
            position: 1,
            not_before: self.not_before,
            not_after: self.not_after,
        })
    }

    /// The issuing certificate's subject, which is every leaf's issuer.
    #[must_use]
    pub fn issuer_name_der(&self) -> &[u8] {
        &self.name_der
    }

    /// The issuing certificate's key identifier, which is every leaf's authority key identifier.
    #[must_use]
    pub fn ski(&self) -> &[u8] {
        &self.ski
    }

    /// The issuing key, as `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The kind of the issuing key.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// SHA-256 of the issuing key's `SubjectPublicKeyInfo`: the issuer's name in records.
    #[must_use]
    pub fn key_digest(&self) -> Digest {
        self.key_digest
    }

    /// What the issuing key signs with.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// When the last certificate of the chain, root included, became valid.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the first certificate of the chain, root included, ends: no leaf is valid for longer.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The usages that every extendedKeyUsage in the chain allows; both when there is none.
    #[must_use]
    pub fn usages(&self) -> &[Usage] {
        &self.usages
    }

    /// The chain without roots, issuing certificate first; empty when a root issues itself.
    #[must_use]
    pub fn intermediates_der(&self) -> &[Vec<u8>] {
        &self.intermediates
    }

    /// The same as PEM, one text for each certificate.
    #[must_use]
    pub fn intermediates_pem(&self) -> &[String] {
        &self.intermediates_pem
    }

    /// The bundle, in its order, each root once.
    #[must_use]
    pub fn roots_der(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// The bundle as one PEM text.
    #[must_use]
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// Verifies a signature of the issuing key, in software.
    ///
    /// # Errors
    /// When the signature is not the issuing key's over these bytes.
    pub fn verify(&self, tbs: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        self.verifier.verify(tbs, signature)
    }
}

#[cfg(test)]
mod tests;
