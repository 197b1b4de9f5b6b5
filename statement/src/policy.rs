//! Statements about policies, and what follows from them.
//!
//! A [`Revision`] is code with settings, scope and limits. A [`Set`] says which revisions decide, which only watch,
//! and in which order; it is what a quorum of the [`Roster`] signs. A [`Revocation`] takes a revision away for ever.
//!
//! [`enforcing()`] is the ordered list of what must allow a certificate, [`judge`] whether a set may become the
//! one in force. Both are pure: the gate decides with them, the front runs what they name, the auditor repeats them.

mod enforcing;
mod name;
mod quorum;
mod revision;
mod revocation;
mod roster;
mod scope;
mod set;
mod settings;
mod stop;

use sealwright_identity::Digest;

pub use enforcing::{Revisions, bucket, enforcing, shadows};
pub use name::{Name, NameError};
pub use quorum::{
    Approved, ApprovedRevocation, Case, Counted, MAX_ROLLBACK_WINDOW, MAX_WINDOW, Pushers, QuorumError,
    ROLLBACK_AGE, Restorable, Uncounted, Verdict, approvers, assess, judge, judge_recorded, judge_revocation,
    pushers,
};
pub use revision::{Limits, MAX_SETTINGS_BYTES, Revision};
pub use revocation::Revocation;
pub use roster::{MAX_PEOPLE, Person, Role, Roster};
pub use scope::Scope;
pub use set::{Canary, Entry, MAX_ENTRIES, MAX_SHADOWS, Mode, Set, SetError, StopBounds, check_set};
pub use settings::canonical_settings;
pub use stop::{CanaryCounts, CanaryVerdict};

/// The world that policies of this version are components of.
pub const WIT_WORLD: &str = "sealwright:policy@1.0.0";

/// The id of a deployment: SHA-256 over each issuer's name, a zero byte and the digest of its key (SPKI), in the order of
/// the names.
///
/// A set is for one deployment, so that what one quorum signed for a rehearsal decides nothing elsewhere, and an issuer
/// that is renamed, added or has another key is under no set until one was approved for it.
#[must_use]
pub fn deployment_id<'a>(issuers: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let issuers: std::collections::BTreeSet<_> = issuers.into_iter().collect();
    let mut bytes = Vec::new();
    for (name, key) in issuers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(key.as_bytes());
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
