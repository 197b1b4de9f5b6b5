//! The gate's process: it owns the key and the ledger, and trusts nothing it is told.
//!
//! A certificate goes through four steps, each a type that only the step before can make:
//! *checked* (parsed again, inside the issuer's own ceiling, justified by evidence that fits
//! the gate's own policy list), *recorded* (durable), *signed* (in the token), *verified*
//! (in software); then it is stored, durable before the answer leaves. Refusals of the gate
//! and denials of policies are recorded as well.
//!
//! The process is crash-only: what a session cannot repair (a hung module, a ledger whose
//! writer has ended, signatures that are none) ends it with a reason, and a supervisor
//! starts it again. [`GateError::exit_code`] says when that would do harm. A token that is
//! absent at the start is no such case: status and queries are served, signing is refused,
//! and the token is looked for again. Nor is a ledger that cannot be opened because it is locked
//! or its disk is full or read-only: status is served, and it is tried again.
//!
//! It ends when its inherited stream does, so that it never outlives the front it serves.
//!
//! # The binary's entry
//!
//! The `gate` subcommand hardens the process (`sealwright_runtime::process::harden`), reads
//! the configuration, takes its stream, and calls [`main_loop`]; its result's
//! [`GateError::exit_code`] is the process's. Nothing may run after it that waits for
//! threads: a hung module's never end.

mod caller;
mod ceremonies;
mod checked;
mod connection;
mod door;
mod error;
mod evidence;
mod foreign;
mod gate;
mod home;
mod keys;
mod lifecycle;
mod listener;
mod metrics;
mod origin;
mod pins;
mod policies;
mod profiles;
pub mod prune;
mod query;
mod recorded;
mod refused;
mod rehearsal;
mod signed;
mod start;
mod watchdog;

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sealwright_identity::SharedClock;
use sealwright_runtime::process::confinement::Confinement;
use sealwright_runtime::signals::{Request, Signals};
use tokio::sync::mpsc;

pub use self::ceremonies::CeremoniesError;
pub use self::error::{EXIT_CONFIG, EXIT_FAULT, EXIT_STATE, GateError};
pub use self::evidence::EvidenceError;
pub use self::home::{Home, HomeError, ledger_path};
pub use self::keys::{KeysError, KeysFailure};
pub use self::lifecycle::run;
pub use self::listener::ListenError;
pub use self::policies::{NothingInForce, PoliciesError};
#[doc(hidden)]
pub use self::rehearsal::Rehearsal;
pub use self::start::StartError;
use self::watchdog::Watchdog;
use crate::config::{GateFile, TokenSection};

/// Threads of the gate's runtime: parsing and verifying; signatures have their own.
const WORKERS: usize = 4;

/// After the word to stop, a gate that serves an inherited stream waits this long for the
/// front to end it: a service manager tells every process at once, and the front still has
/// requests to bring home.
const FRONT_GRACE: Duration = Duration::from_secs(20);

/// What a gate is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The configuration, its relative paths resolved.
    pub file: GateFile,
    /// The time.
    pub clock: SharedClock,
    /// What the process gave up: perhaps something that the module needs.
    pub confinement: Confinement,
}

/// Where requests come from.
#[derive(Debug)]
pub enum StreamSource {
    /// One end of the supervisor's socket pair. The gate ends when it does.
    Inherited(UnixStream),
    /// The configured named socket, for the configured users.
    Socket,
}

/// What a running gate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read chains and policies again; the old ones stay when the new ones do not hold.
    Reload,
    /// Finish what was begun, and end.
    Stop,
}

/// `[gate.token]` in the form the `hsm` crate takes, for `check` and provisioning.
pub fn token_config(section: &TokenSection) -> Result<sealwright_hsm::TokenConfig, KeysError> {
    keys::token_config(section)
}

/// Runs a gate in a runtime of its own until its stream ends or a signal stops it.
///
/// Heeds SIGTERM and, unless it was started by a supervisor, SIGINT; SIGHUP reloads. Once
/// it returns, the watchdog gives the process five seconds to end, one after a fault.
pub fn main_loop(config: ServerConfig, source: StreamSource) -> Result<(), GateError> {
    let threads = std::thread::available_parallelism().map_or(WORKERS, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.clamp(2, WORKERS))
        .thread_name("gate")
        .enable_all()
        .build()
        .map_err(GateError::Runtime)?;
    let supervised = matches!(source, StreamSource::Inherited(_));
    let watchdog = {
        let _in_runtime = runtime.enter();
        Watchdog::start().map_err(GateError::Runtime)?
    };
    let result = runtime.block_on(async {
        let signals = if supervised {
            Signals::install_supervised()
        } else {
            Signals::install()
        };
        let commands = heed(signals.map_err(GateError::Runtime)?, supervised);
        run(config, source, commands).await
    });
    watchdog.end(result.is_err());
    // A call into the module may hang on one of its threads for ever.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Turns signals into commands.
fn heed(mut signals: Signals, supervised: bool) -> mpsc::Receiver<Command> {
    let (sender, commands) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let command = match signals.next().await {
                Request::Reload => Command::Reload,
                Request::Stop => {
                    if supervised {
                        tokio::time::sleep(FRONT_GRACE).await;
                    }
                    Command::Stop
                }
            };
            if sender.send(command).await.is_err() {
                return;
            }
        }
    });
    commands
}

/// A future that never comes, where there is nothing to wait for.
async fn never<T>() -> T {
    std::future::pending().await
}

/// Bounds a wait for something that should come at once.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}
