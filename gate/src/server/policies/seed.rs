//! The set of a rehearsal, made from the policies of its configuration.
//!
//! Each issuer has an ordered list there; a set has one order for all. The lists are merged so that each keeps its own,
//! which is refused where they contradict each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};
use sealwright_statement::policy::{Entry, Limits, Mode, Revision, Scope, Set, WIT_WORLD};
use sealwright_statement::{Sealed, Signed};

use super::error::PoliciesError;
use crate::issuers::{Issuer, Issuers, PolicyModule};

/// How long a seeded set could be activated: it is at once.
const WINDOW: Duration = Duration::from_secs(86_400);

/// What a set and its revisions are made of.
#[derive(Debug)]
pub(super) struct Seed {
    pub(super) revisions: Vec<Signed<Revision>>,
    pub(super) entries: Vec<Entry>,
}

impl Seed {
    /// The revisions of a configuration and their order.
    pub(super) fn of(issuers: &Issuers) -> Result<Self, PoliciesError> {
        let mut revisions = Vec::new();
        for policy in in_one_order(issuers)? {
            revisions.push(Signed::unsigned(Sealed::new(revision(policy, issuers)?)?));
        }
        let entries = revisions.iter().map(|revision| Entry {
            revision: revision.statement.digest(),
            mode: Mode::Enforce,
            report: None,
        });
        Ok(Self {
            entries: entries.collect(),
            revisions,
        })
    }

    /// The set after `previous`.
    pub(super) fn set(
        &self,
        deployment: Digest,
        previous: Option<&Sealed<Set>>,
        roster: Digest,
        now: Timestamp,
    ) -> Result<Signed<Set>, PoliciesError> {
        let not_before = now.truncated_to_seconds();
        let set = Set {
            deployment,
            number: previous.map_or(1, |previous| previous.number.saturating_add(1)),
            previous: previous.map(Sealed::digest),
            not_before,
            not_after: not_before.saturating_add(WINDOW),
            roster,
            entries: self.entries.clone(),
            stop: None,
            restores: None,
        };
        Ok(Signed::unsigned(Sealed::new(set)?))
    }
}

fn revision(policy: &PolicyModule, issuers: &Issuers) -> Result<Revision, PoliciesError> {
    let name = &policy.identity.name;
    let users = issuers.iter().filter(|issuer| uses(issuer, name));
    let scope = Scope {
        issuers: users.map(|issuer| issuer.name.to_string()).collect(),
        ..Scope::all_of(issuers.default_issuer().ceiling.trust_domain.clone())
    };
    let settings = String::from_utf8(policy.settings_json.clone());
    Ok(Revision {
        policy: name
            .parse()
            .map_err(|error| PoliciesError::Seed(format!("{error}")))?,
        module: policy.identity.module,
        source: None,
        settings: settings.map_err(|error| PoliciesError::Seed(error.to_string()))?,
        scope: scope.sorted(),
        wit: WIT_WORLD.to_owned(),
        limits: Limits {
            fuel: policy.fuel,
            memory: 0,
        },
    })
}

fn uses(issuer: &Issuer, policy: &str) -> bool {
    issuer.policies.iter().any(|identity| *identity.name == *policy)
}

/// The policies that an issuer uses, in an order that keeps each issuer's; of several, that of the configuration.
fn in_one_order(issuers: &Issuers) -> Result<Vec<&PolicyModule>, PoliciesError> {
    let used = |policy: &&Arc<PolicyModule>| issuers.iter().any(|issuer| uses(issuer, &policy.identity.name));
    let mut left: Vec<&PolicyModule> = issuers
        .policies()
        .iter()
        .filter(used)
        .map(|policy| &**policy)
        .collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let ready = |policy: &&PolicyModule| {
            issuers.iter().all(|issuer| {
                let names = || issuer.policies.iter().map(|identity| &*identity.name);
                !uses(issuer, &policy.identity.name)
                    || names()
                        .take_while(|name| **name != *policy.identity.name)
                        .all(|name| done.contains(name))
            })
        };
        let Some(at) = left.iter().position(ready) else {
            let names: Vec<_> = left.iter().map(|policy| &*policy.identity.name).collect();
            return Err(PoliciesError::Seed(format!(
                "the issuers have {} in orders that contradict each other; write them in one order",
                names.join(", ")
            )));
        };
        let next = left.remove(at);
        done.insert(&next.identity.name);
        order.push(next);
    }
    Ok(order)
}
