//! A watch that keeps the pods of one cluster current, for as long as the authorizer lives.
//!
//! A failed watch is begun anew, with a whole list. Meanwhile the pods known before serve on for
//! [`MAX_STALE`], after that none are known. A server that is silent is noticed within two minutes;
//! by then it has long stopped to vouch for tokens.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::{self, watcher};
use parking_lot::RwLock;
use sealwright_identity::{SharedClock, Timestamp};
use sealwright_runtime::Chain;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::index::{Listing, Pods};
use crate::authn::access::{self, Access};
use crate::authn::config::ClusterConfig;

/// How long pods are believed after the watch has failed.
const MAX_STALE: Duration = Duration::from_secs(60);
/// The server ends a watch after so long, and it is begun again where it ended.
const WATCH_SECONDS: u32 = 30;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pods of one cluster.
#[derive(Debug)]
pub(super) struct PodWatch {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    pods: RwLock<Pods>,
    clock: SharedClock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No list is complete yet.
    Unknown,
    Current,
    FailedSince(Timestamp),
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no client for the API server")]
    Access(#[from] access::Error),
    #[error("the watch failed")]
    Watch(#[source] Box<watcher::Error>),
    #[error("the watch ended")]
    Ended,
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PodWatch {
    pub(super) fn start(cluster: &ClusterConfig, clock: SharedClock) -> Self {
        let (sender, state) = watch::channel(State::Unknown);
        let shared = Arc::new(Shared {
            pods: RwLock::default(),
            clock,
        });
        let task = tokio::spawn(keep(Arc::clone(&shared), cluster.clone(), sender));
        Self {
            shared,
            state,
            task: task.abort_handle(),
        }
    }

    /// The pods, if they are known now. The first list is waited for, at most so long.
    pub(super) async fn current(&self, patience: Duration) -> Option<&RwLock<Pods>> {
        let mut state = self.state.clone();
        let known = timeout(patience, state.wait_for(|state| *state != State::Unknown));
        let state = *known.await.ok()?.ok()?;
        let fresh = match state {
            State::Unknown => false,
            State::Current => true,
            State::FailedSince(at) => {
                let now = self.shared.clock.now();
                at <= now && now.saturating_since(at) <= MAX_STALE
            }
        };
        fresh.then_some(&self.shared.pods)
    }
}

async fn keep(shared: Arc<Shared>, cluster: ClusterConfig, state: watch::Sender<State>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = follow(&shared, &cluster, &state).await;
        let failed_at = shared.clock.now();
        let was_current = state.send_if_modified(|state| {
            let current = *state == State::Current;
            if current {
                *state = State::FailedSince(failed_at);
            }
            current
        });
        if was_current {
            pause = FIRST_PAUSE;
        }
        warn!(cluster = cluster.id, error = %Chain(&error), "the pods of a cluster are not followed");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn follow(
    shared: &Shared,
    cluster: &ClusterConfig,
    state: &watch::Sender<State>,
) -> Result<std::convert::Infallible, Error> {
    // Made anew each time, so that a kubeconfig that has changed is read.
    let config = (cluster.clone(), Arc::clone(&shared.clock));
    let access = tokio::task::spawn_blocking(move || Access::new(&config.0, config.1));
    let access = access.await.map_err(|_cut_off| Error::Ended)??;
    let api = Api::<Pod>::all(access.watch_client()?);
    let mut events = pin!(watcher(api, watcher::Config::default().timeout(WATCH_SECONDS)));
    let mut listing = Listing::default();
    loop {
        let event = events.next().await.ok_or(Error::Ended)?;
        let event = event.map_err(|error| Error::Watch(Box::new(error)))?;
        let whole = listing.apply(&mut shared.pods.write(), event);
        if whole {
            info!(cluster = cluster.id, "the pods of a cluster are followed");
            state.send_replace(State::Current);
        }
    }
}
