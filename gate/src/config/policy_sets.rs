//! `[policy_sets]` and `issuers.rehearsal`: who agrees on what decides.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, IssuerConfig, PolicyConfig};

/// Where the approvers come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySetsConfig {
    /// The armoured file of the first approver roster; read until the ledger has one, compared from then on.
    #[serde(default)]
    pub roster: Option<PathBuf>,
}

/// Whether nobody relies on it: every issuer says so, or none does.
pub(super) fn rehearsal(issuers: &[IssuerConfig]) -> bool {
    issuers.iter().all(|issuer| issuer.rehearsal)
}

pub(super) fn validate(
    sets: &PolicySetsConfig,
    issuers: &[IssuerConfig],
    policies: &[PolicyConfig],
) -> Result<(), ConfigError> {
    let marked = issuers.iter().find(|issuer| issuer.rehearsal);
    let real = issuers.iter().find(|issuer| !issuer.rehearsal);
    if let (Some(marked), Some(real)) = (marked, real) {
        return Err(ConfigError::new(
            format!("issuers.{}.rehearsal", real.name),
            format!("issuer {} is a rehearsal and this one is not", marked.name),
            "write rehearsal = true in every [[issuers]] or in none: one gate has one policy set",
        ));
    }
    // In a rehearsal people need not agree; where a roster is named, they do there, too.
    if marked.is_some() && sets.roster.is_none() {
        return Ok(());
    }
    let by_statement = "they come by signed statements here";
    let fix = match marked {
        None => {
            "take [[policies]] and issuers.policies out and push, approve and activate them (docs/policies.md), or write \
             rehearsal = true in every [[issuers]] of an installation that nobody relies on"
        }
        Some(_) => {
            "take [[policies]] and issuers.policies out and push, approve and activate them (docs/policies.md), or take \
             policy_sets.roster out, so that nobody has to agree"
        }
    };
    if !policies.is_empty() {
        return Err(ConfigError::new("policies", by_statement, fix));
    }
    match issuers.iter().find(|issuer| !issuer.policies.is_empty()) {
        Some(issuer) => Err(ConfigError::new(
            format!("issuers.{}.policies", issuer.name),
            by_statement,
            fix,
        )),
        None => Ok(()),
    }
}
