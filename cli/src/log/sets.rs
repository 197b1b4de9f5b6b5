//! The policy sets of a ledger, judged again: who agreed to what, and which records lie under it.

use std::collections::{BTreeMap, BTreeSet};

use sealwright_audit::{Activated, Finding, Problem, Sets};
use sealwright_identity::Digest;
use sealwright_ledger::{Body, LedgerReader, Row};
use sealwright_statement::policy::Revision;

use crate::{
    args::ListArgs,
    failure::{Class, Failure},
    output,
};

/// Entries that are read at once.
const PIECE: u32 = 256;

/// Every change of what decides that a ledger has, and what speaks against one.
pub(super) async fn read(reader: &LedgerReader) -> Result<(Sets, Vec<Finding>), Failure> {
    let (mut sets, mut findings) = (Sets::default(), Vec::new());
    let mut after = 0;
    loop {
        let piece = reader
            .policy_entries_after(after, PIECE)
            .await
            .map_err(super::failure)?;
        let Some(last) = piece.last() else {
            return Ok((sets, findings));
        };
        after = last.sequence;
        for entry in piece {
            let sequence = entry.sequence;
            let Ok(Body::Policy(policy)) = entry.body() else {
                let problem = Problem::Change("its body cannot be read".to_owned());
                findings.push(Finding { sequence, problem });
                continue;
            };
            if entry.computed_hash() != entry.hash {
                let problem = Problem::Change("it was changed: its hash is another".to_owned());
                findings.push(Finding { sequence, problem });
                continue;
            }
            let mut statements = BTreeMap::new();
            for brought in &policy.brings {
                let blob = reader.blob(&brought.blob).await.map_err(super::failure)?;
                statements.extend(blob.map(|blob| (brought.blob, blob.bytes)));
            }
            let read = |digest: Digest| {
                statements.get(&digest).cloned().ok_or_else(|| Problem::Absent {
                    what: "statement",
                    digest: digest.to_string(),
                })
            };
            if let Err(problem) = sets.apply(sequence, entry.recorded_at, &policy, &read) {
                findings.push(Finding { sequence, problem });
            }
        }
    }
}

/// Which rows are wanted, by what they were decided under.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Numbers of sets; all where there is none.
    sets: Option<BTreeSet<u64>>,
    /// A revision, by what records have of it.
    pub(super) revision: Option<Revision>,
}

impl Wanted {
    pub(super) async fn of(args: &ListArgs, reader: &LedgerReader) -> Result<Self, Failure> {
        let digest: Option<Digest> = args.policy.as_ref().and_then(|policy| policy.parse().ok());
        if args.set.is_none() && args.approver.is_none() && digest.is_none() {
            return Ok(Self::default());
        }
        let (sets, findings) = read(reader).await?;
        for finding in &findings {
            output::notice(&format!("{finding}; no record is listed under it"));
        }
        let revision = digest.and_then(|digest| Some((digest, sets.revision(&digest)?)));
        if let Some(number) = args.set.filter(|number| sets.activated(*number).is_none()) {
            return Err(Failure::text(
                Class::Input,
                format!("policy set {number} never took effect in this ledger"),
            ));
        }
        let is = |set: &&Activated| {
            args.set.is_none_or(|number| set.set.number == number)
                && args.approver.as_ref().is_none_or(|name| approved(set, name))
                && revision
                    .is_none_or(|(digest, _)| set.set.entries.iter().any(|entry| entry.revision == digest))
        };
        if let Some(name) = args.approver.as_ref()
            && !sets.all().any(|set| approved(set, name))
        {
            return Err(Failure::text(
                Class::Input,
                format!("nobody of the name {name:?} approved a policy set of this ledger"),
            ));
        }
        let by_set = args.set.is_some() || args.approver.is_some() || revision.is_some();
        Ok(Self {
            sets: by_set.then(|| sets.all().filter(is).map(|set| set.set.number).collect()),
            revision: revision.map(|(_, revision)| Revision::clone(revision)),
        })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.sets.is_none()
    }

    pub(super) fn is(&self, row: &Row) -> bool {
        let under = |sets: &BTreeSet<u64>| row.set.is_some_and(|number| sets.contains(&number));
        let asked = |revision: &Revision| {
            row.policies.iter().any(|policy| {
                (policy.name.as_str(), policy.module, policy.settings)
                    == (
                        revision.policy.as_str(),
                        revision.module,
                        revision.settings_digest(),
                    )
            })
        };
        self.sets.as_ref().is_none_or(under) && self.revision.as_ref().is_none_or(asked)
    }
}

fn approved(set: &Activated, name: &str) -> bool {
    set.verdict.counted.iter().any(|one| one.person.as_str() == name)
}
