//! Changes taking effect: blobs first, then the entry that names them, then what requests meet.
//!
//! The entry is the moment. A crash before it leaves blobs that nothing names, and what was uploaded where it was; a
//! crash after it leaves a mark that is raised at the next start.

use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{BlobKind, Ledger, PolicyEntry, PolicyEvent, StatementRef};
use sealwright_statement::policy::{Approved, ApprovedRevocation, Roster};
use sealwright_statement::{Signed, Statement};
use tracing::info;

use super::Policies;
use super::error::PoliciesError;
use super::history::{Brought, History};

/// Writes the first roster down.
pub(super) async fn begin(
    ledger: &Ledger,
    roster: Signed<Roster>,
    now: Timestamp,
) -> Result<History, PoliciesError> {
    let brings = vec![store(ledger, &roster).await?];
    let entry = PolicyEntry {
        event: PolicyEvent::Roster,
        number: 0,
        statement: roster.statement.digest(),
        judged_at: now,
        approvals: 0,
        // A rehearsal may begin with people's roster, too.
        seeded: roster.statement.threshold == 0,
        brings,
        stopped: None,
    };
    ledger.policy(&entry).await?;
    let mut history = History::begin(roster.statement);
    history.count(entry.statement, &entry.brings);
    Ok(history)
}

impl Policies {
    /// A set takes effect. The blobs that its revisions name are in the ledger already.
    pub(super) async fn take_effect(
        &self,
        history: &mut History,
        approved: &Approved,
        brought: &Brought,
        seeded: bool,
    ) -> Result<(), PoliciesError> {
        let set = approved.set();
        let mut brings = vec![store(&self.ledger, set).await?];
        for revision in &brought.revisions {
            let settings = revision.statement.settings.as_bytes();
            self.ledger.put_blob(BlobKind::Settings, settings).await?;
            brings.push(store(&self.ledger, revision).await?);
        }
        if let Some(roster) = &brought.roster {
            brings.push(store(&self.ledger, roster).await?);
        }
        let entry = PolicyEntry {
            event: PolicyEvent::Set,
            number: set.statement.number,
            statement: set.statement.digest(),
            judged_at: self.clock.now(),
            approvals: people(approved.verdict().counted.len()),
            seeded,
            brings,
            stopped: None,
        };
        // Applied to a copy first: nothing that could fail comes after the entry.
        let mut next = history.clone();
        next.apply(approved, brought, entry.judged_at, seeded)
            .map_err(|source| PoliciesError::SeedQuorum(Box::new(source)))?;
        self.commit(history, next, &entry).await?;
        info!(
            number = entry.number, set = %entry.statement, approvals = entry.approvals, seeded,
            "a policy set took effect"
        );
        Ok(())
    }

    /// A revision is gone for ever.
    pub(super) async fn take_away(
        &self,
        history: &mut History,
        approved: &ApprovedRevocation,
    ) -> Result<(), PoliciesError> {
        let revocation = approved.revocation();
        let entry = PolicyEntry {
            event: PolicyEvent::Revocation,
            number: history.number(),
            statement: revocation.statement.digest(),
            judged_at: self.clock.now(),
            approvals: people(approved.verdict().counted.len()),
            seeded: false,
            brings: vec![store(&self.ledger, revocation).await?],
            stopped: None,
        };
        let mut next = history.clone();
        next.revoke(approved);
        self.commit(history, next, &entry).await?;
        info!(revision = %revocation.statement.revision, approvals = entry.approvals, "a policy revision was revoked");
        Ok(())
    }

    /// Requests that were checked are recorded before the entry, and those after it are checked under what follows.
    async fn commit(
        &self,
        history: &mut History,
        mut next: History,
        entry: &PolicyEntry,
    ) -> Result<(), PoliciesError> {
        next.count(entry.statement, &entry.brings);
        let fresh = next.in_force(self.deployment);
        let mut in_force = self.in_force.write().await;
        self.ledger.policy(entry).await?;
        *in_force = fresh;
        drop(in_force);
        *history = next;
        self.raise_mark(history);
        Ok(())
    }
}

async fn store<T: Statement>(ledger: &Ledger, signed: &Signed<T>) -> Result<StatementRef, PoliciesError> {
    let armoured = signed.to_string();
    let blob: Digest = ledger.put_blob(BlobKind::Statement, armoured.as_bytes()).await?;
    Ok(StatementRef {
        statement: signed.statement.digest(),
        blob,
    })
}

fn people(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
