//! The one place where a ceremony has a key sign.

use sealwright_hsm::Signable;
use sealwright_identity::KeyType;
use sealwright_statement::policy::Name;
use sealwright_x509::{SignatureAlgorithm, verify_signature};
use serde::{Deserialize, Serialize};

use super::{Hex, Run, officer};
use crate::beside::{self, Beside};
use crate::chain::MadeKey;
use crate::error::Error;

/// What is about to be signed: the exact bytes.
#[derive(Serialize)]
struct ToSign<'a> {
    token: &'a Name,
    label: &'a str,
    id: Hex,
    structure: &'static str,
    der: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    signature: Hex,
}

impl Run<'_> {
    /// Signs, or takes the signature that is written down, and verifies it in software.
    pub(super) fn sign(
        &mut self,
        (step, call): (&str, &str),
        key: &MadeKey,
        what: &Signable,
    ) -> Result<Vec<u8>, Error> {
        let (structure, der) = match what {
            Signable::Authority(tbs) => ("certificate", tbs.as_der()),
            Signable::CertificationRequest(tbs) => ("certification-request", tbs.as_der()),
            Signable::Leaf(_) | Signable::Probe(_) | Signable::Statement(_) => {
                return Err(Error::Internal(
                    "a ceremony signs nothing of that kind".to_owned(),
                ));
            }
        };
        let intent = ToSign {
            token: &key.token,
            label: &key.label,
            id: Hex(key.id.clone()),
            structure,
            der: Hex(der.to_vec()),
        };
        let officers = &self.officers;
        let Signed { signature } = self.journal.perform(step, call, &intent, |_| {
            let officer = officer(officers, &key.token)?;
            let found = officer
                .key(&key.label, &key.id)
                .map_err(Error::token(format!("finding the key {}", key.name)))?;
            if found.spki_der() != key.spki {
                return Err(Error::State(format!(
                    "the key {} in the token is another than the one that was made",
                    key.name
                )));
            }
            let signature = officer
                .sign(&found, what)
                .map_err(Error::token(format!("signing with the key {}", key.name)))?;
            Ok(Signed {
                signature: Hex(signature),
            })
        })?;
        let algorithm = SignatureAlgorithm::for_ca_key(key.key_type);
        verify_signature(&key.spki, algorithm, der, &signature.0).map_err(|error| {
            Error::check(step, format!("the signature of {} is wrong: {error}", key.name))
        })?;
        self.beside((step, call), key, der, &signature.0)?;
        Ok(signature.0)
    }

    /// Where there is a further verifier for this kind of key, it must agree, and that is written down.
    fn beside(
        &mut self,
        (step, call): (&str, &str),
        key: &MadeKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let Some(due) = Beside::of(key.key_type) else {
            return Ok(());
        };
        beside::verify(&key.spki, message, signature).map_err(|problem| {
            Error::check(step, format!("the signature of {} is wrong: {problem}", key.name))
        })?;
        let call = format!("{call}/beside");
        // Transcripts of P-384 keys are older than this verifier; it looks at them all the same.
        let older = key.key_type == KeyType::P384 && self.room.is_none();
        if older && !self.journal.has(step, &call) {
            return Ok(());
        }
        let told = self.journal.observe(step, &call, || Ok(due.clone()))?;
        if told == due {
            Ok(())
        } else {
            Err(Error::check(
                step,
                format!("{call} names another verifier than {}", due.verifier),
            ))
        }
    }
}
