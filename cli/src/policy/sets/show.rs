//! `policy status` and `policy watch`: what is in force, and what waits.

use std::process::ExitCode;

use sealwright_identity::Timestamp;
use sealwright_proto::policy::{CanarySummary, WatchRequest};
use sealwright_statement::{
    Signed,
    policy::{Roster, Set},
};
use serde::Serialize;

use super::wire;
use crate::{
    args::{StatusArgs, WatchArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Standing {
    deployment: String,
    in_force: Option<u64>,
    set: Option<String>,
    must_agree: u64,
    sets: Vec<Past>,
    revisions: Vec<Known>,
    canaries: Vec<Counted>,
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

/// A canary that stops by itself.
#[derive(Serialize)]
struct Counted {
    revision: String,
    policy: String,
    decisions: u64,
    denied: u64,
    aborted: u64,
    stopped: Option<String>,
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
        canaries: list.canaries.into_iter().map(Counted::of).collect(),
        proposals,
    };
    match output {
        Output::Json => output::json(&standing)?,
        Output::Table => standing.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Counted {
    fn of(canary: CanarySummary) -> Self {
        let stopped = (canary.stopped_micros != 0).then_some(canary.stopped_micros);
        Self {
            revision: canary.revision,
            policy: canary.policy,
            decisions: canary.decisions,
            denied: canary.denied,
            aborted: canary.aborted,
            stopped: stopped.map(|micros| Timestamp::from_micros(micros).to_string()),
        }
    }
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
        if !self.canaries.is_empty() {
            output::table(
                &["canary", "revision", "decisions", "denied", "aborted", "stopped"],
                self.canaries.iter().map(|canary| {
                    vec![
                        canary.policy.clone(),
                        canary.revision.clone(),
                        canary.decisions.to_string(),
                        canary.denied.to_string(),
                        canary.aborted.to_string(),
                        canary.stopped.clone().unwrap_or_else(|| "no".to_owned()),
                    ]
                }),
            )?;
        }
        output::table(&["proposed"], self.proposals.iter().map(|set| vec![set.clone()]))
    }
}

#[derive(Serialize)]
struct Seen {
    number: u64,
    set: String,
    policies: u32,
    /// Canaries that its bounds stopped.
    stopped: Vec<String>,
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
            stopped: set.stopped,
        };
        match output {
            Output::Json => output::json(&seen)?,
            Output::Table => {
                let stopped = match seen.stopped.len() {
                    0 => String::new(),
                    stopped => format!(", {stopped} canaries stopped"),
                };
                output::line(&format!(
                    "{}  {}  {} policies{stopped}",
                    seen.number, seen.set, seen.policies
                ))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
