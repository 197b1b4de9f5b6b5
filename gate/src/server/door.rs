//! What stands before the gate while it opens its ledger.
//!
//! Requests wait while that is under way, as it takes milliseconds. Where the ledger cannot be opened they are refused,
//! and the status says why; it is tried again until it can ([`open_ledger`]), so that the cause's end is seen at once and not
//! at the end of a wait between two processes. The gate behind the door is set once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{Digest, SharedClock};
use sealwright_ledger::{Error as LedgerError, Ledger, LedgerConfig, StartEntry};
use sealwright_proto::gate::{Status, request, response};
use sealwright_runtime::Chain;
use tokio::sync::watch;
use tracing::{info, warn};

use super::ceremonies::{Ceremonies, CeremoniesError};
use super::connection::{Context, Handler, Roles};
use super::gate::Gate;
use super::metrics::Metrics;
use super::policies::{Policies, PoliciesError, Setup};
use super::profiles::Profiles;
use super::refused::Refused;
use super::start::{self, Chains};
use crate::config::Role;
use crate::issuers::Issuers;

/// How often a ledger that cannot be opened is tried.
const OPEN_AGAIN: Duration = Duration::from_millis(500);

/// Answers for the gate until there is one, then passes on.
#[derive(Debug)]
pub(super) struct Door {
    state: watch::Sender<State>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) profiles: Arc<Profiles>,
}

#[derive(Clone, Debug)]
enum State {
    Opening,
    Closed(Arc<str>),
    Open(Arc<Gate>),
}

impl Door {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            state: watch::Sender::new(State::Opening),
            metrics: Arc::new(metrics),
            profiles: Arc::default(),
        }
    }

    /// From now on the gate answers.
    pub(super) fn open(&self, gate: Arc<Gate>) {
        self.state.send_replace(State::Open(gate));
    }

    fn close(&self, reason: &str) {
        self.state.send_replace(State::Closed(reason.into()));
    }

    /// The gate, or why there is none; waits while neither is known.
    async fn gate(&self) -> Result<Arc<Gate>, Arc<str>> {
        if let State::Open(gate) = &*self.state.borrow() {
            return Ok(Arc::clone(gate));
        }
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Opening)).await;
        // The sender lives as long as we do.
        match known.as_deref() {
            Ok(State::Open(gate)) => Ok(Arc::clone(gate)),
            Ok(State::Closed(reason)) => Err(Arc::clone(reason)),
            Ok(State::Opening) | Err(_) => Err("the gate ends".into()),
        }
    }
}

impl Handler for Door {
    async fn prepare(&self, body: &mut request::Body, roles: Roles) -> Result<(), Refused> {
        match self.gate().await {
            Ok(gate) => gate.prepare(body, roles).await,
            Err(_reason) if roles.require(Role::Issue).is_ok() => self.profiles.hear(body),
            Err(_reason) => Ok(()),
        }
    }

    async fn handle(&self, body: request::Body, context: Context) -> response::Body {
        let reason = match self.gate().await {
            Ok(gate) => return gate.handle(body, context).await,
            Err(reason) => reason,
        };
        match body {
            request::Body::Status(_) => response::Body::Status(Status {
                ready: false,
                reasons: vec![reason.to_string()],
                metrics: self.metrics.encode(Default::default(), 0, &[]),
                ..Status::default()
            }),
            _ => response::Body::Refusal(Refused::Unavailable(reason.to_string()).into()),
        }
    }
}

/// Opens the ledger and brings it up to date; tries again for as long as what is in the way may pass.
pub(super) async fn open_ledger(
    door: &Door,
    path: &Path,
    config: &LedgerConfig,
    clock: &SharedClock,
    issuers: &Issuers,
) -> Result<(Ledger, Chains), LedgerError> {
    let mut said = false;
    loop {
        let error = match try_ledger(path, config, clock, issuers).await {
            Ok(opened) => {
                if said {
                    info!("the ledger is open");
                }
                return Ok(opened);
            }
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error),
        };
        let text = Chain(&error).to_string();
        if !said {
            warn!(error = %text, "the ledger cannot be opened; it is tried again");
            said = true;
        }
        door.close(&format!("ledger: {text}"));
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Records the start; tries again while the ledger cannot be written.
pub(super) async fn record_start(
    door: &Door,
    ledger: &Ledger,
    entry: &StartEntry,
) -> Result<(), LedgerError> {
    loop {
        match ledger.start(entry).await {
            Ok(_appended) => return Ok(()),
            Err(error) if error.is_retryable() => door.close(&format!("ledger: {}", Chain(&error))),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Finds out what decides; tries again while the ledger cannot be read or written.
pub(super) async fn open_policies(
    door: &Door,
    ledger: &Ledger,
    home: &Path,
    setup: &Setup,
    issuers: &Issuers,
    clock: &SharedClock,
) -> Result<Policies, PoliciesError> {
    loop {
        let opened = Policies::open(ledger.clone(), home, setup, issuers, Arc::clone(clock)).await;
        match opened {
            Err(error) if error.may_pass() => door.close(&format!("policies: {}", Chain(&error))),
            opened => return opened,
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// Finds out which keys have their ceremony; tries again while the ledger cannot be read or written.
pub(super) async fn open_ceremonies(
    door: &Door,
    ledger: &Ledger,
    rosters: &[Digest],
    issuers: &Issuers,
) -> Result<Ceremonies, CeremoniesError> {
    loop {
        match Ceremonies::open(ledger.clone(), rosters, issuers).await {
            Err(error) if error.may_pass() => door.close(&format!("ceremonies: {}", Chain(&error))),
            opened => return opened,
        }
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

async fn try_ledger(
    path: &Path,
    config: &LedgerConfig,
    clock: &SharedClock,
    issuers: &Issuers,
) -> Result<(Ledger, Chains), LedgerError> {
    let ledger = Ledger::open(path, config.clone(), Arc::clone(clock)).await?;
    match begin(&ledger, issuers).await {
        Ok(chains) => Ok((ledger, chains)),
        Err(error) => {
            // Gives its lock back.
            ledger.close().await;
            Err(error)
        }
    }
}

async fn begin(ledger: &Ledger, issuers: &Issuers) -> Result<Chains, LedgerError> {
    let unreleased = ledger.mark_unreleased().await?;
    if !unreleased.is_empty() {
        warn!(
            count = unreleased.len(),
            "records of an earlier run were never released"
        );
    }
    start::store(ledger, issuers).await
}
