//! A set with everything that it takes to decide under it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealwright_identity::{Digest, SpiffeId};
use sealwright_policy_wasm::Policy;
use sealwright_statement::Sealed;
use sealwright_statement::policy::{Revision, Revisions, Set, enforcing, shadows};

/// A policy set whose policies are compiled. It does not change.
#[derive(Debug)]
pub struct ActiveSet {
    pub(super) set: Sealed<Set>,
    /// Without the canaries that the gate has stopped.
    pub(super) effective: Set,
    pub(super) stopped: BTreeSet<Digest>,
    pub(super) revisions: Revisions,
    pub(super) policies: BTreeMap<Digest, Arc<Policy>>,
}

/// A revision that is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its digest.
    pub revision: Digest,
    /// Its code.
    pub policy: Arc<Policy>,
}

/// Who is asked about one request.
#[derive(Clone, Debug, Default)]
pub struct Deciders {
    /// The number of the set; 0 where there is none.
    pub number: u64,
    /// How many canaries of the set were stopped.
    pub stops: u32,
    /// All must allow, in order.
    pub enforcing: Vec<Asked>,
    /// What they say is counted.
    pub shadows: Vec<Asked>,
}

impl ActiveSet {
    /// Puts it together.
    pub(super) fn new(
        set: Sealed<Set>,
        stopped: BTreeSet<Digest>,
        revisions: Revisions,
        policies: BTreeMap<Digest, Arc<Policy>>,
    ) -> Self {
        Self {
            effective: set.without(&stopped),
            set,
            stopped,
            revisions,
            policies,
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.set.number
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.set.digest()
    }

    /// Its canaries that the gate stopped.
    pub fn stopped(&self) -> &BTreeSet<Digest> {
        &self.stopped
    }

    /// How many revisions it has code for.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether nothing decides.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Who is asked about a certificate of these SPIFFE IDs by that issuer. `None` when a
    /// revision is missing, which loading excludes.
    pub fn deciders(&self, issuer: &str, ids: &[SpiffeId]) -> Option<Deciders> {
        let enforcing = enforcing(&self.effective, &self.revisions, issuer, ids)?;
        let shadows = shadows(&self.effective, &self.revisions, issuer, ids)?;
        let asked = |revision: &Sealed<Revision>| {
            let policy = Arc::clone(self.policies.get(&revision.digest())?);
            let revision = revision.digest();
            Some(Asked { revision, policy })
        };
        Some(Deciders {
            number: self.number(),
            stops: u32::try_from(self.stopped.len()).unwrap_or(u32::MAX),
            enforcing: enforcing.into_iter().map(asked).collect::<Option<_>>()?,
            shadows: shadows.into_iter().map(asked).collect::<Option<_>>()?,
        })
    }
}

impl Deciders {
    /// The code of those who must allow.
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        self.enforcing
            .iter()
            .map(|asked| Arc::clone(&asked.policy))
            .collect()
    }

    /// Whether the same revisions must allow, in the same order.
    pub fn is_the_same(&self, other: &Self) -> bool {
        let revisions = |deciders: &Self| -> Vec<Digest> {
            deciders.enforcing.iter().map(|asked| asked.revision).collect()
        };
        (self.number, self.stops) == (other.number, other.stops) && revisions(self) == revisions(other)
    }
}
