//! Descriptions of the policy engine: sent once a connection, stored once by digest.
//!
//! Frames are read in order, and a description is stored before the frame that carries it
//! is handled; so a later frame that names only the digest finds it. One that the ledger could
//! not take, or that came before there was one, is kept until it can: the sender will not send it again. So it is asked
//! for once more when a request's turn comes.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::{Mutex, RwLock};
use sealwright_identity::Digest;
use sealwright_ledger::BlobKind;
use sealwright_proto::gate::{Decision, Evidence, request};

use super::recorded::Records;
use super::refused::Refused;

/// More engines than one gate ever meets.
const MAX_PROFILES: usize = 64;

/// A description above this describes nothing.
const MAX_PROFILE_BYTES: usize = 16 * 1024;

/// The digests of the descriptions that are stored, and the descriptions that are not yet.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    known: RwLock<BTreeSet<Digest>>,
    heard: Mutex<BTreeMap<Digest, String>>,
}

impl Profiles {
    /// Takes the description out of the request, if it is new.
    pub(super) fn hear(&self, body: &mut request::Body) -> Result<(), Refused> {
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
        let known = self.known.read();
        if known.contains(&digest) {
            return Ok(());
        }
        let mut heard = self.heard.lock();
        if profile.len() > MAX_PROFILE_BYTES || known.len() + heard.len() >= MAX_PROFILES {
            return Err(Refused::Invalid("too many or too large engine profiles".into()));
        }
        heard.insert(digest, profile);
        Ok(())
    }

    /// Stores the description that the request names, if it was heard and is not stored.
    pub(super) async fn store(&self, body: &mut request::Body, records: &Records) -> Result<(), Refused> {
        let Some(decision) = decision_mut(body) else {
            return Ok(());
        };
        let heard = {
            let heard = self.heard.lock();
            if heard.is_empty() {
                return Ok(());
            }
            let digest: Result<Digest, _> = decision.engine_profile_digest.parse();
            digest
                .ok()
                .and_then(|digest| Some((digest, heard.get(&digest)?.clone())))
        };
        let Some((digest, profile)) = heard else {
            return Ok(());
        };
        records
            .ledger()
            .put_blob(BlobKind::EngineProfile, profile.as_bytes())
            .await
            .map_err(|error| records.refused(&error))?;
        self.known.write().insert(digest);
        self.heard.lock().remove(&digest);
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
