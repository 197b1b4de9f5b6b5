//! Who agreed to a plan, and whether they are enough.

use std::collections::BTreeMap;

use sealwright_identity::{Digest, Timestamp};
use sealwright_statement::policy::Name;
use sealwright_statement::{Sealed, SignatureError, Signed};
use serde::{Deserialize, Serialize};

use crate::canonical::statement;
use crate::id::CeremonyId;
use crate::plan::LintedPlan;
use crate::roster::{Role, Roster};

/// "In this role I agree to this plan, by this roster." A statement of the type `ceremony-approval`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// As what.
    pub role: Role,
    /// The plan's digest.
    pub plan: Digest,
    /// The roster's digest.
    pub roster: Digest,
}

statement!(Approval, "ceremony-approval");

impl Approval {
    /// What is to be signed for a plan.
    #[must_use]
    pub fn of(plan: &LintedPlan, role: Role) -> Self {
        Self {
            ceremony: plan.plan().ceremony,
            role,
            plan: plan.digest(),
            roster: plan.plan().roster,
        }
    }

    pub(crate) const fn problem(&self) -> Option<(&'static str, String)> {
        None
    }
}

/// Somebody who signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatory {
    /// Who.
    pub person: Name,
    /// As what.
    pub role: Role,
    /// With which key.
    pub key: Digest,
}

/// A plan that enough operators agreed to. Only [`ApprovedPlan::judge`] makes it.
#[derive(Clone, Debug)]
pub struct ApprovedPlan {
    plan: LintedPlan,
    roster: Sealed<Roster>,
    approvals: Vec<Signed<Approval>>,
    signatories: Vec<Signatory>,
}

impl ApprovedPlan {
    /// Whether the operators that the roster asks for agreed to the plan. Every signature must hold and be of a
    /// person who has the role: one that is not is an error, not a vote less. A person counts once, and acts in one
    /// role.
    ///
    /// # Errors
    /// With the first thing that speaks against it.
    pub fn judge(
        plan: LintedPlan,
        roster: Sealed<Roster>,
        approvals: Vec<Signed<Approval>>,
        now: Timestamp,
    ) -> Result<Self, ApprovalError> {
        if plan.plan().roster != roster.digest() {
            return Err(ApprovalError::Roster {
                planned: plan.plan().roster,
                given: roster.digest(),
            });
        }
        if roster.threshold == 0 && !plan.plan().rehearsal {
            return Err(ApprovalError::Nobody);
        }
        let (from, to) = (plan.plan().not_before, plan.plan().not_after);
        if now < from || now > to {
            return Err(ApprovalError::Window { from, to, now });
        }
        let mut roles: BTreeMap<Name, Role> = BTreeMap::new();
        let mut signatories = Vec::new();
        for approval in &approvals {
            let role = approval.statement.role;
            if *approval.statement != Approval::of(&plan, role) {
                return Err(ApprovalError::Other {
                    approved: approval.statement.plan,
                    plan: plan.digest(),
                });
            }
            for signature in &approval.signatures {
                let key = signature.key.id();
                let person = roster
                    .owner(&signature.key)
                    .ok_or(ApprovalError::UnknownKey(key))?;
                if !person.roles.contains(&role) {
                    return Err(ApprovalError::Role {
                        person: person.name.clone(),
                        role: role.as_str(),
                    });
                }
                signature.verify(&approval.statement.preimage())?;
                if *roles.entry(person.name.clone()).or_insert(role) != role {
                    return Err(ApprovalError::TwoRoles(person.name.clone()));
                }
                signatories.push(Signatory {
                    person: person.name.clone(),
                    role,
                    key,
                });
            }
        }
        let agreed = roles.values().filter(|role| **role == Role::Operator).count();
        let agreed = u64::try_from(agreed).unwrap_or(u64::MAX);
        if agreed < roster.threshold {
            return Err(ApprovalError::TooFew {
                agreed,
                needed: roster.threshold,
            });
        }
        signatories.sort();
        signatories.dedup();
        Ok(Self {
            plan,
            roster,
            approvals,
            signatories,
        })
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &LintedPlan {
        &self.plan
    }

    /// The roster.
    #[must_use]
    pub const fn roster(&self) -> &Sealed<Roster> {
        &self.roster
    }

    /// The approvals as they were given.
    #[must_use]
    pub fn approvals(&self) -> &[Signed<Approval>] {
        &self.approvals
    }

    /// Who agreed, sorted.
    #[must_use]
    pub fn signatories(&self) -> &[Signatory] {
        &self.signatories
    }
}

/// Why a plan may not be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Another roster than the plan's.
    #[error("the plan is for the roster {planned}, the one given is {given}")]
    Roster {
        /// The plan's.
        planned: Digest,
        /// The one given.
        given: Digest,
    },
    /// Nobody has to agree, in earnest.
    #[error("by this roster nobody has to agree, which is for rehearsals only: raise its `threshold`")]
    Nobody,
    /// Too early or too late.
    #[error("the plan may be run from {from} to {to}; by this machine's clock it is {now}")]
    Window {
        /// From.
        from: Timestamp,
        /// To.
        to: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// An approval of something else.
    #[error("an approval is for the plan {approved}, or for another roster or ceremony; this plan is {plan}")]
    Other {
        /// What was approved.
        approved: Digest,
        /// The plan.
        plan: Digest,
    },
    /// A key that is nobody's.
    #[error("nobody in the roster has the key {0}, which signed an approval")]
    UnknownKey(Digest),
    /// A role that the person has not.
    #[error("{person} signed as {role}, which the roster does not allow")]
    Role {
        /// Who.
        person: Name,
        /// As what.
        role: &'static str,
    },
    /// Somebody who would watch themselves.
    #[error("{0} signed in two roles: in one ceremony a person has one")]
    TwoRoles(Name),
    /// A signature that does not hold.
    #[error("an approval's signature does not hold")]
    Signature(#[from] SignatureError),
    /// Not enough.
    #[error("{agreed} of {needed} operators agreed: collect more with `sealwright ceremony approve`")]
    TooFew {
        /// How many agreed.
        agreed: u64,
        /// How many must.
        needed: u64,
    },
}
