//! The set in force, kept so: looked at when the gate comes, now and then, and when somebody has to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sealwright_gate::client::{ClientError, ConnectionState, GateClient};
use sealwright_identity::Digest;
use sealwright_policy_wasm::Engine;
use sealwright_runtime::Chain;
use sealwright_runtime::readiness::Condition;
use sealwright_statement::Sealed;
use sealwright_statement::policy::Set;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::active::ActiveSet;
use super::load::{self, Ready, SetError, Source};

/// The time between two looks when nobody asks for one.
const LOOK: Duration = Duration::from_secs(2);
/// The same while there is no set, or one that cannot be run.
const LOOK_WHILE_AWAY: Duration = Duration::from_millis(250);
/// How long one look may take: it may have to fetch and compile a whole set.
const LOAD: Duration = Duration::from_secs(120);
/// One question about the state.
const ANSWER: Duration = Duration::from_secs(5);

/// What is known of the set in force.
#[derive(Clone, Debug, Default)]
struct Seen {
    set: Option<Arc<ActiveSet>>,
    /// Whether a gate ever said what is in force, even if that is nothing.
    heard: bool,
}

impl Seen {
    fn is_still(&self, set: Option<&Arc<ActiveSet>>) -> bool {
        self.set.as_ref().map(Arc::as_ptr) == set.map(Arc::as_ptr)
    }
}

/// The set in force. Clones share it.
#[derive(Clone, Debug)]
pub struct Sets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seen: watch::Sender<Seen>,
    wanted: Notify,
    prepared: Mutex<Arc<Ready>>,
    source: Source,
}

/// Every change of the set in force.
#[derive(Debug)]
pub struct SetChanges(watch::Receiver<Seen>);

impl SetChanges {
    /// The set in force now, then each one after it. `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Option<Arc<ActiveSet>>> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().set.clone())
    }

    /// So that the first is the one in force now.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.0.mark_changed();
        self
    }
}

/// Keeps [`Sets`] up to date, for as long as it runs.
#[derive(Debug)]
pub struct SetKeeper {
    sets: Sets,
    condition: Condition,
    told: Option<String>,
}

impl Sets {
    /// Nothing is in force until a keeper has looked.
    pub fn new(gate: GateClient, engine: Engine) -> Self {
        Self(Arc::new(Shared {
            seen: watch::Sender::default(),
            wanted: Notify::new(),
            prepared: Mutex::default(),
            source: Source { gate, engine },
        }))
    }

    /// The set in force, as far as is known. The outer `None` means that no gate was heard yet.
    pub fn current(&self) -> Option<Option<Arc<ActiveSet>>> {
        let seen = self.0.seen.borrow();
        seen.heard.then(|| seen.set.clone())
    }

    /// Has the gate asked what is in force, soon.
    pub fn look(&self) {
        self.0.wanted.notify_one();
    }

    /// Has the gate asked what is in force, once for all who wait, because it says that it is not
    /// this. Whether there is another one to decide under before the deadline.
    pub async fn refresh(&self, stale: Option<&Arc<ActiveSet>>, deadline: Instant) -> bool {
        let mut seen = self.0.seen.subscribe();
        self.0.wanted.notify_one();
        let newer = seen.wait_for(|seen| seen.heard && !seen.is_still(stale));
        matches!(timeout_at(deadline, newer).await, Ok(Ok(_)))
    }

    /// Waits for the set of that number, or a later one. Whether it came before the deadline.
    pub async fn reached(&self, number: u64, deadline: Instant) -> bool {
        let mut seen = self.0.seen.subscribe();
        self.0.wanted.notify_one();
        let there = seen.wait_for(|seen| seen.set.as_ref().is_some_and(|set| set.number() >= number));
        matches!(timeout_at(deadline, there).await, Ok(Ok(_)))
    }

    /// Whenever the set in force changes.
    pub fn changes(&self) -> SetChanges {
        SetChanges(self.0.seen.subscribe())
    }

    /// Compiles what a set names, before it is put in force.
    ///
    /// # Errors
    /// When it could not be run here.
    pub async fn prepare(&self, set: &Set, deadline: Instant) -> Result<(), SetError> {
        let current = self.current().flatten();
        let prepared = Arc::clone(&self.0.prepared.lock());
        let ready = self
            .0
            .source
            .ready(set, current.as_deref(), &prepared, deadline)
            .await?;
        // The one before it is not needed: it was put in force meanwhile, or never is.
        *self.0.prepared.lock() = Arc::new(ready);
        Ok(())
    }

    /// Any set that the gate has, compiled, to see what it would say. What is in force or prepared is taken from there;
    /// neither changes.
    ///
    /// # Errors
    /// When there is no such set, or it could not be run here.
    pub(crate) async fn candidate(&self, digest: Digest, deadline: Instant) -> Result<ActiveSet, SetError> {
        let set: Sealed<Set> = self.0.source.statement(digest, deadline).await?;
        let current = self.current().flatten();
        let prepared = Arc::clone(&self.0.prepared.lock());
        let ready = self.0.source.ready(&set, current.as_deref(), &prepared, deadline);
        let Ready { revisions, policies } = ready.await?;
        Ok(ActiveSet::new(set, BTreeSet::new(), revisions, policies))
    }

    pub(crate) fn source(&self) -> &Source {
        &self.0.source
    }
}

impl SetKeeper {
    /// A keeper that says by `condition` whether there is a set to decide under.
    pub fn new(sets: Sets, condition: Condition) -> Self {
        Self {
            sets,
            condition,
            told: None,
        }
    }

    /// Looks until it is told that there is a set, or for `limit`.
    pub(crate) async fn first(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut connection = self.sets.0.source.gate.state();
        while !self.look().await && Instant::now() < deadline {
            let again = (Instant::now() + LOOK_WHILE_AWAY).min(deadline);
            let _changed_or_not = timeout_at(again, connection.changed()).await;
        }
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut connection = self.sets.0.source.gate.state();
        loop {
            let pause = if self.look().await { LOOK } else { LOOK_WHILE_AWAY };
            tokio::select! {
                () = self.sets.0.wanted.notified() => {}
                () = tokio::time::sleep(pause) => {}
                Ok(()) = connection.changed() => {
                    let _now = *connection.borrow_and_update() != ConnectionState::Disconnected;
                }
            }
        }
    }

    /// Whether there is a set to decide under.
    async fn look(&mut self) -> bool {
        match self.ask().await {
            Ok(works) => {
                self.told = None;
                works
            }
            // The gate's own condition says that it is away; what was in force still is, for all we know.
            Err(SetError::Gate { source, .. }) if is_away(&source) => false,
            Err(failure) => {
                let reason = Chain(&failure).to_string();
                if self.told.as_ref() != Some(&reason) {
                    error!(error = reason, "the policy set in force cannot be run");
                }
                self.condition.not_ready(reason.clone());
                self.told = Some(reason);
                false
            }
        }
    }

    async fn ask(&self) -> Result<bool, SetError> {
        let shared = &self.sets.0;
        let asked = shared.source.gate.policy_state(Instant::now() + ANSWER).await;
        let state = asked.map_err(|source| SetError::Gate {
            what: "what is in force".to_owned(),
            source,
        })?;
        if state.number == 0 {
            shared.seen.send_modify(|seen| {
                seen.heard = true;
                seen.set = None;
            });
            self.condition.not_ready(
                "no policy set is in force: propose, approve and activate one (sealwright policy)",
            );
            return Ok(false);
        }
        let before = self.sets.current().flatten();
        let stopped = load::stopped(&state)?;
        let is_known = before
            .as_ref()
            .is_some_and(|set| set.digest().to_string() == state.set && *set.stopped() == stopped);
        if !is_known {
            let prepared = Arc::clone(&shared.prepared.lock());
            let deadline = Instant::now() + LOAD;
            let set = shared
                .source
                .load(&state, before.as_deref(), &prepared, deadline)
                .await?;
            info!(
                number = set.number(),
                digest = %set.digest(),
                policies = set.len(),
                approvals = if state.rehearsal { "none".to_owned() } else { state.approvals.to_string() },
                canaries_stopped = set.stopped().len(),
                "a policy set is in force"
            );
            shared.seen.send_modify(|seen| {
                seen.heard = true;
                seen.set = Some(Arc::new(set));
            });
        }
        self.condition.ready();
        Ok(true)
    }
}

/// Its own condition says so.
fn is_away(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unavailable { .. } | ClientError::Deadline | ClientError::Overloaded { .. }
    )
}
