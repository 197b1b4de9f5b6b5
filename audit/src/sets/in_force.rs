//! What decided at one place of the ledger, as requests met it.

use std::collections::{BTreeMap, BTreeSet};

use sealwright_identity::{Digest, SpiffeId};
use sealwright_statement::Sealed;
use sealwright_statement::policy::{self, Name, Revisions, Set};

use super::Sets;

/// What requests meet from one policy entry to the next.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    active: Option<Active>,
    revoked: BTreeSet<Digest>,
    /// How many people agreed to each set so far.
    approvals: BTreeMap<u64, u32>,
}

#[derive(Debug)]
struct Active {
    set: Sealed<Set>,
    seeded: bool,
    /// The set without the canaries that were stopped.
    effective: Set,
    stops: usize,
    revisions: Revisions,
    due: BTreeMap<Digest, Due>,
}

/// A policy that had to allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: Name,
    pub(crate) revision: Digest,
    pub(crate) module: Digest,
    pub(crate) settings: Digest,
    pub(crate) fuel: u64,
    /// Bytes; `None` where the host's own limit applies.
    pub(crate) memory: Option<u64>,
}

impl InForce {
    pub(super) fn of(sets: &Sets) -> Self {
        let active = sets.activated.last_key_value().map(|(_, active)| {
            let named = active.set.entries.iter().map(|entry| entry.revision);
            let revisions: Revisions = named
                .filter_map(|digest| Some((digest, sets.revisions.get(&digest)?.clone())))
                .collect();
            let due = revisions.iter().map(|(digest, revision)| {
                let due = Due {
                    name: revision.policy.clone(),
                    revision: *digest,
                    module: revision.module,
                    settings: revision.settings_digest(),
                    fuel: revision.limits.fuel,
                    memory: Some(revision.limits.memory).filter(|bytes| *bytes > 0),
                };
                (*digest, due)
            });
            Active {
                set: active.set.clone(),
                seeded: active.seeded,
                effective: active.set.without(&active.stopped().keys().copied().collect()),
                stops: active.stopped().len(),
                due: due.collect(),
                revisions,
            }
        });
        let approvals = sets.activated.iter();
        Self {
            active,
            revoked: sets.revoked.clone(),
            approvals: approvals
                .map(|(number, active)| (*number, active.approvals()))
                .collect(),
        }
    }

    /// The number of the set; 0 where there is none.
    pub(crate) fn number(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.set.number)
    }

    /// Whether a decision says that as many canaries of the set were stopped as were.
    pub(crate) fn has_stopped(&self, stops: u32) -> bool {
        let found = self.active.as_ref().map_or(0, |active| active.stops);
        usize::try_from(stops).is_ok_and(|stops| stops == found)
    }

    /// How many people agreed to a set, if it was ever in force.
    pub(crate) fn approvals(&self, number: u64) -> Option<u32> {
        self.approvals.get(&number).copied()
    }

    /// Whether the set was made from the configuration: then evidence need not name it.
    pub(crate) fn is_seeded(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.seeded)
    }

    /// Of which deployment the set is.
    pub(crate) fn deployment(&self) -> Option<Digest> {
        self.active.as_ref().map(|active| active.set.deployment)
    }

    /// The policies that are asked about a certificate of these names, in order.
    pub(crate) fn asked(&self, issuer: &str, ids: &[SpiffeId]) -> Option<Vec<&Due>> {
        let active = self.active.as_ref()?;
        policy::enforcing(&active.effective, &active.revisions, issuer, ids)?
            .into_iter()
            .map(|revision| active.due.get(&revision.digest()))
            .collect()
    }

    /// The policies that had to allow a certificate of these names, in order.
    ///
    /// # Errors
    /// Says why nothing may be issued at all.
    pub(crate) fn required(&self, issuer: &str, ids: &[SpiffeId]) -> Result<Vec<&Due>, String> {
        let number = self.number();
        if self.active.is_none() {
            return Err("it was issued, and no policy set is in force".to_owned());
        }
        let list = self
            .asked(issuer, ids)
            .ok_or_else(|| format!("set {number} names a revision that is not there"))?;
        if list.is_empty() {
            return Err(format!("it was issued, and no policy of set {number} is for it"));
        }
        match list.iter().find(|due| self.revoked.contains(&due.revision)) {
            Some(due) => Err(format!(
                "it was issued, and policy {} of set {number} was revoked",
                due.name
            )),
            None => Ok(list),
        }
    }
}
