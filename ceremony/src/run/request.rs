//! Certification requests to a CA elsewhere, and the certificates that come back.

use sealwright_hsm::Signable;
use sealwright_identity::{Digest, KeyType};
use sealwright_x509::name::authority_name;
use sealwright_x509::{CertificateRef, RequestFields, RequestTbs, SignatureAlgorithm, pem};
use serde::{Deserialize, Serialize};

use super::{Hex, Run, officer};
use crate::chain::{MadeCertificate, MadeKey};
use crate::error::Error;
use crate::openssl::Question;
use crate::plan::{CsrStep, ImportStep};

#[derive(Serialize)]
struct RequestFact {
    request: Digest,
    spki: Digest,
}

#[derive(Serialize)]
struct ImportFact {
    certificate: Digest,
    spki: Digest,
    root: Digest,
}

/// A key that is in the token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    spki: Hex,
    algorithm: KeyType,
}

impl Run<'_> {
    pub(super) fn csr(&mut self, step: &CsrStep) -> Result<(), Error> {
        let name = step.name.as_str();
        let key = self.made_key(&step.key)?;
        let fields = RequestFields {
            subject_der: authority_name(step.organization.as_deref(), &step.common_name),
            spki_der: key.spki.clone(),
            sans: Vec::new(),
            signature_algorithm: SignatureAlgorithm::for_ca_key(key.key_type),
        };
        let tbs = RequestTbs::build(&fields).map_err(|error| Error::check(name, error))?;
        let signature = self.sign(
            (name, "C_Sign"),
            &key,
            &Signable::CertificationRequest(tbs.clone()),
        )?;
        let der = tbs.assemble(&signature);
        let question = Question::Request {
            der: &der,
            key_type: key.key_type,
        };
        self.second(name, "openssl", &question)?;
        self.journal.fact(
            name,
            "request",
            &RequestFact {
                request: Digest::of(&der),
                spki: Digest::of(&key.spki),
            },
        )?;
        self.requests.insert(step.name.clone(), der);
        Ok(())
    }

    /// The certificate must be for the key that is in the token, and its path must hold.
    pub(super) fn import(&mut self, step: &ImportStep) -> Result<(), Error> {
        let name = step.name.as_str();
        let id = hex::decode(&step.id).map_err(|error| Error::check(name, error))?;
        let officers = &self.officers;
        let found: Found = self.journal.observe(name, "public-key", || {
            let key = officer(officers, &step.token)?.key(&step.label, &id);
            let key = key.map_err(Error::token(format!("finding the key {:?}", step.label)))?;
            Ok(Found {
                spki: Hex(key.spki_der().to_vec()),
                algorithm: key.key_type(),
            })
        })?;
        let one = |text: &str| pem::decode_one(&[pem::CERTIFICATE], text);
        let der = one(&step.certificate).map_err(|error| Error::check(name, error))?;
        let parents =
            pem::decode_all(pem::CERTIFICATE, &step.parents).map_err(|error| Error::check(name, error))?;
        let certificate = CertificateRef::parse(&der).map_err(|error| Error::check(name, error))?;
        if certificate.spki_der() != found.spki.0 {
            return Err(Error::check(
                name,
                "the certificate is for another key than the one in the token",
            ));
        }
        let at = certificate.validity().not_before();
        let made = MadeCertificate {
            name: step.name.clone(),
            der: der.clone(),
            parents,
            built: None,
            key: MadeKey {
                name: step.name.clone(),
                token: step.token.clone(),
                label: step.label.clone(),
                id,
                key_type: found.algorithm,
                spki: found.spki.0.clone(),
            },
        };
        made.validate(at)?;
        let question = Question::Path {
            der: &made.der,
            parents: &made.parents,
            at,
        };
        self.second(name, "openssl", &question)?;
        self.journal.fact(
            name,
            "certificate",
            &ImportFact {
                certificate: Digest::of(&der),
                spki: Digest::of(&found.spki.0),
                root: Digest::of(made.root()),
            },
        )?;
        self.certificates.insert(step.name.clone(), made);
        Ok(())
    }
}
