//! One life of the gate: lock, ledger, start entry, token, service, end.

use std::sync::Arc;
use std::time::Duration;

use sealwright_hsm::SignError;
use sealwright_ledger::{Ledger, LedgerConfig};
use sealwright_runtime::Chain;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::checked::Ceilings;
use super::connection::{self, Bounds, Roles};
use super::error::GateError;
use super::gate::{Gate, Surroundings};
use super::home::Home;
use super::keys::{self, Keys, KeysConfig, KeysError, KeysFailure, Ring};
use super::listener::Listener;
use super::metrics::Metrics;
use super::start::{self, Facts};
use super::{Command, ServerConfig, StreamSource, never, within};
use crate::config::GateConfig;
use crate::issuers::Issuers;

/// The start entry waits this long for the token, so that one entry usually says all.
const FIRST_OPEN: Duration = Duration::from_secs(2);

/// An absent token is looked for this often.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// After so many attempts the process makes room for another, in case the illness is its own. It has
/// lived long enough by then to be followed at once.
const ILL: u32 = 90;

/// Opening a token takes milliseconds, over a network perhaps seconds. A prompt waits for a
/// person, and is not bounded.
const OPEN_STALL: Duration = Duration::from_secs(60);

/// How long connections may take to come to their end.
const CLOSE: Duration = Duration::from_secs(10);

/// How long that may take when the keys or the ledger are lost: nothing is left to wait for.
const CLOSE_BROKEN: Duration = Duration::from_millis(500);

/// Connections to the named socket at a time.
const MAX_CONNECTIONS: usize = 64;

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
    commands: mpsc::Receiver<Command>,
) -> Result<(), GateError> {
    let ServerConfig { file, clock } = config;
    file.validate()?;
    let home = Home::lock(&file.gate.home).await?;
    let streams = Streams::open(source, &file.gate)?;
    let issuers = Issuers::load(&file, clock.now())?;
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
    let ledger = Ledger::open(&home.ledger(), ledger_config, Arc::clone(&clock)).await?;
    let unreleased = ledger.mark_unreleased().await?;
    if !unreleased.is_empty() {
        warn!(
            count = unreleased.len(),
            "records of an earlier run were never released"
        );
    }
    let (metrics, token_metrics) = Metrics::new();
    let chains = start::store(&ledger, &issuers).await?;
    let facts = gathering
        .await
        .map_err(|_panicked| GateError::Runtime(std::io::Error::other("hashing failed")))??;

    let keys = Arc::new(Keys::new());
    let mut opening = Opening::start(keys_config, token_metrics, file.gate.token.pin_prompt);
    let first = within(FIRST_OPEN, opening.next()).await.transpose()?;
    let ring = match first {
        Some(Opened::Open(ring)) => {
            keys.serve(Arc::clone(&ring));
            Some(ring)
        }
        Some(Opened::Absent(error)) => {
            absent(&keys, &error);
            None
        }
        None => None,
    };
    let token = ring.as_ref().map(|ring| &ring.info);
    ledger
        .start(&facts.entry("start", &issuers, &chains, token))
        .await?;

    let surroundings = Surroundings {
        clock: Arc::clone(&clock),
        home: home.path().to_owned(),
        disk_reserve: file.gate.disk_reserve_bytes,
    };
    let ceilings = Ceilings::new(issuers, file.gate.serving.clone(), clock);
    let gate = Arc::new(Gate::new(ceilings, ledger.clone(), keys, metrics, surroundings));
    let life = Life {
        config: ServerConfigParts { file },
        facts,
        gate,
    };
    let result = life.serve(streams, ring, opening, commands).await;
    if within(CLOSE, ledger.close()).await.is_none() {
        warn!("the ledger could not be closed in time");
    }
    drop(home);
    result
}

/// What a reload reads again.
struct ServerConfigParts {
    file: crate::config::GateFile,
}

/// A gate whose ledger is open.
struct Life {
    config: ServerConfigParts,
    facts: Facts,
    gate: Arc<Gate>,
}

impl Life {
    async fn serve(
        &self,
        streams: Streams,
        ring: Option<Arc<Ring>>,
        opening: Opening,
        mut commands: mpsc::Receiver<Command>,
    ) -> Result<(), GateError> {
        let stop = CancellationToken::new();
        let bounds = Bounds {
            in_flight: self.config.file.gate.max_in_flight,
            timeout: self.config.file.gate.request_timeout.get(),
        };
        let mut serving = std::pin::pin!(streams.serve(Arc::clone(&self.gate), bounds, stop.clone()));
        let mut keeping = std::pin::pin!(self.keep_keys(ring, opening));
        let mut commanded = true;
        let result = loop {
            tokio::select! {
                () = &mut serving => return Ok(()),
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
        stop.cancel();
        let patience = if result.is_ok() { CLOSE } else { CLOSE_BROKEN };
        if within(patience, serving).await.is_none() {
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
                Opened::Absent(error) => absent(&self.gate.keys, &error),
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
        self.gate.ceilings.replace(fresh);
        self.record("reload", self.gate.keys.ring().as_deref()).await
    }

    async fn record(&self, event: &str, ring: Option<&Ring>) -> Result<(), GateError> {
        let ledger = self.gate.records.ledger();
        let issuers = self.gate.ceilings.issuers();
        let chains = start::store(ledger, &issuers).await?;
        let entry = self
            .facts
            .entry(event, &issuers, &chains, ring.map(|ring| &ring.info));
        ledger.start(&entry).await?;
        Ok(())
    }
}

fn absent(keys: &Keys, error: &KeysError) {
    let text = Chain(error).to_string();
    warn!(error = %text, "the token cannot be opened; it is looked for again");
    keys.away(text);
}

/// Opens the token on a thread that may block, again and again while it is absent or does not
/// sign: an outage is waited for here, not by one process after another, whose starts would come
/// later and later.
struct Opening {
    config: Arc<KeysConfig>,
    metrics: sealwright_hsm::Metrics,
    prompts: bool,
    attempt: Option<JoinHandle<Result<Ring, GateError>>>,
    tried: bool,
    /// How often in a row the token was there and did not sign.
    ill: u32,
}

enum Opened {
    Open(Arc<Ring>),
    Absent(KeysError),
}

impl Opening {
    fn start(config: KeysConfig, metrics: sealwright_hsm::Metrics, prompts: bool) -> Self {
        Self {
            config: Arc::new(config),
            metrics,
            prompts,
            attempt: None,
            tried: false,
            ill: 0,
        }
    }

    /// The outcome of the attempt under way, or of a new one. Cancel-safe.
    async fn next(&mut self) -> Result<Opened, GateError> {
        if self.attempt.is_none() {
            if self.tried {
                tokio::time::sleep(OPEN_AGAIN).await;
            }
            self.tried = true;
        }
        let config = Arc::clone(&self.config);
        let metrics = self.metrics.clone();
        let attempt = self
            .attempt
            .get_or_insert_with(|| tokio::spawn(open(config, metrics)));
        let ended = if self.prompts {
            attempt.await
        } else {
            within(OPEN_STALL, attempt).await.ok_or(GateError::KeysHung)?
        };
        self.attempt = None;
        let outcome = ended.map_err(|error| GateError::Runtime(std::io::Error::other(error)))?;
        match outcome {
            Ok(ring) => Ok(Opened::Open(Arc::new(ring))),
            Err(GateError::Keys(error)) if error.may_pass() => {
                self.ill = if error.is_ill() { self.ill + 1 } else { 0 };
                if self.ill >= ILL {
                    return Err(error.into());
                }
                Ok(Opened::Absent(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Opens the token, and lets it show that it signs. What it left open is closed, so that the next
/// attempt begins with a module that was initialised anew.
async fn open(config: Arc<KeysConfig>, metrics: sealwright_hsm::Metrics) -> Result<Ring, GateError> {
    let opened = tokio::task::spawn_blocking(move || keys::open(&config, &metrics)).await;
    let ring = opened.map_err(|error| GateError::Runtime(std::io::Error::other(error)))??;
    let Err(error) = ring.prove().await else {
        return Ok(ring);
    };
    if let SignError::Fatal(failure) = &error
        && failure.is_pin()
    {
        return Err(KeysFailure::Pool(failure.clone()).into());
    }
    if ring.close(CLOSE_BROKEN).await {
        Err(KeysError::Ill(error).into())
    } else {
        // Its thread is in the module for good, and so is the module.
        Err(GateError::KeysHung)
    }
}

/// Where requests come from, ready to be served.
enum Streams {
    Inherited(UnixStream),
    Socket(Listener),
}

impl Streams {
    fn open(source: StreamSource, config: &GateConfig) -> Result<Self, GateError> {
        match (source, &config.socket) {
            (StreamSource::Inherited(stream), _) => {
                stream.set_nonblocking(true).map_err(GateError::Runtime)?;
                let stream = UnixStream::from_std(stream).map_err(GateError::Runtime)?;
                Ok(Self::Inherited(stream))
            }
            (StreamSource::Socket, Some(path)) => Ok(Self::Socket(Listener::bind(path, &config.peers)?)),
            (StreamSource::Socket, None) => Err(crate::config::ConfigError::new(
                "gate.socket",
                "a gate that stands alone needs one",
                "write socket and peers",
            )
            .into()),
        }
    }

    /// Returns when the inherited stream has ended, or `stop` was cancelled, and what had
    /// begun has come to its end.
    async fn serve(self, gate: Arc<Gate>, bounds: Bounds, stop: CancellationToken) {
        match self {
            Self::Inherited(stream) => one(stream, Roles::ALL, gate, bounds, stop).await,
            Self::Socket(listener) => many(&listener, gate, bounds, stop).await,
        }
    }
}

async fn one(stream: UnixStream, roles: Roles, gate: Arc<Gate>, bounds: Bounds, stop: CancellationToken) {
    gate.metrics.connections.inc();
    let served = connection::serve(stream, roles, Arc::clone(&gate), bounds, stop).await;
    gate.metrics.connections.dec();
    if let Err(error) = served {
        warn!(error = %Chain(&error), "a connection was closed");
    }
}

async fn many(listener: &Listener, gate: Arc<Gate>, bounds: Bounds, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = async { if room { listener.accept().await } else { never().await } } => {
                match accepted {
                    Ok((stream, Ok(roles))) => {
                        connections.spawn(one(stream, roles, Arc::clone(&gate), bounds, stop.clone()));
                    }
                    Ok((_stream, Err(error))) => {
                        gate.metrics.strangers.inc();
                        warn!(error = %Chain(&error), "a peer was turned away");
                    }
                    Err(error) => {
                        warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
