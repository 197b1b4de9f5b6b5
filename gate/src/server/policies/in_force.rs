//! What decides now, as requests meet it.
//!
//! It is computed here from the set, the issuer and the names in the to-be-signed bytes; nothing that the front
//! says has a part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealwright_identity::{Digest, SpiffeId};
use sealwright_ledger::SetRef;
use sealwright_proto::gate::Decision;
use sealwright_statement::Sealed;
use sealwright_statement::policy::{CanaryCounts, Revisions, Set, enforcing};

use super::canaries::{Counters, Known, Tally};
use super::history::Activated;
use crate::issuers::PolicyIdentity;

/// The policy set in force.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct InForce {
    active: Option<Active>,
    revoked: BTreeSet<Digest>,
    /// How many people agreed to each set so far.
    approvals: BTreeMap<u64, u32>,
}

#[derive(Clone, Debug)]
struct Active {
    set: Sealed<Set>,
    approvals: u32,
    seeded: bool,
    /// Of this deployment: else nothing is issued under it.
    ours: bool,
    /// The set without the canaries that were stopped.
    effective: Set,
    stopped: BTreeSet<Digest>,
    counters: Option<Arc<Counters>>,
    revisions: Revisions,
    policies: BTreeMap<Digest, PolicyIdentity>,
}

/// One policy that must have allowed.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Required<'a> {
    /// Name, module and settings.
    pub(in crate::server) policy: &'a PolicyIdentity,
    /// The revision's digest.
    pub(in crate::server) revision: Digest,
}

/// Why nothing can be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingInForce {
    /// No set was activated yet.
    #[error("no policy set is in force: have one approved and activate it")]
    NoSet,
    /// The set is for other issuers.
    #[error("policy set {0} is for other issuers: have a set for these approved and activate it")]
    Foreign(u64),
    /// A revision of the set is not there.
    #[error("policy set {0} names a revision that is not there")]
    Unknown(u64),
    /// No policy covers the request.
    #[error("no policy of set {0} covers the request: nothing is allowed")]
    Nobody(u64),
    /// A policy that would have to allow was revoked.
    #[error("policy {policy} of set {number} was revoked: nothing that it decides is allowed")]
    Revoked {
        /// The policy.
        policy: String,
        /// The set.
        number: u64,
    },
}

impl InForce {
    pub(super) fn new(
        active: Option<&Activated>,
        deployment: Digest,
        revisions: Revisions,
        revoked: &BTreeSet<Digest>,
        approvals: BTreeMap<u64, u32>,
    ) -> Self {
        let active = active.map(|active| {
            let set = &active.set;
            let stopped: BTreeSet<Digest> = active.stops.keys().copied().collect();
            let policies = revisions.iter().map(|(digest, revision)| {
                let identity = PolicyIdentity {
                    name: revision.policy.as_str().into(),
                    module: revision.module,
                    settings: revision.settings_digest(),
                };
                (*digest, identity)
            });
            Active {
                set: set.clone(),
                approvals: active.approvals,
                seeded: active.seeded,
                ours: set.deployment == deployment,
                effective: set.without(&stopped),
                stopped,
                counters: active.counters.clone(),
                policies: policies.collect(),
                revisions,
            }
        });
        Self {
            active,
            revoked: revoked.clone(),
            approvals,
        }
    }

    /// The number of the set; 0 where there is none.
    pub(in crate::server) fn number(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.set.number)
    }

    /// How many of its canaries were stopped.
    pub(in crate::server) fn stops(&self) -> u32 {
        let stops = self.active.as_ref().map_or(0, |active| active.stopped.len());
        u32::try_from(stops).unwrap_or(u32::MAX)
    }

    /// Whether a decision was made before a canary of this set was stopped, and by that one.
    pub(in crate::server) fn was_by_a_stopped_canary(&self, decision: &Decision) -> bool {
        let Some(active) = &self.active else { return false };
        decision.set_number == active.set.number
            && decision.stops < self.stops()
            && decision.policies.iter().any(|policy| {
                let mut stopped = active.stopped.iter();
                stopped.any(|stopped| stopped.to_string() == policy.revision)
            })
    }

    /// What a record counts for, once it is written.
    pub(in crate::server) fn tally(&self, identities: &[String], decision: Option<&Decision>) -> Tally {
        let Some(active) = self.active.as_ref().filter(|active| active.counters.is_some()) else {
            return Tally::default();
        };
        let known = Known {
            set: &active.set,
            revisions: &active.revisions,
            stopped: &active.stopped,
        };
        known.tally(identities, decision)
    }

    /// What its bounded canaries come to, by policy.
    pub(super) fn canaries(&self) -> Vec<(String, CanaryCounts)> {
        let Some(active) = &self.active else {
            return Vec::new();
        };
        let counters = active.counters.iter().flat_map(|counters| counters.all());
        let named = counters.filter_map(|(revision, counts)| {
            Some((active.revisions.get(&revision)?.policy.to_string(), counts))
        });
        named.collect()
    }

    /// A record of that is on disk.
    pub(in crate::server) fn count(&self, tally: &Tally) {
        if let Some(counters) = self.active.as_ref().and_then(|active| active.counters.as_ref()) {
            counters.count(tally);
        }
    }

    /// Whether the set was made from the configuration.
    pub(in crate::server) fn is_seeded(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.seeded)
    }

    /// The set as records name it.
    pub(in crate::server) fn reference(&self) -> Option<SetRef> {
        self.active.as_ref().map(|active| SetRef {
            number: active.set.number,
            approvals: active.approvals,
        })
    }

    /// The set that a denial says it was decided under, if it was ever in force; else the one that is.
    pub(in crate::server) fn reference_to(&self, number: u64) -> Option<SetRef> {
        match self.approvals.get(&number) {
            Some(approvals) => Some(SetRef {
                number,
                approvals: *approvals,
            }),
            None => self.reference(),
        }
    }

    /// What speaks against issuing anything at all.
    pub(in crate::server) fn trouble(&self) -> Option<NothingInForce> {
        match &self.active {
            None => Some(NothingInForce::NoSet),
            Some(active) if !active.ours => Some(NothingInForce::Foreign(active.set.number)),
            Some(_) => None,
        }
    }

    /// The policies that must all have allowed a certificate of these SPIFFE IDs, in order.
    pub(in crate::server) fn required(
        &self,
        issuer: &str,
        ids: &[SpiffeId],
    ) -> Result<Vec<Required<'_>>, NothingInForce> {
        let active = self.active.as_ref().ok_or(NothingInForce::NoSet)?;
        let number = active.set.number;
        if !active.ours {
            return Err(NothingInForce::Foreign(number));
        }
        let unknown = || NothingInForce::Unknown(number);
        let list = enforcing(&active.effective, &active.revisions, issuer, ids).ok_or_else(unknown)?;
        if list.is_empty() {
            return Err(NothingInForce::Nobody(number));
        }
        let required = list.into_iter().map(|revision| {
            let digest = revision.digest();
            if self.revoked.contains(&digest) {
                return Err(NothingInForce::Revoked {
                    policy: revision.policy.to_string(),
                    number,
                });
            }
            Ok(Required {
                policy: active.policies.get(&digest).ok_or_else(unknown)?,
                revision: digest,
            })
        });
        required.collect()
    }
}
