//! What the readers of a plan should think about.

use std::collections::BTreeSet;

use sealwright_identity::KeyType;
use serde::Serialize;

use crate::hands;
use crate::plan::{Custody, Plan, Purpose, Step, Unexplained};

/// Something that may be meant, and often is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A short name.
    pub code: &'static str,
    /// What was found, and what it leads to.
    pub detail: String,
}

pub(in crate::plan) fn warnings(plan: &Plan) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, detail: String| warnings.push(Warning { code, detail });
    let mut used = BTreeSet::new();
    for step in &plan.steps {
        let profile = match step {
            Step::Root(root) => {
                used.insert(&root.key);
                &root.profile
            }
            Step::Intermediate(intermediate) => {
                used.insert(&intermediate.key);
                if intermediate.profile.crl_urls.is_empty() {
                    warn(
                        "no-crl",
                        format!(
                            "{} names no CRL: it can be revoked only by taking it out of every bundle",
                            intermediate.name
                        ),
                    );
                }
                &intermediate.profile
            }
            Step::CrossCertificate(cross) => {
                used.insert(&cross.key);
                &cross.profile
            }
            Step::Csr(csr) => {
                used.insert(&csr.key);
                continue;
            }
            Step::Inventory(step) => {
                if step.unexplained == Unexplained::Record {
                    warn(
                        "exceptions",
                        format!("{} goes on when nothing explains an object of a token", step.name),
                    );
                }
                continue;
            }
            _ => continue,
        };
        if !profile.permitted_uri_domains.is_empty() {
            warn(
                "uri-name-constraints",
                format!(
                    "{} asks for URI name constraints; they are not written: rustls-webpki refuses every \
                     URI name below one, hence every SPIFFE ID",
                    step.name()
                ),
            );
        }
        if profile.path_length.is_none() {
            warn(
                "no-path-length",
                format!("{} may have CAs below it without a limit", step.name()),
            );
        }
    }
    for token in &plan.tokens {
        if let Some(told) = hands::told(token) {
            warn("by-people", format!("{}: {told}", token.name));
        }
    }
    for key in plan.keys() {
        if key.algorithm == KeyType::Ed25519 && key.purpose == Purpose::Issuing {
            warn(
                "ed25519",
                format!("{}: Envoy and older TLS stacks do not verify Ed25519", key.name),
            );
        }
        if key.algorithm == KeyType::MlDsa65 {
            warn(
                "ml-dsa",
                format!(
                    "{}: only relying parties that know ML-DSA follow a chain to it; OpenSSL before 3.5 does not",
                    key.name
                ),
            );
        }
        if key.purpose == Purpose::Issuing && !used.contains(&key.name) {
            warn(
                "unused",
                format!("{} is made, and nothing is made for it", key.name),
            );
        }
        if key.purpose == Purpose::Checkpoint {
            warn(
                "no-use-yet",
                format!(
                    "{} is for signing the ledger's heads, which this release does not do",
                    key.name
                ),
            );
        }
        warn(
            if key.attestation.is_none() {
                "no-attestation"
            } else {
                "unverified-attestation"
            },
            format!("{}: {}", key.name, key.attestation_told()),
        );
        if key.custody == Custody::HsmOnly {
            warn(
                "no-backup",
                format!("{} has no backup: with its token it is lost", key.name),
            );
        }
    }
    if !plan.steps.iter().any(|step| matches!(step, Step::Checkpoint(_))) {
        warn(
            "no-checkpoint",
            "no step has the transcript's head read aloud before the end".to_owned(),
        );
    }
    warnings
}
