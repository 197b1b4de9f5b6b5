//! Where tokens wait for their review: cache, single flight, a bounded number at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sealwright_identity::{Digest, SharedClock, Timestamp};
use sealwright_jwt::Token;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::access::{self, Access};
use super::cache::Cache;
use super::{question, verdict};
use crate::authn::caller::KubernetesFacts;
use crate::authn::config::TokenReviewConfig;
use crate::authn::jwt::{ClusterKeys, Refuted};

/// Why a review did not vouch for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server's answer does not prove the token good.
    #[error("the token was not vouched for")]
    Verdict(#[from] verdict::Error),
    /// The cluster's published keys refute the token, so nobody was asked.
    #[error("the token is not the cluster's")]
    Refuted(#[from] Refuted),
    /// The API server gave no answer.
    #[error("the token could not be reviewed")]
    Question(#[from] question::Error),
    /// There is no way to the API server.
    #[error("there is no client for the API server")]
    Access(#[from] access::Error),
    /// It took too long, waiting for its turn included.
    #[error("the review was not there within {} s", after.as_secs())]
    Deadline {
        /// The configured deadline.
        after: Duration,
    },
    /// As many wait already as may.
    #[error("{limit} reviews run or wait already")]
    Overloaded {
        /// The configured limit.
        limit: usize,
    },
    /// The review was cut off by the end of the process.
    #[error("the review was cut off")]
    Interrupted,
}

impl Error {
    /// A stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Verdict(verdict::Error::Refused { .. } | verdict::Error::NotAuthenticated) => {
                "token_refused"
            }
            Self::Verdict(verdict::Error::Audience) => "token_audience",
            Self::Verdict(_) => "token_review_contradiction",
            Self::Refuted(Refuted::Algorithm { .. }) => "token_algorithm",
            Self::Refuted(Refuted::Key(_)) => "token_key_unknown",
            Self::Refuted(Refuted::Signature) => "token_signature",
            Self::Overloaded { .. } => "token_review_overloaded",
            _ => "token_review_unavailable",
        }
    }

    /// Whether the token was never judged.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        !matches!(self, Self::Verdict(_) | Self::Refuted(_))
    }
}

type Outcome = Result<Arc<KubernetesFacts>, Arc<Error>>;

/// The reviews of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: Arc<Access>,
    /// To refute tokens with, before the API server is asked.
    keys: Option<ClusterKeys>,
    audiences: Vec<String>,
    deadline: Duration,
    max_waiting: usize,
    permits: Semaphore,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    /// Reviews that run or wait for their turn; `None` until the outcome is there.
    flights: HashMap<Digest, watch::Receiver<Option<Outcome>>>,
    /// How often the cache was emptied: an answer from before is not kept after.
    epoch: u64,
}

/// What a review is about.
struct Case {
    /// Names the token in the cache.
    digest: Digest,
    token: zeroize::Zeroizing<String>,
    claimed: KubernetesFacts,
    expires_at: Timestamp,
    epoch: u64,
}

impl Desk {
    pub(super) fn new(
        access: Arc<Access>,
        keys: Option<ClusterKeys>,
        config: &TokenReviewConfig,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Shared {
            access,
            keys,
            audiences: config.audiences.clone(),
            deadline: config.deadline,
            max_waiting: config.max_waiting,
            permits: Semaphore::new(config.max_in_flight),
            clock,
            state: Mutex::new(State {
                cache: Cache::new(config.cache_for, config.cache_entries),
                flights: HashMap::new(),
                epoch: 0,
            }),
        }))
    }

    /// What the API server says of a token, now or a short while ago.
    pub(super) async fn review(
        &self,
        token: &str,
        claimed: KubernetesFacts,
        expires_at: Timestamp,
    ) -> Outcome {
        let mut flight = match self.join(token, claimed, expires_at) {
            Ok(outcome) => return outcome,
            Err(flight) => flight,
        };
        let outcome = timeout(self.0.deadline, flight.wait_for(Option::is_some)).await;
        match outcome {
            Ok(Ok(outcome)) => outcome
                .clone()
                .unwrap_or_else(|| Err(Arc::new(Error::Interrupted))),
            Ok(Err(_cut_off)) => Err(Arc::new(Error::Interrupted)),
            Err(_elapsed) => Err(Arc::new(self.0.too_late())),
        }
    }

    /// Reads the kubeconfig again and forgets every answer.
    pub(super) async fn reload(&self) -> Result<(), access::Error> {
        let outcome = self.0.access.reload().await;
        let mut state = self.0.state.lock();
        state.cache.clear();
        state.epoch += 1;
        drop(state);
        outcome.map(drop)
    }

    /// An outcome at once, or the review to wait for: the one that runs, or a new one.
    fn join(
        &self,
        token: &str,
        claimed: KubernetesFacts,
        expires_at: Timestamp,
    ) -> Result<Outcome, watch::Receiver<Option<Outcome>>> {
        let digest = Digest::of(token.as_bytes());
        let now = self.0.clock.now();
        let mut state = self.0.state.lock();
        if let Some(facts) = state.cache.get(&digest, now) {
            return Ok(Ok(facts));
        }
        if let Some(flight) = state.flights.get(&digest) {
            return Err(flight.clone());
        }
        if state.flights.len() >= self.0.max_waiting {
            let limit = self.0.max_waiting;
            return Ok(Err(Arc::new(Error::Overloaded { limit })));
        }
        let (sender, flight) = watch::channel(None);
        state.flights.insert(digest, flight.clone());
        let case = Case {
            digest,
            token: zeroize::Zeroizing::new(token.to_owned()),
            claimed,
            expires_at,
            epoch: state.epoch,
        };
        drop(state);
        let landing = Landing {
            shared: Arc::clone(&self.0),
            digest,
        };
        // A task of its own: a caller that gives up does not cut it off for the others.
        tokio::spawn(async move {
            let outcome = landing.shared.run(case).await;
            // Out of the list first: whoever comes next finds the cache, or asks anew.
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        Err(flight)
    }
}

impl Shared {
    async fn run(&self, case: Case) -> Outcome {
        let asked_at = self.clock.now();
        let (digest, expires_at, epoch) = (case.digest, case.expires_at, case.epoch);
        let asked = timeout(self.deadline, self.ask(case)).await;
        let facts = asked
            .unwrap_or_else(|_elapsed| Err(self.too_late()))
            .map_err(Arc::new)?;
        let facts = Arc::new(facts);
        let mut state = self.state.lock();
        if state.epoch == epoch {
            state.cache.put(digest, Arc::clone(&facts), asked_at, expires_at);
        }
        Ok(facts)
    }

    async fn ask(&self, case: Case) -> Result<KubernetesFacts, Error> {
        if let Some(keys) = &self.keys
            && let Ok(token) = Token::parse(&case.token)
        {
            keys.refute(&token).await?;
        }
        let _turn = self
            .permits
            .acquire()
            .await
            .map_err(|_closed| Error::Interrupted)?;
        let client = self.access.client().await?;
        let status = question::ask(&client, &case.token, &self.audiences).await?;
        Ok(verdict::judge(status, case.claimed, &self.audiences)?)
    }

    fn too_late(&self) -> Error {
        Error::Deadline { after: self.deadline }
    }
}

/// Takes a review out of the list, also when its task is cut off.
struct Landing {
    shared: Arc<Shared>,
    digest: Digest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.shared.state.lock().flights.remove(&self.digest);
    }
}
