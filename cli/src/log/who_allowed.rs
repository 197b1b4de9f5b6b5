//! `who-allowed`: one page from a certificate to what allowed it, and who.

use std::process::ExitCode;

use prost::Message as _;
use sealwright_audit::{Ceremonies, Finding, Sets};
use sealwright_identity::Digest;
use sealwright_ledger::{Body, DecisionEntry, Record, Selector, SetRef, StartEntry};
use sealwright_proto::gate::{Evidence, PolicyVerdict};
use sealwright_x509::LeafTbs;
use serde_json::{Map, Value, json};

use super::{ceremonies, evidence, sets};
use crate::{
    args::WhoAllowedArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(crate) fn run(args: &WhoAllowedArgs, output: Output) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    runtime.block_on(async {
        let reader = super::open(&args.place).await?;
        let selector = Selector::Serial(args.serial.clone());
        let record = reader.record(&selector).await.map_err(super::failure)?;
        let (sets, findings) = sets::read(&reader).await?;
        let (keys, odd) = ceremonies::read(&reader, record.entry.sequence).await?;
        let page = page(&record, (&sets, &findings), (keys, &odd))?;
        match output {
            Output::Json => output::json(&page)?,
            Output::Table => output::table(&[], rows(&page))?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn page(
    record: &Record,
    (sets, findings): (&Sets, &[Finding]),
    (ceremonies, odd): (Ceremonies, &[Finding]),
) -> Result<Value, Failure> {
    let Body::Decision(decision) = &record.body else {
        return Err(Failure::text(Class::Input, "the serial is not of a decision"));
    };
    let evidence = evidence::readable(&decision.evidence).unwrap_or_default();
    let part = |pointer: &str| evidence.pointer(pointer).cloned().unwrap_or_default();
    let start = record.start.as_ref().and_then(|entry| match entry.body() {
        Ok(Body::Start(start)) => Some((entry.sequence, start)),
        _ => None,
    });
    Ok(json!({
        "certificate": certificate(record, decision),
        "record": {
            "sequence": record.entry.sequence,
            "recorded_at": record.entry.recorded_at,
            "hash": record.entry.hash,
            "decided_at": part("/decision/decided_at"),
            "engine_profile": part("/decision/engine_profile_digest"),
        },
        "asked_by": {
            "identities": part("/caller/identities"),
            "presented": part("/caller/presented"),
            "source": part("/caller/source"),
            "authenticator": part("/caller/authenticator"),
            "cluster": part("/caller/cluster"),
            "kubernetes": part("/caller/kubernetes"),
            "peer": part("/caller/peer"),
            "renewed_from": decision.renewal.as_ref().map(|renewal| json!({
                "serial": renewal.previous,
                "first_authenticated_at": renewal.first_authenticated_at,
            })),
        },
        "allowed_by": policies(decision, sets),
        "policy_set": decision.set.map(|set| policy_set(set, record.entry.sequence, sets, findings)),
        "issuer_key": ceremonies::origin(decision, start.as_ref().map(|(_, start)| start), ceremonies, odd),
        "gate": start.map(|(sequence, start)| gate(sequence, &start)),
    }))
}

fn certificate(record: &Record, decision: &DecisionEntry) -> Value {
    let fields = LeafTbs::decode(&decision.tbs).ok();
    let fields = fields.as_ref().map(LeafTbs::fields);
    let fingerprint = match &record.settlement {
        Some((_, Body::Certificate(part))) => Some(part.fingerprint),
        _ => None,
    };
    json!({
        "serial": decision.serial,
        "fingerprint": fingerprint,
        "outcome": record.outcome(),
        "names": decision.identities,
        "not_before": fields.map(|fields| fields.validity.not_before()),
        "not_after": fields.map(|fields| fields.validity.not_after()),
        "issuer": decision.issuer,
        "issuer_key": decision.issuer_key,
    })
}

/// Who agreed, by the signatures and not by the record; `at` is the record's sequence.
fn policy_set(set: SetRef, at: u64, sets: &Sets, findings: &[Finding]) -> Value {
    let problems: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let Some(active) = sets.activated(set.number) else {
        return json!({
            "number": set.number,
            "problem": "no policy set of this number holds in this ledger",
            "problems": problems,
        });
    };
    let people = &active.verdict.counted;
    let approvals = match people.is_empty() {
        true => json!("none"),
        false => json!(people),
    };
    let before = active.stopped().iter().filter(|(_, stop)| stop.sequence < at);
    let stopped: Vec<Value> = before
        .map(|(canary, stop)| {
            json!({
                "revision": canary,
                "sequence": stop.sequence,
                "at": stop.at,
                "decisions": stop.counts.decisions,
                "denied": stop.counts.denied,
                "aborted": stop.counts.aborted,
            })
        })
        .collect();
    let problem = if active.sequence > at {
        Some(format!(
            "it took effect with entry {}, after the record",
            active.sequence
        ))
    } else {
        let differs = active.approvals() != set.approvals;
        differs.then(|| format!("the record says {} approvals", set.approvals))
    };
    json!({
        "number": set.number,
        "digest": active.set.digest(),
        "in_force_from": { "sequence": active.sequence, "judged_at": active.judged_at },
        "in_force_until": active.until,
        "roster": active.roster,
        "must_agree": active.verdict.needed,
        "approvals": approvals,
        "did_not_count": Some(&active.verdict.uncounted).filter(|people| !people.is_empty()),
        "from_configuration": active.seeded,
        "restores": active.set.restores,
        "stopped_canaries": Some(stopped).filter(|stopped| !stopped.is_empty()),
        "problem": problem,
        "problems": Some(problems).filter(|problems| !problems.is_empty()),
    })
}

/// What is known of a policy by its revision: who pushed it, what it was made from, what admission said.
fn revision(decision: &DecisionEntry, verdict: Option<&PolicyVerdict>, sets: &Sets) -> Option<Value> {
    let active = sets.activated(decision.set?.number)?;
    let named = verdict.and_then(|verdict| verdict.revision.parse::<Digest>().ok());
    let entry = active.set.entries.iter().find(|entry| {
        let same = |verdict: &PolicyVerdict| {
            sets.revision(&entry.revision).is_some_and(|revision| {
                revision.policy.as_str() == verdict.name
                    && revision.module.to_string() == verdict.module
                    && revision.settings_digest().to_string() == verdict.settings
            })
        };
        match named {
            Some(named) => entry.revision == named,
            None => verdict.is_some_and(same),
        }
    })?;
    let revision = sets.revision(&entry.revision)?;
    let pushed: Vec<_> = sets.pushers(&entry.revision).collect();
    Some(json!({
        "digest": entry.revision,
        "pushed_by": pushed,
        "source": revision.source,
        "admission_report": entry.report,
        "scope": revision.scope,
        "revoked": sets.revoked().contains(&entry.revision).then_some(true),
    }))
}

fn policies(decision: &DecisionEntry, sets: &Sets) -> Vec<Value> {
    let evidence = Evidence::decode(decision.evidence.as_slice()).unwrap_or_default();
    let verdicts = evidence.decision.unwrap_or_default().policies;
    let listed = decision.policies.iter().enumerate();
    listed
        .map(|(at, policy)| {
            let verdict = verdicts.get(at);
            json!({
                "policy": policy.name,
                "module": policy.module,
                "settings": policy.settings,
                "verdict": policy.verdict,
                "fuel": policy.fuel,
                "narrowing": verdict.and_then(|verdict| verdict.narrowing.as_ref()).map(evidence::narrowing),
                "revision": revision(decision, verdict, sets),
            })
        })
        .collect()
}

fn gate(sequence: u64, start: &StartEntry) -> Value {
    json!({
        "start": sequence,
        "version": start.version,
        "binary": start.binary,
        "configuration": start.configuration,
        "token": start.token,
        "os_user": start.os_user,
    })
}

/// The page as rows: the path to a value, and the value.
fn rows(page: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    flatten("", page, &mut rows);
    rows
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let inner = |name: &str| match path {
        "" => name.replace('_', " "),
        path => format!("{path}: {}", name.replace('_', " ")),
    };
    match value {
        Value::Null => {}
        Value::Object(members) => object(members, &inner, rows),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (item, number) in items.iter().zip(1..) {
                flatten(&format!("{path} {number}"), item, rows);
            }
        }
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().map(text).collect();
            rows.push(vec![path.to_owned(), texts.join("\n")]);
        }
        other => rows.push(vec![path.to_owned(), text(other)]),
    }
}

fn object(members: &Map<String, Value>, inner: &dyn Fn(&str) -> String, rows: &mut Vec<Vec<String>>) {
    for (name, member) in members {
        flatten(&inner(name), member, rows);
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
