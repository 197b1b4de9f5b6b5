//! `policy review`, `status`, `watch`: what a person reads before and after.
//!
//! The words of a review are made here, from statements whose digests were compared.

use std::{collections::BTreeMap, process::ExitCode};

use sealwright_identity::{Digest, Timestamp};
use sealwright_proto::policy::{ReviewRequest, WatchRequest};
use sealwright_signer::policies::words::changes;
use sealwright_statement::{
    PublicKey, Sealed, Signed,
    policy::{Revision, Revisions, Roster, Set},
    words::words,
};
use serde::Serialize;

use super::wire::{self, Client};
use crate::{
    args::{ReviewArgs, StatusArgs, WatchArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

/// A proposal with all that it takes to judge it.
pub(super) struct Review {
    pub(super) set: Signed<Set>,
    before: Option<Signed<Set>>,
    roster: Signed<Roster>,
    revisions: BTreeMap<Digest, Signed<Revision>>,
    /// By their digest, which was computed here.
    reports: BTreeMap<Digest, String>,
}

#[derive(Serialize)]
struct Reviewed {
    set: String,
    words: String,
    number: u64,
    not_after: String,
    changes: Vec<String>,
    pushed_by: BTreeMap<String, Vec<String>>,
    signed_by: Vec<String>,
    must_agree: u64,
    reports: Vec<String>,
}

pub(super) async fn review(args: &ReviewArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let review = fetch(&mut client, args.set).await?;
    let reviewed = review.in_words();
    match output {
        Output::Json => output::json(&reviewed)?,
        Output::Table => reviewed.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn fetch(client: &mut Client, set: Option<Digest>) -> Result<Review, Failure> {
    let request = ReviewRequest {
        set: set.map(|set| set.to_string()).unwrap_or_default(),
    };
    let answer = client.review(request).await.map_err(wire::refused)?.into_inner();
    let proposal: Signed<Set> = wire::statement(&answer.set)?;
    if let Some(wanted) = set.filter(|wanted| *wanted != proposal.statement.digest()) {
        return Err(Failure::text(
            Class::Input,
            format!("the signer gave another set than {wanted}"),
        ));
    }
    let mut revisions = BTreeMap::new();
    for text in answer.revisions.iter().chain(&answer.retired) {
        let revision: Signed<Revision> = wire::statement(text)?;
        revisions.insert(revision.statement.digest(), revision);
    }
    if let Some(entry) = proposal
        .statement
        .entries
        .iter()
        .find(|entry| !revisions.contains_key(&entry.revision))
    {
        return Err(Failure::text(
            Class::Input,
            format!("the signer did not give the revision {}", entry.revision),
        ));
    }
    let reports = answer.reports.into_iter();
    Ok(Review {
        set: proposal,
        before: match &*answer.active {
            "" => None,
            active => Some(wire::statement(active)?),
        },
        roster: wire::statement(&answer.roster)?,
        revisions,
        reports: reports
            .map(|report| (Digest::of(report.as_bytes()), report))
            .collect(),
    })
}

/// To standard error, for whoever is about to sign.
pub(super) fn explain(review: &Review) -> Result<(), Failure> {
    let reviewed = review.in_words();
    for line in &reviewed.changes {
        output::notice(line);
    }
    for report in &reviewed.reports {
        output::notice(report);
    }
    Ok(())
}

impl Review {
    /// Revisions that were in no set that is in force now, with the reports that the set names.
    pub(super) fn brought_in(&self) -> Vec<(&Sealed<Revision>, Option<Digest>)> {
        if self.set.statement.restores.is_some() {
            return Vec::new();
        }
        let old = |digest: Digest| {
            let mut old = self.before.iter().flat_map(|before| &before.statement.entries);
            old.any(|old| old.revision == digest)
        };
        let new = self
            .set
            .statement
            .entries
            .iter()
            .filter(|entry| !old(entry.revision));
        new.filter_map(|entry| Some((&self.revisions.get(&entry.revision)?.statement, entry.report)))
            .collect()
    }

    fn in_words(&self) -> Reviewed {
        let set = &self.set.statement;
        let known: Revisions = self
            .revisions
            .iter()
            .map(|(digest, revision)| (*digest, revision.statement.clone()))
            .collect();
        let before = self.before.as_ref().map(|before| &*before.statement);
        let person = |key: &PublicKey| {
            let owner = self.roster.statement.owner(key);
            owner.map_or_else(
                || format!("nobody of the roster ({})", key.id()),
                |person| person.name.to_string(),
            )
        };
        let signers = |signatures: &[sealwright_statement::Signature]| -> Vec<String> {
            signatures
                .iter()
                .map(|signature| person(&signature.key))
                .collect()
        };
        let pushed_by = set.entries.iter().filter_map(|entry| {
            let revision = self.revisions.get(&entry.revision)?;
            Some((
                revision.statement.policy.to_string(),
                signers(&revision.signatures),
            ))
        });
        let reports = set.entries.iter().map(|entry| match entry.report {
            None => format!("{}: no report", entry.revision),
            Some(report) => match self.reports.get(&report) {
                Some(text) => format!("{}: {}", entry.revision, verdict(text)),
                None => format!("{}: the report {report} is not here", entry.revision),
            },
        });
        Reviewed {
            set: set.digest().to_string(),
            words: words(&set.digest()).collect::<Vec<_>>().join(" "),
            number: set.number,
            not_after: set.not_after.to_string(),
            changes: changes(before, set, &known),
            pushed_by: pushed_by.collect(),
            signed_by: signers(&self.set.signatures),
            must_agree: self.roster.statement.threshold,
            reports: reports.collect(),
        }
    }
}

/// What a report comes to. Its bytes are what is signed; this is for the eye.
fn verdict(report: &str) -> &'static str {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(report);
    match parsed.ok().and_then(|report| report.get("admitted")?.as_bool()) {
        Some(true) => "admitted",
        Some(false) => "REFUSED by its admission",
        None => "a report that says neither admitted nor refused",
    }
}

impl Reviewed {
    fn print(&self) -> Result<(), Failure> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("set", self.set.clone()),
            row("words", self.words.clone()),
            row("number", self.number.to_string()),
            row("until", self.not_after.clone()),
            row("changes", self.changes.join("\n")),
            row("reports", self.reports.join("\n")),
            row("must agree", self.must_agree.to_string()),
            row("signed by", self.signed_by.join(", ")),
        ];
        for (policy, people) in &self.pushed_by {
            rows.push(row(&format!("{policy} pushed by"), people.join(", ")));
        }
        output::table(&[], rows)
    }
}

#[derive(Serialize)]
struct Standing {
    deployment: String,
    in_force: Option<u64>,
    set: Option<String>,
    must_agree: u64,
    sets: Vec<Past>,
    revisions: Vec<Known>,
    proposals: Vec<String>,
}

#[derive(Serialize)]
struct Past {
    number: u64,
    set: String,
    activated: String,
    approvals: u32,
    seeded: bool,
}

#[derive(Serialize)]
struct Known {
    revision: String,
    policy: String,
    module: String,
    signatures: u32,
    in_force: bool,
    revoked: bool,
}

pub(super) async fn status(args: &StatusArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let list = wire::list(&mut client).await?;
    let active: Option<Signed<Set>> = match &*list.active {
        "" => None,
        active => Some(wire::statement(active)?),
    };
    let roster: Signed<Roster> = wire::statement(&list.roster)?;
    if let Some(path) = &args.roster_out {
        std::fs::write(path, roster.to_string())
            .or_fail_doing(Class::Usage, format!("cannot write {}", path.display()))?;
    }
    let mut proposals = Vec::new();
    for text in &list.proposals {
        if let Ok(set) = wire::statement::<Set>(text) {
            proposals.push(set.statement.digest().to_string());
        }
    }
    let standing = Standing {
        deployment: list.deployment,
        in_force: active.as_ref().map(|set| set.statement.number),
        set: active.map(|set| set.statement.digest().to_string()),
        must_agree: roster.statement.threshold,
        sets: list
            .sets
            .into_iter()
            .map(|set| Past {
                number: set.number,
                set: set.digest,
                activated: Timestamp::from_micros(set.activated_micros).to_string(),
                approvals: set.approvals,
                seeded: set.seeded,
            })
            .collect(),
        revisions: list
            .revisions
            .into_iter()
            .map(|revision| Known {
                revision: revision.digest,
                policy: revision.policy,
                module: revision.module,
                signatures: revision.signatures,
                in_force: revision.in_force,
                revoked: revision.revoked,
            })
            .collect(),
        proposals,
    };
    match output {
        Output::Json => output::json(&standing)?,
        Output::Table => standing.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Standing {
    fn print(&self) -> Result<(), Failure> {
        output::table(
            &["set", "digest", "activated", "agreed"],
            self.sets.iter().map(|set| {
                let mark = if Some(set.number) == self.in_force {
                    " in force"
                } else {
                    ""
                };
                let approvals = match set.seeded {
                    true => "approvals: none".to_owned(),
                    false => set.approvals.to_string(),
                };
                vec![
                    format!("{}{mark}", set.number),
                    set.set.clone(),
                    set.activated.clone(),
                    approvals,
                ]
            }),
        )?;
        output::table(
            &["policy", "revision", "signatures", ""],
            self.revisions.iter().map(|revision| {
                let mark = match (revision.revoked, revision.in_force) {
                    (true, _) => "revoked",
                    (false, true) => "in force",
                    (false, false) => "",
                };
                vec![
                    revision.policy.clone(),
                    revision.revision.clone(),
                    revision.signatures.to_string(),
                    mark.to_owned(),
                ]
            }),
        )?;
        output::table(&["proposed"], self.proposals.iter().map(|set| vec![set.clone()]))
    }
}

#[derive(Serialize)]
struct Seen {
    number: u64,
    set: String,
    policies: u32,
}

pub(super) async fn watch(args: &WatchArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let mut sets = client
        .watch(WatchRequest {})
        .await
        .map_err(wire::refused)?
        .into_inner();
    while let Some(set) = sets.message().await.map_err(wire::refused)? {
        let seen = Seen {
            number: set.number,
            set: set.digest,
            policies: set.policies,
        };
        match output {
            Output::Json => output::json(&seen)?,
            Output::Table => output::line(&format!(
                "{}  {}  {} policies",
                seen.number, seen.set, seen.policies
            ))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
