//! One life of the gate: lock, ledger, start entry, token, service, end.

use std::sync::Arc;
use std::time::Duration;

use sealwright_jwt::Trust;
use sealwright_ledger::{Ledger, LedgerConfig};
use sealwright_runtime::Chain;
use sealwright_runtime::process::confinement::Confinement;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::caller::Callers;
use super::checked::Ceilings;
use super::connection::Bounds;
use super::door::{self, Door};
use super::error::GateError;
use super::gate::{Gate, Surroundings};
use super::home::Home;
use super::keys::{Keys, KeysConfig, KeysError, Ring};
use super::metrics::Metrics;
use super::pins::Pins;
use super::policies::Setup;
use super::start::{self, Facts};
use super::{Command, ServerConfig, StreamSource, never, within};
use crate::config::GateConfig;
use crate::issuers::Issuers;
use opening::{Opened, Opening};
use streams::Streams;

mod opening;
mod streams;

/// The start entry waits this long for the token, so that one entry usually says all.
const FIRST_OPEN: Duration = Duration::from_secs(2);

/// How long connections may take to come to their end.
const CLOSE: Duration = Duration::from_secs(10);

/// How long that may take when the keys or the ledger are lost: nothing is left to wait for.
const CLOSE_BROKEN: Duration = Duration::from_millis(500);

/// Serves until the inherited stream ends, a stop is commanded, or something is lost that
/// only a new process can repair. The sender of `commands` may be dropped.
pub async fn run(
    config: ServerConfig,
    source: StreamSource,
    commands: mpsc::Receiver<Command>,
) -> Result<(), GateError> {
    let result = live(config, source, commands).await;
    match &result {
        Ok(()) => info!("the gate ends"),
        Err(error) => error!(error = %Chain(error), "the gate ends"),
    }
    result
}

async fn live(
    config: ServerConfig,
    source: StreamSource,
    mut commands: mpsc::Receiver<Command>,
) -> Result<(), GateError> {
    let ServerConfig {
        file,
        clock,
        confinement,
    } = config;
    file.validate()?;
    let home = Home::lock(&file.gate.home).await?;
    let streams = Streams::open(source, &file.gate)?;
    let issuers = Issuers::load(&file, clock.now())?;
    let trust = Trust {
        domain: file.trust_domain.clone(),
        aliases: file.trust_domain_aliases.clone(),
    };
    let pins = Pins::load(&file.gate.verify_caller, &trust)?;
    let keys_config = KeysConfig::new(&file.gate.token, &issuers, home.path())?;
    let gathering = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || Facts::gather(&file))
    };
    let ledger_config = LedgerConfig {
        max_records_per_second: file.gate.max_records_per_second,
        disk_reserve_bytes: file.gate.disk_reserve_bytes,
        ..LedgerConfig::default()
    };
    let (metrics, token_metrics) = Metrics::new();
    let door = Arc::new(Door::new(metrics));
    let mut front = Front::serve(streams, Arc::clone(&door), &file.gate);
    let path = home.ledger();
    let (ledger, chains) = tokio::select! {
        opened = door::open_ledger(&door, &path, &ledger_config, &clock, &issuers) => opened?,
        _ended = &mut front.serving => return Ok(()),
        () = stopped(&mut commands) => return Ok(()),
    };
    let facts = gathering
        .await
        .map_err(|_panicked| GateError::Runtime(std::io::Error::other("hashing failed")))??;

    // Before the token is touched: a key whose origin nobody can tell does not sign.
    let ceremonies = tokio::select! {
        opened = door::open_ceremonies(&door, &ledger, &file.ceremonies.rosters, &issuers) => opened,
        _ended = &mut front.serving => return Ok(()),
        () = stopped(&mut commands) => return Ok(()),
    };
    let ceremonies = or_close(&ledger, ceremonies).await?;
    let approvers = or_close(&ledger, ceremonies.approvers(&issuers).await).await?;
    // And where nothing can be said to decide, nothing is signed.
    let setup = Setup {
        roster: file.policy_sets.roster.clone(),
        ceremony: approvers,
        rehearsal: file.is_rehearsal(),
    };
    let policies = tokio::select! {
        opened = door::open_policies(&door, &ledger, home.path(), &setup, &issuers, &clock) => opened,
        _ended = &mut front.serving => return Ok(()),
        () = stopped(&mut commands) => return Ok(()),
    };
    let policies = or_close(&ledger, policies).await?;

    let keys = Arc::new(Keys::new());
    let mut opening = Opening::start(keys_config, token_metrics, file.gate.token.pin_prompt);
    let first = within(FIRST_OPEN, opening.next()).await.transpose()?;
    let ring = match first {
        Some(Opened::Open(ring)) => {
            keys.serve(Arc::clone(&ring));
            Some(ring)
        }
        Some(Opened::Absent(error)) => {
            absent(&keys, &error, &confinement);
            None
        }
        None => None,
    };
    let token = ring.as_ref().map(|ring| &ring.info);
    let set = policies.hold().await.reference();
    let entry = facts.entry("start", &issuers, &chains, set, &ceremonies, token);
    tokio::select! {
        recorded = door::record_start(&door, &ledger, &entry) => recorded?,
        _ended = &mut front.serving => return Ok(()),
        () = stopped(&mut commands) => return Ok(()),
    }

    let surroundings = Surroundings {
        clock: Arc::clone(&clock),
        home: home.path().to_owned(),
        disk_reserve: file.gate.disk_reserve_bytes,
    };
    let callers = Callers { trust, pins };
    let ceilings = Ceilings::new(issuers, file.gate.serving.clone(), callers, clock);
    let gate = Arc::new(Gate::new(
        ceilings,
        ledger.clone(),
        policies,
        ceremonies,
        keys,
        &door,
        surroundings,
    ));
    door.open(Arc::clone(&gate));
    let canaries = {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move { gate.keep_canaries().await })
    };
    let _until_the_end = AbortOnDropHandle::new(canaries);
    let life = Life {
        config: ServerConfigParts { file },
        confinement,
        facts,
        gate,
    };
    let result = life.serve(front, ring, opening, commands).await;
    if within(CLOSE, ledger.close()).await.is_none() {
        warn!("the ledger could not be closed in time");
    }
    drop(home);
    result
}

/// What ends the gate before it began leaves its ledger closed.
async fn or_close<T>(ledger: &Ledger, result: Result<T, impl Into<GateError>>) -> Result<T, GateError> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => {
            let _late = within(CLOSE, ledger.close()).await;
            Err(error.into())
        }
    }
}

/// Whoever asks, served beside all else.
struct Front {
    serving: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Front {
    fn serve(streams: Streams, door: Arc<Door>, config: &GateConfig) -> Self {
        let stop = CancellationToken::new();
        let bounds = Bounds {
            in_flight: config.max_in_flight,
            timeout: config.request_timeout.get(),
        };
        let serving = tokio::spawn(streams.serve(door, bounds, stop.clone()));
        Self {
            serving: AbortOnDropHandle::new(serving),
            stop,
        }
    }
}

/// Returns when a stop is commanded. What is read at a reload is read at the start.
async fn stopped(commands: &mut mpsc::Receiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Reload) => {}
            Some(Command::Stop) => return,
            None => return never().await,
        }
    }
}

/// What a reload reads again.
struct ServerConfigParts {
    file: crate::config::GateFile,
}

/// A gate whose ledger is open.
struct Life {
    config: ServerConfigParts,
    confinement: Confinement,
    facts: Facts,
    gate: Arc<Gate>,
}

impl Life {
    async fn serve(
        &self,
        mut front: Front,
        ring: Option<Arc<Ring>>,
        opening: Opening,
        mut commands: mpsc::Receiver<Command>,
    ) -> Result<(), GateError> {
        let mut keeping = std::pin::pin!(self.keep_keys(ring, opening));
        let mut commanded = true;
        let result = loop {
            tokio::select! {
                _ended = &mut front.serving => return Ok(()),
                failure = &mut keeping => break Err(failure),
                () = self.gate.records.broken() => break Err(GateError::LedgerBroken),
                command = commands.recv(), if commanded => match command {
                    Some(Command::Reload) => self.reload().await,
                    Some(Command::Stop) => break Ok(()),
                    // Nobody is left to command: the streams decide.
                    None => commanded = false,
                },
            }
        };
        front.stop.cancel();
        let patience = if result.is_ok() { CLOSE } else { CLOSE_BROKEN };
        if within(patience, front.serving).await.is_none() {
            warn!("connections did not come to their end in time");
        }
        result
    }

    /// Looks for an absent token, then watches over the open one; returns only failures.
    async fn keep_keys(&self, ring: Option<Arc<Ring>>, mut opening: Opening) -> GateError {
        let ring = match ring {
            Some(ring) => ring,
            None => match self.find_token(&mut opening).await {
                Ok(ring) => ring,
                Err(error) => return error,
            },
        };
        self.gate.keys.watch(&ring).await.into()
    }

    async fn find_token(&self, opening: &mut Opening) -> Result<Arc<Ring>, GateError> {
        loop {
            match opening.next().await? {
                Opened::Open(ring) => {
                    self.record("token opened", Some(&ring)).await?;
                    self.gate.keys.serve(Arc::clone(&ring));
                    return Ok(ring);
                }
                Opened::Absent(error) => absent(&self.gate.keys, &error, &self.confinement),
            }
        }
    }

    /// Reads chains and policies again. The keys stay: an issuer with another key needs a
    /// new start.
    async fn reload(&self) {
        match self.try_reload().await {
            Ok(()) => info!("issuers and policies were read again"),
            Err(error) => {
                error!(error = %Chain(&error), "the reload failed; the old issuers and policies stay");
            }
        }
    }

    async fn try_reload(&self) -> Result<(), GateError> {
        let file = self.config.file.clone();
        let now = self.gate.clock.now();
        let loaded = tokio::task::spawn_blocking(move || Issuers::load(&file, now)).await;
        let fresh = loaded.map_err(|error| GateError::Runtime(std::io::Error::other(error)))??;
        let old = self.gate.ceilings.issuers();
        for issuer in fresh.iter() {
            let found = issuer.chain.key_digest();
            let expected = old.get(&issuer.name).map(|old| old.chain.key_digest());
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(KeysError::Mismatch {
                    issuer: issuer.name.to_string(),
                    key: issuer.key.clone(),
                    found: expected,
                    expected: found,
                }
                .into());
            }
        }
        start::store(self.gate.records.ledger(), &fresh).await?;
        self.gate.ceremonies.establish(&fresh).await?;
        let pins = self.gate.ceilings.callers().pins.read_again()?;
        // The last that can fail of what decides: until then the old policies stay.
        self.gate.policies.seed(&fresh).await?;
        pins.put();
        self.gate.ceilings.replace(fresh);
        self.record("reload", self.gate.keys.ring().as_deref()).await
    }

    async fn record(&self, event: &str, ring: Option<&Ring>) -> Result<(), GateError> {
        let ledger = self.gate.records.ledger();
        let issuers = self.gate.ceilings.issuers();
        let chains = start::store(ledger, &issuers).await?;
        let set = self.gate.policies.hold().await.reference();
        let token = ring.map(|ring| &ring.info);
        let ceremonies = &self.gate.ceremonies;
        let entry = self.facts.entry(event, &issuers, &chains, set, ceremonies, token);
        ledger.start(&entry).await?;
        Ok(())
    }
}

fn absent(keys: &Keys, error: &KeysError, confinement: &Confinement) {
    let text = Chain(error).to_string();
    // A module that misses what was taken from it looks the same as a token that is away.
    warn!(error = %text, %confinement, "the token cannot be opened; it is looked for again");
    keys.away(text);
}
