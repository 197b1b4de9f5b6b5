//! What must hold of a set whoever signs it.

use std::collections::BTreeMap;
use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};

use super::{Case, QuorumError, ROLLBACK_AGE};
use crate::policy::name::Name;
use crate::policy::roster::Roster;
use crate::policy::set::{Set, check_set};
use crate::statement::Sealed;

/// It is for this deployment and follows the set in force.
pub(super) fn in_turn(set: &Set, case: &Case<'_>) -> Result<(), QuorumError> {
    deployment(set.deployment, case)?;
    let expected = case
        .previous
        .map_or(1, |previous| previous.number.saturating_add(1));
    if set.number != expected {
        return Err(QuorumError::Number {
            expected,
            found: set.number,
        });
    }
    let expected = case.previous.map(Sealed::digest);
    if set.previous != expected {
        return Err(QuorumError::Previous {
            expected,
            found: set.previous,
        });
    }
    Ok(())
}

pub(super) fn deployment(found: Digest, case: &Case<'_>) -> Result<(), QuorumError> {
    if found != case.deployment {
        return Err(QuorumError::Deployment {
            expected: case.deployment,
            found,
        });
    }
    Ok(())
}

/// It may be activated now, and for no longer than is allowed.
pub(super) fn in_time(set: &Set, now: Timestamp, most: Duration) -> Result<(), QuorumError> {
    if set.not_after.saturating_since(set.not_before) > most {
        return Err(QuorumError::Window {
            not_before: set.not_before,
            not_after: set.not_after,
            most,
        });
    }
    if now < set.not_before {
        return Err(QuorumError::NotYetValid(set.not_before));
    }
    if now > set.not_after {
        return Err(QuorumError::Expired(set.not_after));
    }
    Ok(())
}

/// The roster that it names is the one in force, or the next; and none comes with it that it does not name, since
/// nobody agreed to that one.
pub(super) fn roster(set: &Set, case: &Case<'_>) -> Result<(), QuorumError> {
    threshold(case.roster, case)?;
    if let Some(other) = case.next_roster.filter(|roster| roster.digest() != set.roster) {
        return Err(QuorumError::UnnamedRoster(other.digest()));
    }
    if set.roster == case.roster.digest() {
        return Ok(());
    }
    let next = case.next_roster.ok_or(QuorumError::UnknownRoster(set.roster))?;
    let follows =
        case.roster.number.checked_add(1) == Some(next.number) && next.previous == Some(case.roster.digest());
    if !follows {
        return Err(QuorumError::RosterOrder {
            named: next.number,
            in_force: case.roster.number,
        });
    }
    threshold(next, case)
}

pub(super) fn threshold(roster: &Roster, case: &Case<'_>) -> Result<(), QuorumError> {
    if roster.threshold == 0 && !case.rehearsal {
        return Err(QuorumError::NotRehearsal(roster.number));
    }
    Ok(())
}

/// Its entries go together; none is revoked; where people must agree, each was admitted, and what is new pushed.
pub(super) fn entries(set: &Set, case: &Case<'_>) -> Result<(), QuorumError> {
    check_set(set, case.revisions).map_err(QuorumError::Entries)?;
    let people_agree = case.roster.threshold > 0;
    for entry in &set.entries {
        let revision = entry.revision;
        if case.revoked.contains(&revision) {
            return Err(QuorumError::Revoked(revision));
        }
        if !people_agree || set.restores.is_some() {
            continue;
        }
        let kept = case
            .previous
            .is_some_and(|previous| previous.entries.iter().any(|old| old.revision == revision));
        if kept {
            continue;
        }
        if entry.report.is_none() {
            return Err(QuorumError::NoReport(revision));
        }
        if case.pushers.get(&revision).is_none_or(|people| people.is_empty()) {
            return Err(QuorumError::NotPushed(revision));
        }
    }
    Ok(())
}

/// A rollback brings back what was in force a short while ago, unchanged.
pub(super) fn restores(set: &Set, case: &Case<'_>) -> Result<(), QuorumError> {
    let Some(number) = set.restores else {
        return Ok(());
    };
    let restorable = case
        .restorable
        .filter(|restorable| restorable.set.number == number)
        .ok_or(QuorumError::NeverActive(number))?;
    if case.now.saturating_since(restorable.until) > ROLLBACK_AGE {
        return Err(QuorumError::TooOld {
            number,
            until: restorable.until,
        });
    }
    let old = restorable.set;
    if set.entries != old.entries || set.stop != old.stop || set.roster != case.roster.digest() {
        return Err(QuorumError::NotTheSame(number));
    }
    Ok(())
}

/// Who does not count, and the revision because of which: its pushers, where the set has it in a part that it did not
/// have before.
pub(super) fn barred(set: &Set, case: &Case<'_>) -> BTreeMap<Name, Digest> {
    let mut barred = BTreeMap::new();
    for entry in &set.entries {
        let unchanged = case.previous.is_some_and(|previous| {
            let mut old = previous.entries.iter();
            old.any(|old| old.revision == entry.revision && old.mode == entry.mode)
        });
        if !unchanged {
            let people = case.pushers.get(&entry.revision).into_iter().flatten();
            barred.extend(people.map(|person| (person.clone(), entry.revision)));
        }
    }
    barred
}
