//! A CA from before the ceremony: its certificate stands in the plan, its key is in a token that the plan names.
//!
//! It is read from the plan alone. Whether the token has its key is seen at stage 2, before anything is made.

use sealwright_identity::Validity;
use sealwright_x509::CertificateRef;
use sealwright_x509::certificate::CertificateError;
use sealwright_x509::pem::{self, PemError};
use sealwright_x509::spki::SpkiError;

use crate::chain::MadeKey;
use crate::plan::{CrossStep, Plan, Step, TokenPlan};

/// A CA from before.
#[derive(Clone, Debug)]
pub(crate) struct Older {
    pub(crate) der: Vec<u8>,
    /// The certificates above it, the root last; none for a root.
    pub(crate) parents: Vec<Vec<u8>>,
    pub(crate) subject_der: Vec<u8>,
    pub(crate) ski: Vec<u8>,
    pub(crate) validity: Validity,
    pub(crate) path_length: Option<u8>,
    /// Whether it comes from a rehearsal.
    pub(crate) rehearsal: bool,
    /// Its key, as the plan says where it is.
    pub(crate) key: MadeKey,
}

impl Older {
    pub(crate) fn read(step: &CrossStep) -> Result<Self, OlderError> {
        let der = pem::decode_one(&[pem::CERTIFICATE], &step.older)?;
        let parents = if step.older_parents.trim().is_empty() {
            Vec::new()
        } else {
            pem::decode_all(pem::CERTIFICATE, &step.older_parents)?
        };
        let certificate = CertificateRef::parse(&der)?;
        let (authority, path_length) = certificate.basic_constraints()?;
        if !authority || !certificate.may_sign_certificates()? {
            return Err(OlderError::NoAuthority);
        }
        let ski = certificate
            .subject_key_identifier()?
            .ok_or(OlderError::NoKeyIdentifier)?;
        let spki = certificate.spki()?;
        let key = MadeKey {
            name: step.name.clone(),
            token: step.token.clone(),
            label: step.label.clone(),
            id: hex::decode(&step.id).map_err(|_| OlderError::Id)?,
            key_type: spki.key_type(),
            spki: spki.der().to_vec(),
        };
        Ok(Self {
            subject_der: certificate.subject_der().to_vec(),
            ski: ski.to_vec(),
            validity: certificate.validity(),
            path_length,
            rehearsal: certificate.rehearsal()?.is_some(),
            key,
            parents,
            der,
        })
    }

    /// What stands above a certificate that it signs.
    pub(crate) fn path(&self) -> Vec<Vec<u8>> {
        let mut path = vec![self.der.clone()];
        path.extend(self.parents.iter().cloned());
        path
    }
}

/// The cross-certificates whose older key is in a token.
pub(crate) fn on<'a>(plan: &'a Plan, token: &'a TokenPlan) -> impl Iterator<Item = &'a CrossStep> {
    plan.steps.iter().filter_map(|step| match step {
        Step::CrossCertificate(step) if step.token == token.name => Some(step),
        _ => None,
    })
}

/// Why there is no such CA.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OlderError {
    #[error("`older` or `older_parents` is no PEM")]
    Pem(#[from] PemError),
    #[error("`older` cannot be read")]
    Certificate(#[from] CertificateError),
    #[error("the key of `older` is not one that we know")]
    Key(#[from] SpkiError),
    #[error("`older` is no CA's certificate")]
    NoAuthority,
    #[error("`older` has no key identifier")]
    NoKeyIdentifier,
    #[error("`id` is not hexadecimal digits")]
    Id,
}
