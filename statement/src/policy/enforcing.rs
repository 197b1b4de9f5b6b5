//! What must allow a certificate, and what only watches.

use std::collections::{BTreeMap, BTreeSet};

use sealwright_identity::{Digest, SpiffeId};
use sha2::{Digest as _, Sha256};

use super::revision::Revision;
use super::set::{Canary, Mode, Set};
use crate::policy::Name;
use crate::statement::Sealed;

/// Revisions by their digest.
pub type Revisions = BTreeMap<Digest, Sealed<Revision>>;

/// The place of an identity in a canary's draw: 0 to 9 999, in hundredths of a percent.
///
/// SHA-256 over policy name, salt and SPIFFE ID; the first 8 bytes, big-endian, modulo 10 000.
#[must_use]
pub fn bucket(policy: &Name, salt: &[u8], id: &str) -> u16 {
    let mut hash = Sha256::new();
    hash.update(policy.as_str());
    hash.update(salt);
    hash.update(id);
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
    u16::try_from(first % 10_000).unwrap_or(0)
}

/// The revisions that must all allow a certificate of these SPIFFE IDs by that issuer, in order.
///
/// `ids` are those of the certificate, the primary one first; it alone says in which bucket the request is. In its
/// bucket a canary stands at its own place in the order, instead of the enforcing revision of its name. `None`
/// when a revision is not among `revisions`: then nothing may be issued.
///
/// An empty list means that nothing is issued.
#[must_use]
pub fn enforcing<'a>(
    set: &Set,
    revisions: &'a Revisions,
    issuer: &str,
    ids: &[SpiffeId],
) -> Option<Vec<&'a Sealed<Revision>>> {
    let entries = known(set, revisions)?;
    let covers = |revision: &Revision| revision.scope.covers(issuer, ids);
    let replaced: BTreeSet<&Name> = entries
        .iter()
        .filter(|(mode, revision)| drawn(mode, revision, ids) && covers(revision))
        .map(|(_, revision)| &revision.policy)
        .collect();
    let decides = |mode: &Mode, revision: &Revision| match mode {
        Mode::Shadow => false,
        Mode::Enforce => !replaced.contains(&revision.policy),
        Mode::Canary(_) => drawn(mode, revision, ids),
    };
    let list = entries
        .into_iter()
        .filter(|(mode, revision)| decides(mode, revision) && covers(revision));
    Some(list.map(|(_, revision)| revision).collect())
}

/// The revisions that are asked beside, in order: the shadows that cover the request.
///
/// `None` when a revision is not among `revisions`.
#[must_use]
pub fn shadows<'a>(
    set: &Set,
    revisions: &'a Revisions,
    issuer: &str,
    ids: &[SpiffeId],
) -> Option<Vec<&'a Sealed<Revision>>> {
    let watches =
        |mode: &Mode, revision: &Revision| *mode == Mode::Shadow && revision.scope.covers(issuer, ids);
    let list = known(set, revisions)?
        .into_iter()
        .filter(|(mode, revision)| watches(mode, revision));
    Some(list.map(|(_, revision)| revision).collect())
}

fn known<'a, 'b>(set: &'b Set, revisions: &'a Revisions) -> Option<Vec<(&'b Mode, &'a Sealed<Revision>)>> {
    let find = |entry: &'b super::Entry| Some((&entry.mode, revisions.get(&entry.revision)?));
    set.entries.iter().map(find).collect()
}

/// Whether a canary decides for the request. Without an ID it does not: the enforcing revision is asked.
fn drawn(mode: &Mode, revision: &Revision, ids: &[SpiffeId]) -> bool {
    match (mode, ids.first()) {
        (Mode::Canary(Canary { hundredths, salt }), Some(id)) => {
            bucket(&revision.policy, salt, id.as_str()) < *hundredths
        }
        _ => false,
    }
}
