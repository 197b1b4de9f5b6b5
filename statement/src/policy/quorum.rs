//! Whether those who must agree did.
//!
//! A person counts once, whatever the number of keys; only approvers of the roster in force count; who pushed a
//! revision that the set brings in, or whose mode it changes, does not count for the set. Every signature of the file
//! must hold and be of a person of the roster: one that is not is an error, not a vote less.

mod error;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};
use serde::Serialize;

pub use error::QuorumError;

use super::enforcing::Revisions;
use super::name::Name;
use super::revision::Revision;
use super::revocation::Revocation;
use super::roster::{Role, Roster};
use super::set::Set;
use crate::envelope::Signed;
use crate::signature::Signature;
use crate::statement::{Preimage, Sealed, Statement};

/// The longest time between a set's not-before and not-after.
pub const MAX_WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// The same for a rollback that is to take effect. One that is signed ahead of need lies about until then. Of one that
/// took effect already [`MAX_WINDOW`] is asked ([`judge_recorded`]): earlier releases let it lie about as long as any set.
pub const MAX_ROLLBACK_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// How long after a set was last in force a rollback may bring it back.
pub const ROLLBACK_AGE: Duration = Duration::from_secs(30 * 86_400);

/// Who pushed which revision.
pub type Pushers = BTreeMap<Digest, BTreeSet<Name>>;

/// What a set or a revocation is judged against: the state of the gate that is to take it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The deployment of the gate.
    pub deployment: Digest,
    /// Whether every issuer is marked as a rehearsal: only then may nobody have to agree.
    pub rehearsal: bool,
    /// The set in force.
    pub previous: Option<&'a Sealed<Set>>,
    /// The roster in force, whose people are asked.
    pub roster: &'a Sealed<Roster>,
    /// The roster that the set names, when it is another and was uploaded.
    pub next_roster: Option<&'a Sealed<Roster>>,
    /// Every revision that is known.
    pub revisions: &'a Revisions,
    /// Who pushed them, by [`pushers`].
    pub pushers: &'a Pushers,
    /// What was taken away for ever.
    pub revoked: &'a BTreeSet<Digest>,
    /// The earlier set that is to be brought back, when there was one of that number.
    pub restorable: Option<Restorable<'a>>,
    /// The time at the gate.
    pub now: Timestamp,
}

/// A set that was in force.
#[derive(Clone, Copy, Debug)]
pub struct Restorable<'a> {
    /// The set.
    pub set: &'a Sealed<Set>,
    /// When it ceased to be in force.
    pub until: Timestamp,
}

/// How the signatures count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many must agree.
    pub needed: u64,
    /// Who agreed and counts, by name.
    pub counted: Vec<Counted>,
    /// Who agreed and does not count.
    pub uncounted: Vec<Uncounted>,
}

/// Somebody who agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Who.
    pub person: Name,
    /// With which keys.
    pub keys: Vec<Digest>,
}

/// Somebody whose agreement does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Uncounted {
    /// Who.
    pub person: Name,
    /// The revision of the set that they pushed.
    pub pushed: Digest,
}

impl Verdict {
    /// Whether enough agreed.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        u64::try_from(self.counted.len()).is_ok_and(|counted| counted >= self.needed)
    }
}

/// A set that was judged and may become the one in force. Only [`judge`] makes it.
#[derive(Clone, Debug)]
pub struct Approved {
    set: Signed<Set>,
    verdict: Verdict,
}

impl Approved {
    /// The set, with the signatures.
    #[must_use]
    pub const fn set(&self) -> &Signed<Set> {
        &self.set
    }

    /// Who agreed.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

/// A revocation that was judged and may take effect. Only [`judge_revocation`] makes it.
#[derive(Clone, Debug)]
pub struct ApprovedRevocation {
    revocation: Signed<Revocation>,
    verdict: Verdict,
}

impl ApprovedRevocation {
    /// The revocation, with the signatures.
    #[must_use]
    pub const fn revocation(&self) -> &Signed<Revocation> {
        &self.revocation
    }

    /// Who agreed.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

/// Whether a set may become the one in force now.
///
/// # Errors
/// With the first thing that speaks against it.
pub fn judge(set: &Signed<Set>, case: &Case<'_>) -> Result<Approved, QuorumError> {
    let verdict = assess(set, case)?;
    Ok(Approved {
        set: set.clone(),
        verdict: enough(verdict)?,
    })
}

/// As [`judge`], of a set that took effect already, by an entry of a ledger that is read again.
///
/// # Errors
/// As for [`judge`].
pub fn judge_recorded(set: &Signed<Set>, case: &Case<'_>) -> Result<Approved, QuorumError> {
    let verdict = assess_within(set, case, MAX_WINDOW)?;
    Ok(Approved {
        set: set.clone(),
        verdict: enough(verdict)?,
    })
}

/// As [`judge`], but without asking whether enough agreed yet: for those who collect approvals.
///
/// # Errors
/// With the first thing that speaks against the set, signatures aside.
pub fn assess(set: &Signed<Set>, case: &Case<'_>) -> Result<Verdict, QuorumError> {
    assess_within(set, case, MAX_ROLLBACK_WINDOW)
}

fn assess_within(
    set: &Signed<Set>,
    case: &Case<'_>,
    rollback_window: Duration,
) -> Result<Verdict, QuorumError> {
    let statement = &set.statement;
    rules::in_turn(statement, case)?;
    let window = match statement.restores {
        Some(_) => rollback_window,
        None => MAX_WINDOW,
    };
    rules::in_time(statement, case.now, window)?;
    rules::roster(statement, case)?;
    rules::entries(statement, case)?;
    rules::restores(statement, case)?;
    let barred = rules::barred(statement, case);
    let least = if statement.restores.is_some() { 1 } else { 0 };
    let needed = case.roster.threshold.max(least);
    tally(
        &statement.preimage(),
        &set.signatures,
        case.roster,
        &barred,
        needed,
    )
}

/// Whether a revocation may take effect now. Who pushed the revision counts: taking away widens nothing.
///
/// # Errors
/// With the first thing that speaks against it.
pub fn judge_revocation(
    revocation: &Signed<Revocation>,
    case: &Case<'_>,
) -> Result<ApprovedRevocation, QuorumError> {
    let statement = &revocation.statement;
    rules::deployment(statement.deployment, case)?;
    let expected = case.previous.map_or(0, |set| set.number);
    if statement.number != expected {
        return Err(QuorumError::Number {
            expected,
            found: statement.number,
        });
    }
    if case.revoked.contains(&statement.revision) {
        return Err(QuorumError::Revoked(statement.revision));
    }
    if !case.revisions.contains_key(&statement.revision) {
        return Err(QuorumError::Entries(super::SetError::Unknown(statement.revision)));
    }
    rules::threshold(case.roster, case)?;
    let verdict = tally(
        &statement.preimage(),
        &revocation.signatures,
        case.roster,
        &BTreeMap::new(),
        case.roster.threshold,
    )?;
    Ok(ApprovedRevocation {
        revocation: revocation.clone(),
        verdict: enough(verdict)?,
    })
}

/// Who pushed a revision: the authors of the roster in force who signed it. Nobody, if nobody signed.
///
/// # Errors
/// When a signature does not hold, or is not an author's.
pub fn pushers(revision: &Signed<Revision>, roster: &Roster) -> Result<BTreeSet<Name>, QuorumError> {
    let preimage = revision.statement.preimage();
    signers(&preimage, &revision.signatures, roster, Role::Author)
}

/// Who approved a set or revocation so far, by the roster in force. Whether they count is for [`assess`] to say.
///
/// # Errors
/// When a signature does not hold, or is not an approver's.
pub fn approvers<T: Statement>(signed: &Signed<T>, roster: &Roster) -> Result<BTreeSet<Name>, QuorumError> {
    let preimage = signed.statement.preimage();
    signers(&preimage, &signed.signatures, roster, Role::Approver)
}

fn signers(
    preimage: &Preimage,
    signatures: &[Signature],
    roster: &Roster,
    role: Role,
) -> Result<BTreeSet<Name>, QuorumError> {
    let mut people = BTreeSet::new();
    for signature in signatures {
        people.extend(signed_by(preimage, signature, roster, role)?.cloned());
    }
    Ok(people)
}

fn tally(
    preimage: &Preimage,
    signatures: &[Signature],
    roster: &Roster,
    barred: &BTreeMap<Name, Digest>,
    needed: u64,
) -> Result<Verdict, QuorumError> {
    let mut counted: BTreeMap<&Name, BTreeSet<Digest>> = BTreeMap::new();
    let mut uncounted = BTreeMap::new();
    for signature in signatures {
        let Some(person) = signed_by(preimage, signature, roster, Role::Approver)? else {
            continue;
        };
        match barred.get(person) {
            Some(revision) => {
                uncounted.insert(person, *revision);
            }
            None => {
                counted.entry(person).or_default().insert(signature.key.id());
            }
        }
    }
    let counted = counted.into_iter().map(|(person, keys)| Counted {
        person: person.clone(),
        keys: keys.into_iter().collect(),
    });
    let uncounted = uncounted.into_iter().map(|(person, pushed)| Uncounted {
        person: person.clone(),
        pushed,
    });
    Ok(Verdict {
        needed,
        counted: counted.collect(),
        uncounted: uncounted.collect(),
    })
}

/// Whose signature it is, once it was verified. Where nobody is known (in a rehearsal), nobody's.
fn signed_by<'a>(
    preimage: &Preimage,
    signature: &Signature,
    roster: &'a Roster,
    role: Role,
) -> Result<Option<&'a Name>, QuorumError> {
    let Some(person) = roster.owner(&signature.key) else {
        if roster.people.is_empty() {
            signature.verify(preimage).map_err(QuorumError::Signature)?;
            return Ok(None);
        }
        return Err(QuorumError::UnknownKey(signature.key.id()));
    };
    if !person.is(role) {
        return Err(QuorumError::Role {
            person: person.name.clone(),
            role: role.as_str(),
        });
    }
    signature.verify(preimage).map_err(QuorumError::Signature)?;
    Ok(Some(&person.name))
}

fn enough(verdict: Verdict) -> Result<Verdict, QuorumError> {
    if verdict.is_enough() {
        return Ok(verdict);
    }
    Err(QuorumError::BelowThreshold(verdict))
}
