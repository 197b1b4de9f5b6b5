//! Whether the entries of a set go together.

use std::collections::{BTreeMap, BTreeSet};

use sealwright_identity::Digest;

use super::{MAX_SHADOWS, Mode, Set};
use crate::policy::{Name, Revisions};

/// Whether a set's entries go together: each revision known and there once; of one policy name one that
/// enforces, at most one canary and only beside it, any shadows, and not too many of these in all.
///
/// # Errors
/// Says which entry is at fault.
pub fn check_set(set: &Set, revisions: &Revisions) -> Result<(), SetError> {
    let mut seen = BTreeSet::new();
    let mut enforcing = BTreeSet::new();
    let mut canaries = BTreeMap::new();
    let mut shadows = 0;
    for entry in &set.entries {
        let digest = entry.revision;
        if !seen.insert(digest) {
            return Err(SetError::Twice(digest));
        }
        let revision = revisions.get(&digest).ok_or(SetError::Unknown(digest))?;
        let policy = &revision.policy;
        let another = |mode| SetError::Another {
            policy: policy.clone(),
            mode,
            revision: digest,
        };
        match entry.mode {
            Mode::Enforce if !enforcing.insert(policy) => return Err(another("enforces")),
            Mode::Canary(_) if canaries.insert(policy, digest).is_some() => {
                return Err(another("is a canary"));
            }
            Mode::Shadow => shadows += 1,
            Mode::Enforce | Mode::Canary(_) => {}
        }
    }
    if shadows > MAX_SHADOWS {
        return Err(SetError::Shadows(shadows));
    }
    match canaries
        .into_iter()
        .find(|(policy, _)| !enforcing.contains(policy))
    {
        None => Ok(()),
        Some((policy, revision)) => Err(SetError::Alone {
            policy: policy.clone(),
            revision,
        }),
    }
}

/// Why the entries of a set do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A revision that was never pushed here.
    #[error("the revision {0} is not known; push it first")]
    Unknown(Digest),
    /// A revision that is there twice.
    #[error("the revision {0} is there twice")]
    Twice(Digest),
    /// A second one of its policy.
    #[error("the revision {revision} is the second of policy {policy} that {mode}")]
    Another {
        /// The policy.
        policy: Name,
        /// What only one may do.
        mode: &'static str,
        /// The second revision.
        revision: Digest,
    },
    /// A canary with nothing to replace.
    #[error("the canary {revision} replaces nothing: no revision of policy {policy} enforces")]
    Alone {
        /// The policy.
        policy: Name,
        /// The canary.
        revision: Digest,
    },
    /// More shadows than a host shall run.
    #[error("the set has {0} shadows, {MAX_SHADOWS} are possible")]
    Shadows(usize),
}
