//! Certificates under a CA from before, and the paths that they open.

use sealwright_identity::Timestamp;
use sealwright_statement::policy::Name;

use super::Run;
use super::certificate::Issuer;
use crate::chain::MadeCertificate;
use crate::error::Error;
use crate::older::Older;
use crate::openssl::Question;
use crate::plan::{CrossStep, Step};
use crate::transcript::chain;

/// A certificate of the ceremony with the path that leads over a cross-certificate.
pub(crate) struct Crossed {
    /// The step of the cross-certificate.
    pub(crate) over: Name,
    pub(crate) made: MadeCertificate,
    /// The first moment at which both are valid.
    at: Timestamp,
}

impl Run<'_> {
    pub(super) fn cross(&mut self, step: &CrossStep) -> Result<(), Error> {
        let key = self.made_key(&step.key)?;
        let older = Older::read(step).map_err(|error| Error::check(step.name.as_str(), chain(&error)))?;
        let issuer = Issuer {
            name_der: older.subject_der.clone(),
            ski: Some(older.ski.clone()),
            parents: older.path(),
            key: older.key,
        };
        self.certify(&step.name, &key, &issuer, &step.profile)
    }

    /// Whatever is below a CA is reached over that CA's cross-certificates, too: both verifiers must say so.
    pub(super) fn validate_crossed(&mut self) -> Result<(), Error> {
        for Crossed { over, made, at } in self.crossed() {
            made.validate(at)?;
            let call = format!("openssl/{}", made.name);
            let question = Question::Path {
                der: &made.der,
                parents: &made.parents,
                at,
            };
            self.second(over.as_str(), &call, &question)?;
        }
        Ok(())
    }

    /// Each certificate below a CA that has a cross-certificate, with the path over that one.
    pub(crate) fn crossed(&self) -> Vec<Crossed> {
        let mut found = Vec::new();
        let crosses = self.plan.steps.iter().filter_map(|step| match step {
            Step::CrossCertificate(step) => self.certificates.get(&step.name),
            _ => None,
        });
        for cross in crosses {
            for made in self.certificates.values() {
                let over = |der: &Vec<u8>| {
                    let mut others = self.certificates.values();
                    others.any(|other| other.der == *der && other.key.name == cross.key.name)
                };
                let Some(at) = made.parents.iter().position(over) else {
                    continue;
                };
                let mut parents: Vec<_> = made.parents.iter().take(at).cloned().collect();
                parents.push(cross.der.clone());
                parents.extend(cross.parents.iter().cloned());
                if parents == made.parents {
                    continue;
                }
                found.push(Crossed {
                    over: cross.name.clone(),
                    at: from(cross).max(from(made)),
                    made: MadeCertificate {
                        parents,
                        ..made.clone()
                    },
                });
            }
        }
        found
    }
}

fn from(made: &MadeCertificate) -> Timestamp {
    let built = made.built.as_ref();
    built.map_or_else(Timestamp::default, |built| built.fields().validity.not_before())
}
