//! `[[policy_roles]]`: who may do what with policies.

use std::collections::{BTreeMap, BTreeSet};

use sealwright_identity::SpiffeId;
use serde::Deserialize;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyRole {
    /// Uploads and proposes.
    Author,
    /// Proposes, and hands signatures in.
    Approver,
    /// Puts in force what was approved.
    Operator,
    /// Reads everything.
    Auditor,
    /// Reads everything. Every other role does too.
    Reader,
}

impl PolicyRole {
    /// Its word in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Reader => "reader",
        }
    }
}

/// `[[policy_roles]]`: one caller.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRoleConfig {
    /// The SPIFFE ID of its client certificate.
    pub identity: SpiffeId,
    /// What it may do.
    pub roles: Vec<PolicyRole>,
}

/// Roles that no caller can have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolesError {
    /// Two sections of one caller.
    #[error("policy_roles: {0} is there twice; put its roles into one section")]
    Twice(SpiffeId),
    /// A section that gives nothing.
    #[error(
        "policy_roles: {0} has no roles; give it some of author, approver, operator, auditor, reader, or take it out"
    )]
    None(SpiffeId),
}

/// The roles of every caller who has any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles(BTreeMap<SpiffeId, BTreeSet<PolicyRole>>);

impl Roles {
    pub(crate) fn new(sections: &[PolicyRoleConfig]) -> Result<Self, RolesError> {
        let mut roles = BTreeMap::new();
        for PolicyRoleConfig {
            identity,
            roles: given,
        } in sections
        {
            if given.is_empty() {
                return Err(RolesError::None(identity.clone()));
            }
            let given: BTreeSet<PolicyRole> = given.iter().copied().collect();
            if roles.insert(identity.clone(), given).is_some() {
                return Err(RolesError::Twice(identity.clone()));
            }
        }
        Ok(Self(roles))
    }

    pub(crate) fn of(&self, identity: &SpiffeId) -> Option<&BTreeSet<PolicyRole>> {
        self.0.get(identity)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Refuses what could not work.
///
/// # Errors
/// The first section that does not serve.
pub fn validate(sections: &[PolicyRoleConfig]) -> Result<(), RolesError> {
    Roles::new(sections).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(identity: &str, roles: &[PolicyRole]) -> PolicyRoleConfig {
        PolicyRoleConfig {
            identity: identity.parse().unwrap(),
            roles: roles.to_vec(),
        }
    }

    #[test]
    fn an_identity_has_one_section_with_some_roles() {
        let (ann, bob) = ("spiffe://td/ns/ops/sa/ann", "spiffe://td/ns/ops/sa/bob");
        let author = section(ann, &[PolicyRole::Author]);
        let roles = Roles::new(&[author.clone(), section(bob, &[PolicyRole::Reader])]).unwrap();
        assert!(roles.of(&author.identity).unwrap().contains(&PolicyRole::Author));
        assert!(roles.of(&"spiffe://td/ns/ops/sa/eve".parse().unwrap()).is_none());
        let twice = Roles::new(&[author.clone(), author.clone()]).unwrap_err();
        assert_eq!(twice, RolesError::Twice(author.identity.clone()));
        let none = Roles::new(&[section(ann, &[])]).unwrap_err();
        assert_eq!(none, RolesError::None(author.identity));
    }
}
