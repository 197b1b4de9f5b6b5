//! Descriptions of the policy engine: sent once a connection, stored once by digest.
//!
//! Frames are read in order, and a description is stored before the frame that carries it
//! is handled; so a later frame that names only the digest finds it.

use std::collections::BTreeSet;

use parking_lot::RwLock;
use sealwright_identity::Digest;
use sealwright_ledger::BlobKind;
use sealwright_proto::gate::{Decision, Evidence, request};

use super::recorded::Records;
use super::refused::Refused;

/// More engines than one gate ever meets.
const MAX_PROFILES: usize = 64;

/// A description above this describes nothing.
const MAX_PROFILE_BYTES: usize = 16 * 1024;

/// The digests of the descriptions that are stored.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    known: RwLock<BTreeSet<Digest>>,
}

impl Profiles {
    /// Takes the description out of the request and stores it, if it is new.
    pub(super) async fn learn(&self, body: &mut request::Body, records: &Records) -> Result<(), Refused> {
        let Some(decision) = decision_mut(body) else {
            return Ok(());
        };
        if decision.engine_profile.is_empty() {
            return Ok(());
        }
        let profile = std::mem::take(&mut decision.engine_profile);
        let digest = Digest::of(profile.as_bytes());
        if digest.to_string() != decision.engine_profile_digest {
            return Err(Refused::Invalid("the engine profile has another digest".into()));
        }
        if self.known.read().contains(&digest) {
            return Ok(());
        }
        if profile.len() > MAX_PROFILE_BYTES || self.known.read().len() >= MAX_PROFILES {
            return Err(Refused::Invalid("too many or too large engine profiles".into()));
        }
        records
            .ledger()
            .put_blob(BlobKind::EngineProfile, profile.as_bytes())
            .await
            .map_err(|error| records.refused(&error))?;
        self.known.write().insert(digest);
        Ok(())
    }

    /// Whether the evidence names a description that is stored.
    pub(super) fn know(&self, evidence: Option<&Evidence>) -> bool {
        let digest = evidence
            .and_then(|evidence| evidence.decision.as_ref())
            .and_then(|decision| decision.engine_profile_digest.parse().ok());
        digest.is_some_and(|digest: Digest| self.known.read().contains(&digest))
    }
}

fn decision_mut(body: &mut request::Body) -> Option<&mut Decision> {
    let evidence = match body {
        request::Body::Issue(issue) => issue.evidence.as_mut(),
        request::Body::Denial(denial) => denial.evidence.as_mut(),
        _ => None,
    };
    evidence?.decision.as_mut()
}
