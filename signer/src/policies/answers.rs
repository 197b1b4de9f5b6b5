//! What readers are told: statements as they are, and little words about them.

use std::collections::BTreeMap;

use sealwright_identity::Digest;
use sealwright_policy_wasm::{Engine, Policy};
use sealwright_proto::gate::PolicyState;
use sealwright_proto::policy::{
    CanarySummary, DescribeResponse, ListResponse, ReviewResponse, RevisionSummary, SetSummary, WatchResponse,
};
use sealwright_statement::policy::{Revision, Revisions, Roster, Set};
use sealwright_statement::{Signed, Statement as _};

use super::error::Refusal;
use super::{MAX_BLOB_BYTES, PolicyAdministration, deadline, digest, words};
use crate::sets::ActiveSet;

pub(super) async fn describe(engine: Engine, component: Vec<u8>) -> Result<DescribeResponse, Refusal> {
    let described = tokio::task::spawn_blocking(move || Policy::describe(&engine, component));
    let cut_off = |_| Refusal::Missing("describing was cut off".to_owned());
    let description = described
        .await
        .map_err(cut_off)?
        .map_err(|error| Refusal::Invalid(sealwright_runtime::Chain(&error).to_string()))?;
    Ok(DescribeResponse {
        name: description.name,
        version: description.version,
        settings_schema: description.settings_schema.to_string(),
    })
}

pub(super) async fn list(service: &PolicyAdministration) -> Result<ListResponse, Refusal> {
    let state = service.state().await?;
    let mut revisions = Vec::new();
    for name in revisions_of(&state) {
        let revision: Signed<Revision> = service.statement(digest(name)?).await?;
        revisions.push(RevisionSummary {
            digest: name.to_owned(),
            policy: revision.statement.policy.to_string(),
            module: revision.statement.module.to_string(),
            signatures: u32::try_from(revision.signatures.len()).unwrap_or(u32::MAX),
            in_force: state.revisions.iter().any(|in_force| in_force == name),
            revoked: state.revoked.iter().any(|revoked| revoked == name),
        });
    }
    let mut proposals = Vec::new();
    for staged in &state.staged {
        if [Set::TYPE, Roster::TYPE].contains(&&*staged.r#type) {
            proposals.push(service.text(digest(&staged.digest)?).await?);
        }
    }
    let mut canaries = Vec::new();
    for canary in &state.canaries {
        let revision: Signed<Revision> = service.statement(digest(&canary.revision)?).await?;
        canaries.push(CanarySummary {
            revision: canary.revision.clone(),
            policy: revision.statement.policy.to_string(),
            decisions: canary.decisions,
            denied: canary.denied,
            aborted: canary.aborted,
            stopped_micros: canary.stopped_micros,
        });
    }
    Ok(ListResponse {
        canaries,
        roster: armoured(service, &state.roster).await?,
        active: armoured(service, &state.set).await?,
        sets: state
            .history
            .iter()
            .map(|activation| SetSummary {
                number: activation.number,
                digest: activation.set.clone(),
                activated_micros: activation.activated_micros,
                approvals: activation.approvals,
                seeded: activation.seeded,
            })
            .collect(),
        revisions,
        proposals,
        deployment: state.deployment,
    })
}

pub(super) async fn review(service: &PolicyAdministration, wanted: &str) -> Result<ReviewResponse, Refusal> {
    let state = service.state().await?;
    let proposal = service.proposal(&state, wanted).await?;
    let set: Signed<Set> = service.statement(proposal).await?;
    let mut known = Revisions::new();
    let mut revisions = Vec::new();
    let mut reports = Vec::new();
    for entry in &set.statement.entries {
        let revision: Signed<Revision> = service.statement(entry.revision).await?;
        revisions.push(revision.to_string());
        known.insert(entry.revision, revision.statement);
        if let Some(report) = entry.report
            && let Ok(report) = service
                .sets
                .source()
                .blob(report, MAX_BLOB_BYTES, deadline())
                .await
        {
            reports.push(String::from_utf8_lossy(&report).into_owned());
        }
    }
    let active: Option<Signed<Set>> = match &*state.set {
        "" => None,
        active => Some(service.statement(digest(active)?).await?),
    };
    // A rollback that is signed ahead follows another proposal.
    let between: Option<Signed<Set>> = match set.statement.previous {
        Some(previous)
            if set.statement.restores.is_some()
                && Some(previous) != active.as_ref().map(|active| active.statement.digest())
                && state
                    .staged
                    .iter()
                    .any(|staged| staged.digest == previous.to_string()) =>
        {
            Some(service.statement(previous).await?)
        }
        _ => None,
    };
    let before = between.as_ref().or(active.as_ref());
    let mut retired = Vec::new();
    for entry in before.iter().flat_map(|before| &before.statement.entries) {
        if let std::collections::btree_map::Entry::Vacant(place) = known.entry(entry.revision) {
            let revision: Signed<Revision> = service.statement(entry.revision).await?;
            retired.push(revision.to_string());
            place.insert(revision.statement);
        }
    }
    let next = set.statement.roster.to_string();
    let is_new = next != state.roster;
    Ok(ReviewResponse {
        changes: words::changes(before.map(|before| &*before.statement), &set.statement, &known),
        set: set.to_string(),
        revisions,
        reports,
        next_roster: match is_new {
            true => armoured(service, &next).await?,
            false => String::new(),
        },
        roster: armoured(service, &state.roster).await?,
        active: active.as_ref().map(ToString::to_string).unwrap_or_default(),
        between: between.as_ref().map(ToString::to_string).unwrap_or_default(),
        retired,
    })
}

pub(super) async fn diff(
    service: &PolicyAdministration,
    from: &str,
    to: &str,
) -> Result<Vec<String>, Refusal> {
    let state = service.state().await?;
    let from = if from.is_empty() { &*state.set } else { from };
    let before: Option<Signed<Set>> = match from {
        "" => None,
        from => Some(service.statement(digest(from)?).await?),
    };
    let to = service.proposal(&state, to).await?;
    let after: Signed<Set> = service.statement(to).await?;
    let mut known: BTreeMap<Digest, _> = Revisions::new();
    let sets = before.iter().chain([&after]);
    for entry in sets.flat_map(|set| &set.statement.entries) {
        if let std::collections::btree_map::Entry::Vacant(place) = known.entry(entry.revision) {
            place.insert(service.statement(entry.revision).await?.statement);
        }
    }
    let before = before.as_ref().map(|before| &*before.statement);
    Ok(words::changes(before, &after.statement, &known))
}

pub(super) fn in_force(set: Option<&ActiveSet>) -> WatchResponse {
    set.map_or_else(WatchResponse::default, |set| WatchResponse {
        number: set.number(),
        digest: set.digest().to_string(),
        policies: u32::try_from(set.len()).unwrap_or(u32::MAX),
        stopped: set.stopped().iter().map(ToString::to_string).collect(),
    })
}

async fn armoured(service: &PolicyAdministration, name: &str) -> Result<String, Refusal> {
    match name {
        "" => Ok(String::new()),
        name => service.text(digest(name)?).await,
    }
}

/// Of the set in force, and of what waits.
fn revisions_of(state: &PolicyState) -> impl Iterator<Item = &str> {
    let staged = state
        .staged
        .iter()
        .filter(|staged| staged.r#type == Revision::TYPE);
    state
        .revisions
        .iter()
        .map(String::as_str)
        .chain(staged.map(|staged| &*staged.digest))
}
