//! An issuer's keys, kept fresh.
//!
//! Requests are served from the set at hand. It is fetched again when it is old (behind the
//! request's back) or when a token names a key it lacks (while the request waits). One fetch
//! runs at a time, and between two lies at least the cooldown, whatever strangers send. When a
//! fetch fails, the last good set serves on, for at most `max_stale` after it was fetched; while
//! no set serves, the cooldown is a second at most, so that the end of an outage is seen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sealwright_identity::{SharedClock, Timestamp};
use sealwright_jwt::{Algorithm, Key, KeySet};
use tokio::sync::{Mutex as FlightLock, OwnedMutexGuard};

use super::Error;
use super::fetch::{Error as FetchError, Fetcher};
use crate::authn::access::Access;
use crate::authn::config::{JwtConfig, KeyLocation};
use crate::authn::failure::Causes;

pub use unavailable::Unavailable;

mod unavailable;

/// Between two fetches while there are no usable keys.
const COOLDOWN_WITHOUT_KEYS: Duration = Duration::from_secs(1);
const CLUSTER_REFRESH: Duration = Duration::from_secs(600);
const CLUSTER_MAX_STALE: Duration = Duration::from_secs(3600);
const CLUSTER_COOLDOWN: Duration = Duration::from_secs(10);

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub(super) struct KeySource {
    shared: Arc<Shared>,
    /// Held by the one fetch that runs; by the task, so that a caller who gives up
    /// does not cut it off for the others.
    flight: Arc<FlightLock<()>>,
}

#[derive(Debug)]
struct Shared {
    authenticator: String,
    fetcher: Fetcher,
    clock: SharedClock,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Limits {
    /// `None` for files, which only change when somebody changes them.
    refresh_interval: Option<Duration>,
    max_stale: Option<Duration>,
    cooldown: Duration,
}

#[derive(Debug, Default)]
struct State {
    loaded: Option<Loaded>,
    /// How many fetches have ended.
    finished: u64,
    last_start: Option<Timestamp>,
    last_error: Option<Arc<FetchError>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    keys: Arc<KeySet>,
    fetched_at: Timestamp,
}

impl KeySource {
    /// Reads a file now; asks no server.
    pub(super) fn new(
        authenticator: &str,
        config: &JwtConfig,
        clock: SharedClock,
    ) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(config)?;
        let fetched_at = clock.now();
        let loaded = fetcher.fetch_at_start()?.map(|keys| Loaded {
            keys: Arc::new(keys),
            fetched_at,
        });
        let remote = !matches!(config.keys, KeyLocation::File(_));
        let shared = Shared {
            authenticator: authenticator.to_owned(),
            fetcher,
            clock,
            limits: Limits {
                refresh_interval: remote.then_some(config.refresh_interval),
                max_stale: remote.then_some(config.max_stale),
                cooldown: config.refresh_cooldown,
            },
            state: Mutex::new(State {
                loaded,
                ..State::default()
            }),
        };
        Ok(Self {
            shared: Arc::new(shared),
            flight: Arc::default(),
        })
    }

    /// The keys that a cluster's API server publishes, fetched when the first is needed.
    pub(super) fn of_cluster(name: &str, access: Arc<Access>, clock: SharedClock) -> Self {
        let shared = Shared {
            authenticator: name.to_owned(),
            fetcher: Fetcher::Cluster(access),
            clock,
            limits: Limits {
                refresh_interval: Some(CLUSTER_REFRESH),
                max_stale: Some(CLUSTER_MAX_STALE),
                cooldown: CLUSTER_COOLDOWN,
            },
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            flight: Arc::default(),
        }
    }

    /// The generation of the set at hand, if there is one that may be used. Its next one is
    /// fetched behind the request's back when its time has come.
    pub(super) fn generation(&self) -> Option<u64> {
        let loaded = self.shared.usable().ok()?;
        self.refresh_behind(&loaded);
        Some(loaded.keys.generation())
    }

    /// The key that a token with this `kid` and `alg` was signed with.
    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, Error> {
        let seen = self.shared.finished();
        if let Ok(loaded) = self.shared.usable() {
            match loaded.keys.select(kid, algorithm) {
                Ok(key) => {
                    self.refresh_behind(&loaded);
                    return Ok(key);
                }
                Err(error) if !error.may_be_rotation() => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.refresh(seen).await;
        let loaded = self.shared.usable()?;
        Ok(loaded.keys.select(kid, algorithm)?)
    }

    /// Reads the key set again if it is a file, whatever the cooldown.
    pub(super) async fn reload(&self) -> Result<(), FetchError> {
        if !matches!(self.shared.fetcher, Fetcher::File(_)) {
            return Ok(());
        }
        let _flight = self.flight.lock().await;
        let keys = self.shared.fetcher.fetch().await?;
        self.shared.accept(keys);
        Ok(())
    }

    /// Fetches the key set if there is none yet.
    pub(super) async fn warm_up(&self) {
        let seen = self.shared.finished();
        if self.shared.usable().is_err() {
            self.refresh(seen).await;
        }
    }

    /// Fetches, or waits for the fetch that runs. `seen` is what [`Shared::finished`] was
    /// when the caller looked: if a fetch has ended since, that one's result is its own.
    async fn refresh(&self, seen: u64) {
        let flight = Arc::clone(&self.flight).lock_owned().await;
        if self.shared.finished() == seen
            && let Some(task) = self.start(flight)
        {
            // A failure is in the state; a panic or a stop leaves the state as it was.
            let _ = task.await;
        }
    }

    fn refresh_behind(&self, loaded: &Loaded) {
        if self.shared.is_old(loaded)
            && let Ok(flight) = Arc::clone(&self.flight).try_lock_owned()
        {
            self.start(flight);
        }
    }

    fn start(&self, flight: OwnedMutexGuard<()>) -> Option<tokio::task::JoinHandle<()>> {
        if !self.shared.may_start() {
            return None;
        }
        let shared = Arc::clone(&self.shared);
        Some(tokio::spawn(async move {
            shared.fetch().await;
            drop(flight);
        }))
    }
}

impl Shared {
    fn finished(&self) -> u64 {
        self.state.lock().finished
    }

    fn usable(&self) -> Result<Loaded, Unavailable> {
        let now = self.clock.now();
        let state = self.state.lock();
        let source = state.last_error.clone();
        let Some(loaded) = &state.loaded else {
            return Err(Unavailable::Never(source));
        };
        let fetched_at = loaded.fetched_at;
        let age = now.saturating_since(fetched_at);
        match self.limits.max_stale {
            Some(limit) if age > limit => Err(Unavailable::Stale { fetched_at, source }),
            _ => Ok(loaded.clone()),
        }
    }

    /// A set from the future is one from before the clock was set back: of unknown age.
    fn is_old(&self, loaded: &Loaded) -> bool {
        let now = self.clock.now();
        let age = now.saturating_since(loaded.fetched_at);
        self.limits
            .refresh_interval
            .is_some_and(|limit| age >= limit || loaded.fetched_at > now)
    }

    /// Notes the start of a fetch, unless the last one is too close. A clock that was
    /// set back does not stop the fetches.
    fn may_start(&self) -> bool {
        let mut cooldown = self.limits.cooldown;
        if self.usable().is_err() {
            cooldown = cooldown.min(COOLDOWN_WITHOUT_KEYS);
        }
        let now = self.clock.now();
        let mut state = self.state.lock();
        let too_close = state
            .last_start
            .is_some_and(|last| last <= now && now.saturating_since(last) < cooldown);
        if !too_close {
            state.last_start = Some(now);
        }
        !too_close
    }

    async fn fetch(&self) {
        match self.fetcher.fetch().await {
            Ok(keys) => {
                tracing::info!(
                    authenticator = self.authenticator,
                    keys = keys.len(),
                    "key set fetched"
                );
                self.accept(keys);
            }
            Err(error) => {
                tracing::warn!(authenticator = self.authenticator, error = %Causes(&error), "key set not fetched");
                let mut state = self.state.lock();
                state.finished += 1;
                state.last_error = Some(Arc::new(error));
            }
        }
    }

    fn accept(&self, keys: KeySet) {
        let fetched_at = self.clock.now();
        let mut state = self.state.lock();
        state.finished += 1;
        state.last_error = None;
        state.loaded = Some(Loaded {
            keys: Arc::new(keys),
            fetched_at,
        });
    }
}
