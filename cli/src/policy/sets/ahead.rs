//! Break-glass: a rollback that people sign before it is needed, together with the set that it would undo.
//!
//! It follows that set, by number and digest. So it can take effect only while that very set is in force, and
//! another set in between makes it worthless.

use std::time::Duration;

use sealwright_identity::{Clock as _, HumanDuration, SystemClock};
use sealwright_proto::policy::{ListResponse, RollbackRequest};
use sealwright_statement::{
    Sealed, Signed,
    policy::{MAX_ROLLBACK_WINDOW, Roster, Set},
};
use serde::Serialize;

use super::wire::{self, Client};
use crate::failure::{Class, Failure};

/// A rollback that waits.
#[derive(Serialize)]
pub(super) struct Ahead {
    pub(super) set: String,
    pub(super) number: u64,
    pub(super) restores: u64,
    pub(super) not_after: String,
}

impl Ahead {
    pub(super) fn of(set: &Sealed<Set>) -> Self {
        Self {
            set: set.digest().to_string(),
            number: set.number,
            restores: set.restores.unwrap_or_default(),
            not_after: set.not_after.to_string(),
        }
    }
}

/// The rollback that brings `earlier` back once `next` is in force: to be proposed, or signed first.
pub(super) fn over(
    known: &ListResponse,
    next: &Sealed<Set>,
    earlier: &Sealed<Set>,
    valid: Duration,
) -> Result<Signed<Set>, Failure> {
    let refused = |text: &str| Err(Failure::text(Class::Usage, text));
    let active = active(known)?;
    if next.previous != Some(active.digest()) {
        return refused("the proposed set does not follow the one in force; propose it again");
    }
    let roster: Signed<Roster> = wire::statement(&known.roster)?;
    if next.roster != roster.statement.digest() {
        return refused(
            "the proposed set changes the roster, and a rollback brings nobody back; make the rollback once that set is \
             in force",
        );
    }
    let now = SystemClock.now().truncated_to_seconds();
    wire::seal(Set {
        deployment: next.deployment,
        number: next.number.saturating_add(1),
        previous: Some(next.digest()),
        not_before: now,
        not_after: now.saturating_add(short(valid)?),
        roster: next.roster,
        entries: earlier.entries.clone(),
        stop: earlier.stop,
        restores: Some(earlier.number),
    })
}

/// The set in force, which is what a rollback ahead goes back to.
pub(super) fn active(known: &ListResponse) -> Result<Sealed<Set>, Failure> {
    match &*known.active {
        "" => Err(Failure::text(
            Class::Usage,
            "no set is in force: there is nothing to bring back",
        )),
        active => Ok(wire::statement::<Set>(active)?.statement),
    }
}

/// How long a rollback may be activated.
pub(super) fn short(valid: Duration) -> Result<Duration, Failure> {
    if valid <= MAX_ROLLBACK_WINDOW {
        return Ok(valid);
    }
    Err(Failure::text(
        Class::Usage,
        format!(
            "a rollback may be activated for at most {}",
            HumanDuration::from_secs(MAX_ROLLBACK_WINDOW.as_secs())
        ),
    ))
}

/// Has the gate keep and enact the rollback of a file.
pub(super) async fn enact(client: &mut Client, file: &std::path::Path) -> Result<(u64, String), Failure> {
    let set: Signed<Set> = wire::file(file)?;
    if set.statement.restores.is_none() {
        return Err(Failure::text(
            Class::Usage,
            format!(
                "{} brings back no earlier set; propose and approve it, then activate it by its digest",
                file.display()
            ),
        ));
    }
    let request = RollbackRequest { set: set.to_string() };
    let taken = client
        .rollback(request)
        .await
        .map_err(wire::refused)?
        .into_inner();
    Ok((taken.number, taken.digest))
}
