//! Whether the right policies were asked: those of the policy set in force for the names in the certificate, in its order.
//!
//! Computed here from the set, whose signatures were judged ([`crate::sets`]), the issuer, and the names in the
//! to-be-signed bytes; nothing that the front says of it has a part. Ledgers of before there were sets name the
//! policies in the entry of the start.

use sealwright_identity::{San, SpiffeId};
use sealwright_ledger::{EntryKind, PolicyRef};
use sealwright_proto::gate as pb;
use sealwright_runtime::Chain;
use sealwright_x509::LeafTbs;

use crate::{
    decision::{Case, Judged, limits},
    problem::{Problem, shown},
    sets::{Due, InForce},
};

/// The record's policies are the evidence's, and those that were due.
pub(crate) fn check(case: &Case, evidence: &pb::Evidence, decision: &pb::Decision, judged: &mut Judged) {
    as_evidence(case, decision, judged);
    match &case.in_force {
        Some(in_force) => by_set(case, evidence, decision, in_force, judged),
        None => by_configuration(case, judged),
    }
}

fn as_evidence(case: &Case, decision: &pb::Decision, judged: &mut Judged) {
    let entry = &case.decision;
    let equal = entry.policies.len() == decision.policies.len()
        && entry
            .policies
            .iter()
            .zip(&decision.policies)
            .all(|(listed, asked)| {
                listed.name == asked.name
                    && listed.module.to_string() == asked.module
                    && listed.settings.to_string() == asked.settings
                    && listed.verdict == asked.verdict
                    && listed.fuel == asked.fuel
            });
    if !equal {
        let names = decision.policies.iter().map(|policy| policy.name.as_str());
        judged.found(Problem::Policies {
            expected: listed(names),
            found: listed(entry.policies.iter().map(|policy| policy.name.as_str())),
        });
    }
}

fn by_set(
    case: &Case,
    evidence: &pb::Evidence,
    decision: &pb::Decision,
    in_force: &InForce,
    judged: &mut Judged,
) {
    let issued = case.kind == EntryKind::Decision;
    if let Err(problem) = numbers(case, decision, in_force, issued) {
        judged.found(problem);
    }
    if issued {
        match of_certificate(case, in_force) {
            Ok(due) => compare(case, decision, &due, in_force, judged),
            Err(problem) => judged.found(problem),
        }
        return;
    }
    // A denial may have been decided under the set before, or about names that nobody wrote down.
    let identities = evidence
        .caller
        .as_ref()
        .map(|caller| caller.identities.as_slice());
    if let Some([identity]) = identities
        && decision.set_number != 0
        && decision.set_number == in_force.number()
        && in_force.has_stopped(decision.stops)
        && let Ok(id) = identity.parse::<SpiffeId>()
    {
        let mut due = in_force.asked(&case.decision.issuer, &[id]).unwrap_or_default();
        due.truncate(decision.policies.len());
        compare(case, decision, &due, in_force, judged);
    }
}

/// The set that record and evidence name is one that was in force, and for a certificate the one that was.
fn numbers(case: &Case, decision: &pb::Decision, in_force: &InForce, issued: bool) -> Result<(), Problem> {
    let number = in_force.number();
    let set = match &case.decision.set {
        Some(set) => set,
        None if issued => {
            return Err(wrong(format!(
                "it names no policy set, and {number} was in force"
            )));
        }
        None => return Ok(()),
    };
    let approvals = in_force
        .approvals(set.number)
        .ok_or_else(|| wrong(format!("policy set {} was never in force", set.number)))?;
    if approvals != set.approvals {
        return Err(wrong(format!(
            "{} people are said to have agreed to set {}, and {approvals} did",
            set.approvals, set.number
        )));
    }
    if !issued {
        return Ok(());
    }
    if set.number != number {
        return Err(wrong(format!(
            "it names policy set {}, and {number} was in force",
            set.number
        )));
    }
    let said = decision.set_number;
    if said != number && !(said == 0 && in_force.is_seeded()) {
        return Err(wrong(format!(
            "its evidence names policy set {said}, and {number} was in force"
        )));
    }
    if said != 0 && !in_force.has_stopped(decision.stops) {
        return Err(wrong(format!(
            "its evidence says that {} canaries of set {number} were stopped, and another number was",
            decision.stops
        )));
    }
    if let (Some(due), Some(found)) = (case.deployment, in_force.deployment())
        && due != found
    {
        return Err(wrong(format!(
            "policy set {number} is for the deployment {found}, and the issuers are those of {due}"
        )));
    }
    Ok(())
}

fn of_certificate<'a>(case: &Case, in_force: &'a InForce) -> Result<Vec<&'a Due>, Problem> {
    let tbs = LeafTbs::decode(&case.decision.tbs).map_err(|error| Problem::Tbs(Chain(&error).to_string()))?;
    let ids: Vec<SpiffeId> = tbs
        .fields()
        .sans
        .iter()
        .filter_map(|san| match san {
            San::Uri(id) => Some(id.clone()),
            San::Dns(_) | San::Ip(_) => None,
        })
        .collect();
    in_force.required(&case.decision.issuer, &ids).map_err(wrong)
}

fn compare(case: &Case, decision: &pb::Decision, due: &[&Due], in_force: &InForce, judged: &mut Judged) {
    let asked = &case.decision.policies;
    let same = due.len() == asked.len() && due.iter().zip(asked).all(|(due, asked)| is(due, asked));
    if !same {
        let due = due
            .iter()
            .map(|due| described(due.name.as_str(), &due.module.to_string()));
        judged.found(Problem::Policies {
            expected: listed(due),
            found: found(asked),
        });
        return;
    }
    for (due, asked) in due.iter().zip(&decision.policies) {
        let said = asked.revision.as_str();
        if said != due.revision.to_string() && !(said.is_empty() && in_force.is_seeded()) {
            judged.found(wrong(format!(
                "policy {} is said to be of revision {}, and {} was due",
                due.name,
                shown(said),
                due.revision
            )));
        }
        // Limits that cannot be read are a finding of their own.
        let Some(limits) = limits(asked) else { continue };
        if limits.fuel != due.fuel || due.memory.is_some_and(|memory| memory != limits.memory_bytes) {
            judged.found(wrong(format!(
                "policy {} ran with other limits than its revision {} has",
                due.name, due.revision
            )));
        }
    }
}

fn is(due: &Due, asked: &PolicyRef) -> bool {
    (due.name.as_str(), due.module, due.settings) == (asked.name.as_str(), asked.module, asked.settings)
}

/// As the start says, in ledgers of before there were sets.
fn by_configuration(case: &Case, judged: &mut Judged) {
    if case.kind != EntryKind::Decision {
        return;
    }
    let entry = &case.decision;
    if let Some(set) = &entry.set {
        judged.found(wrong(format!(
            "it names policy set {}, and the export has no policy entry before it",
            set.number
        )));
        return;
    }
    let start = case.start.as_deref();
    let issuer = start.and_then(|start| start.issuers.iter().find(|issuer| issuer.name == entry.issuer));
    // Without one, the certificate's issuer is a finding of its own.
    let Some(issuer) = issuer else { return };
    let due = issuer.policies.len() == entry.policies.len()
        && issuer.policies.iter().zip(&entry.policies).all(|(due, asked)| {
            (&due.name, due.module, due.settings) == (&asked.name, asked.module, asked.settings)
        });
    if !due {
        let expected = issuer.policies.iter();
        judged.found(Problem::Policies {
            expected: listed(expected.map(|policy| described(&policy.name, &policy.module.to_string()))),
            found: found(&entry.policies),
        });
    }
}

fn found(policies: &[PolicyRef]) -> String {
    listed(
        policies
            .iter()
            .map(|policy| described(&policy.name, &policy.module.to_string())),
    )
}

fn described(name: &str, module: &str) -> String {
    format!("{name} ({module})")
}

fn listed<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name.as_ref());
    }
    if text.is_empty() {
        return "none".to_owned();
    }
    shown(&text)
}

fn wrong(what: String) -> Problem {
    Problem::Set(shown(&what))
}
