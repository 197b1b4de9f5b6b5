//! Shadows of this front alone: what somebody with a role may start and stop without a quorum, as it decides nothing.

use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_policy_wasm::Difference;
use sealwright_proto::policy::{FrontShadow as Told, ListShadowsResponse, ShadowRequest};
use sealwright_statement::Sealed;
use sealwright_statement::policy::Revision;
use tracing::info;

use super::config::PolicyRole;
use super::door::Administrator;
use super::error::Refusal;
use super::{PolicyAdministration, admission, deadline, digest};
use crate::front_shadows::{DEFAULT_DURATION, FrontShadow, MAX_DURATION};
use crate::sets::SetError;

/// Who may start and stop them.
pub(super) const ROLES: [PolicyRole; 2] = [PolicyRole::Author, PolicyRole::Operator];

pub(super) async fn start(
    service: &PolicyAdministration,
    who: &Administrator,
    request: ShadowRequest,
) -> Result<Told, Refusal> {
    let wanted = digest(&request.revision)?;
    let duration = duration(request.duration)?;
    // Before a processor is asked to compile and judge.
    service.front_shadows.has_place(wanted)?;
    let known = service.sets.source().statement(wanted, deadline()).await;
    let revision: Sealed<Revision> = known.map_err(|error| match error {
        SetError::Gate {
            source: ClientError::Invalid { .. },
            ..
        } => Refusal::Missing(format!("no revision {wanted} is here: push it first")),
        SetError::Statement { .. } => Refusal::Invalid(format!("{wanted} is no revision")),
        error => error.into(),
    })?;
    refuse_revoked(service, &request.revision).await?;
    let vetted = admission::vet(service, &revision, String::new()).await?;
    let who = who.identity().clone();
    let shadow = service
        .front_shadows
        .start(revision, vetted.policy, who, duration)?;
    info!(
        target: "audit",
        identity = %shadow.asked_by,
        revision = %wanted,
        policy = %shadow.revision.policy,
        until = %shadow.until,
        "a revision runs in shadow at this front"
    );
    Ok(told(&shadow))
}

pub(super) fn stop(
    service: &PolicyAdministration,
    who: &Administrator,
    revision: &str,
) -> Result<Told, Refusal> {
    let wanted = digest(revision)?;
    let missing = || Refusal::Missing(format!("{wanted} does not run in shadow at this front"));
    let shadow = service.front_shadows.stop(wanted).ok_or_else(missing)?;
    info!(target: "audit", identity = %who, revision = %wanted, policy = %shadow.revision.policy, "a shadow of this front was stopped");
    Ok(told(&shadow))
}

pub(super) fn list(service: &PolicyAdministration) -> ListShadowsResponse {
    let running = service.front_shadows.list();
    ListShadowsResponse {
        shadows: running.iter().map(|shadow| told(shadow)).collect(),
        most: u32::try_from(service.front_shadows.most()).unwrap_or(u32::MAX),
    }
}

/// Nobody needs to hear any more what it would have said.
async fn refuse_revoked(service: &PolicyAdministration, revision: &str) -> Result<(), Refusal> {
    let state = service.state().await?;
    match state.revoked.iter().any(|revoked| revoked == revision) {
        true => Err(Refusal::Revoked(revision.to_owned())),
        false => Ok(()),
    }
}

fn duration(asked: Option<prost_types::Duration>) -> Result<Duration, Refusal> {
    let Some(asked) = asked else {
        return Ok(DEFAULT_DURATION);
    };
    let duration = Duration::try_from(asked).unwrap_or(Duration::ZERO);
    if duration < Duration::from_secs(1) || duration > MAX_DURATION {
        return Err(Refusal::Invalid(format!(
            "a shadow of this front runs for a second at least and {} hours at most",
            MAX_DURATION.as_secs() / 3600
        )));
    }
    Ok(duration)
}

fn told(shadow: &FrontShadow) -> Told {
    let counts = &shadow.counts;
    Told {
        revision: shadow.revision.digest().to_string(),
        policy: shadow.revision.policy.to_string(),
        module: shadow.revision.module.to_string(),
        asked_by: shadow.asked_by.to_string(),
        since_micros: shadow.since.micros(),
        until_micros: shadow.until.micros(),
        same: counts.of(Difference::Same),
        denies: counts.of(Difference::Denies),
        allows: counts.of(Difference::Allows),
        narrows: counts.of(Difference::Narrows),
        aborted: counts.of(Difference::Aborted),
        not_compared: counts.of(Difference::NotCompared),
        left_out: counts.times_left_out(),
    }
}
