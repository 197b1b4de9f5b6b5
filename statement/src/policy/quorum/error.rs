//! What speaks against a set or a revocation.

use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};

use super::Verdict;
use crate::policy::{Name, SetError};
use crate::signature::SignatureError;

/// Why a set may not become the one in force, or a revocation not take effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// For other issuers.
    #[error("it is for the deployment {found}, this is {expected}")]
    Deployment {
        /// The gate's.
        expected: Digest,
        /// The statement's.
        found: Digest,
    },
    /// Not the number whose turn it is: somebody was faster, or it was used before.
    #[error(
        "its number is {found}, the one whose turn it is {expected}; propose it again over the set in force"
    )]
    Number {
        /// The number whose turn it is.
        expected: u64,
        /// The statement's.
        found: u64,
    },
    /// Over another set than the one in force.
    #[error("it is over the set {}, in force is {}", shown(found), shown(expected))]
    Previous {
        /// The digest of the set in force.
        expected: Option<Digest>,
        /// What the statement names.
        found: Option<Digest>,
    },
    /// May be activated for longer than is allowed.
    #[error(
        "it is valid from {not_before} to {not_after}; at most {} days are possible",
        most.as_secs() / 86_400
    )]
    Window {
        /// From.
        not_before: Timestamp,
        /// To.
        not_after: Timestamp,
        /// What is possible: less for a rollback.
        most: Duration,
    },
    /// Not yet.
    #[error("it cannot be activated before {0}")]
    NotYetValid(Timestamp),
    /// No more.
    #[error("it could be activated until {0}; have it signed again")]
    Expired(Timestamp),
    /// A roster that was not uploaded.
    #[error("it names the roster {0}, which is neither in force nor known; upload it first")]
    UnknownRoster(Digest),
    /// A roster comes with it that it does not name.
    #[error("the roster {0} comes with it, which it does not name: nobody agreed to that")]
    UnnamedRoster(Digest),
    /// A roster that does not follow the one in force.
    #[error("the roster that it names, number {named}, does not follow the one in force, number {in_force}")]
    RosterOrder {
        /// The number of the one that is named.
        named: u64,
        /// The number of the one in force.
        in_force: u64,
    },
    /// Threshold 0 where certificates are real.
    #[error("by the roster number {0} nobody has to agree, which is for rehearsals only")]
    NotRehearsal(u64),
    /// The entries do not go together.
    #[error("its entries do not go together")]
    Entries(#[source] SetError),
    /// A revision that was taken away for ever.
    #[error("the revision {0} was revoked")]
    Revoked(Digest),
    /// A new revision without an admission report.
    #[error("the revision {0} has no admission report; propose the set with it")]
    NoReport(Digest),
    /// A new revision that no author signed.
    #[error("the revision {0} was pushed by no author of the roster in force; have one sign it")]
    NotPushed(Digest),
    /// A rollback to a set that was never in force.
    #[error("set {0} was never in force")]
    NeverActive(u64),
    /// A rollback to a set of long ago.
    #[error("set {number} was in force until {until}, longer ago than the 30 days that a rollback reaches")]
    TooOld {
        /// Its number.
        number: u64,
        /// Until when it was.
        until: Timestamp,
    },
    /// A rollback that changes something.
    #[error("it says that it brings back set {0}, but has other entries, stop bounds or another roster")]
    NotTheSame(u64),
    /// A key of nobody.
    #[error("the key {0} is nobody's in the roster in force; take its signature out")]
    UnknownKey(Digest),
    /// A person whose signature is for other things.
    #[error("{person} is not an {role}; take the signature out")]
    Role {
        /// Who.
        person: Name,
        /// What they would have to be.
        role: &'static str,
    },
    /// A signature that does not hold.
    #[error("a signature does not hold")]
    Signature(#[source] SignatureError),
    /// Not enough people.
    #[error("{}", below(.0))]
    BelowThreshold(Verdict),
}

fn shown(digest: &Option<Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
}

fn below(verdict: &Verdict) -> String {
    let names: Vec<_> = verdict.counted.iter().map(|one| one.person.as_str()).collect();
    let who = if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    };
    let mut text = format!("{} must agree, and did: {who}", verdict.needed);
    for one in &verdict.uncounted {
        text.push_str(&format!(
            "; {} does not count, having pushed {}",
            one.person, one.pushed
        ));
    }
    text
}
