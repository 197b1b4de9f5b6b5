//! The third step: the issuing keys, each on its token, behind a bounded number of seats.
//! Only this turns a [`Recorded`] into a [`Signed`].
//!
//! A seat is taken before a request is recorded, so that what is recorded finds a place in
//! the token's queue: overload costs no write. A seat is for the key of a [`Trail`], and nothing else signs.

mod open;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sealwright_hsm::{KeyHandle, PoolFailure, SessionPool, SignError, Signable, TokenInfo};
use sealwright_runtime::Chain;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{error, info, warn};

pub use self::open::KeysError;
pub(super) use self::open::{KeysConfig, open, token_config};
use super::ceremonies::Trail;
use super::recorded::{Failed, Recorded};
use super::refused::Refused;
use super::signed::{Signed, Verified};

/// How often the health key is asked for a signature.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How long such a signature may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);

/// Wrong signatures in a row after which the module is not to be trusted in this process.
const WRONG_SIGNATURES: u32 = 3;

/// The issuing keys, or why there are none.
#[derive(Debug)]
pub(super) struct Keys {
    state: RwLock<State>,
    /// Signatures in a row that did not verify.
    wrong: AtomicU32,
    /// Told when there were too many of them.
    distrusted: Notify,
    /// Why the last probe failed, if it did.
    probe: RwLock<Option<String>>,
}

#[derive(Debug)]
enum State {
    Away(String),
    Ready(Arc<Ring>),
}

/// An open token with the keys in it.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) info: TokenInfo,
    pool: SessionPool,
    keys: BTreeMap<Arc<str>, KeyHandle>,
    health: Option<KeyHandle>,
    seats: Arc<Semaphore>,
}

/// The right to one signature. Given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    ring: Arc<Ring>,
    trail: Trail,
    _permit: OwnedSemaphorePermit,
}

/// Why the keys are lost to this process.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeysFailure {
    /// The session pool gave up.
    #[error("the token's sessions cannot be repaired in this process")]
    Pool(#[source] PoolFailure),
    /// The module makes signatures that are none.
    #[error("{WRONG_SIGNATURES} signatures in a row did not verify")]
    WrongSignatures,
}

impl Ring {
    /// One probe with the health key, if there is one.
    pub(super) async fn prove(&self) -> Result<(), SignError> {
        match &self.health {
            Some(health) => self.pool.probe(health, PROBE_DEADLINE).await,
            None => Ok(()),
        }
    }

    /// Ends the pool, its sessions and the module; false when a call does not come back.
    pub(super) async fn close(self, limit: Duration) -> bool {
        self.pool.close(limit).await
    }
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            state: RwLock::new(State::Away("the token is being opened".into())),
            wrong: AtomicU32::new(0),
            distrusted: Notify::new(),
            probe: RwLock::new(None),
        }
    }

    /// The token is open.
    pub(super) fn serve(&self, ring: Arc<Ring>) {
        info!(token = %ring.info.label, serial = %ring.info.serial, "the token is open");
        *self.state.write() = State::Ready(ring);
    }

    /// The token is not there.
    pub(super) fn away(&self, reason: String) {
        *self.state.write() = State::Away(reason);
    }

    pub(super) fn ring(&self) -> Option<Arc<Ring>> {
        match &*self.state.read() {
            State::Ready(ring) => Some(Arc::clone(ring)),
            State::Away(_) => None,
        }
    }

    /// What speaks against signing now.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match &*self.state.read() {
            State::Away(reason) => reasons.push(format!("token: {reason}")),
            State::Ready(ring) => {
                if let Some(failure) = ring.pool.failure() {
                    reasons.push(format!("token: {}", Chain(&failure)));
                }
            }
        }
        if let Some(failure) = &*self.probe.read() {
            reasons.push(format!("token: the health probe failed: {failure}"));
        }
        if self.wrong.load(Ordering::Relaxed) > 0 {
            reasons.push("token: its last signature did not verify".into());
        }
        reasons
    }

    pub(super) fn queue_depth(&self) -> usize {
        self.ring().map_or(0, |ring| ring.pool.queue_depth())
    }

    /// Takes a seat, or says at once why there is none.
    pub(super) fn seat(&self, trail: Trail) -> Result<Seat, Refused> {
        let ring = match &*self.state.read() {
            State::Ready(ring) => Arc::clone(ring),
            State::Away(reason) => return Err(Refused::Unavailable(reason.clone())),
        };
        if let Some(failure) = ring.pool.failure() {
            return Err(Refused::Unavailable(Chain(&failure).to_string()));
        }
        let permit = Arc::clone(&ring.seats)
            .try_acquire_owned()
            .map_err(|_full| Refused::busy("the token's queue is full"))?;
        Ok(Seat {
            ring,
            trail,
            _permit: permit,
        })
    }

    /// Has the token sign; `deadline` bounds the wait, not what the token does meanwhile.
    pub(super) async fn sign(
        &self,
        recorded: Recorded,
        seat: Seat,
        deadline: Instant,
    ) -> Result<Signed, Failed> {
        let sequence = recorded.sequence();
        let failed = |refused| Failed { sequence, refused };
        if seat.trail.key() != recorded.issuer().chain.key_digest() {
            return Err(failed(Refused::Internal("the seat is for another key".into())));
        }
        let key = seat
            .ring
            .keys
            .get(&recorded.issuer().name)
            .ok_or_else(|| failed(Refused::Internal("the issuer has no key here".into())))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let what = Signable::Leaf(Arc::clone(recorded.tbs()));
        let signature = seat
            .ring
            .pool
            .sign(key, what, left)
            .await
            .map_err(|error| failed(refused(&error)))?;
        let (issuer, tbs, sequence) = recorded.into_parts();
        Ok(Signed::new(issuer, tbs, signature, sequence))
    }

    /// Remembers whether the token's signature was one.
    pub(super) fn verified(&self, outcome: &Result<Verified, Failed>) {
        match outcome {
            Ok(_) => {
                // Read first: a store on every request would be shared by all cores.
                if self.wrong.load(Ordering::Relaxed) != 0 {
                    self.wrong.store(0, Ordering::Relaxed);
                }
            }
            Err(failed) => {
                error!(sequence = failed.sequence, refused = %failed.refused, "wrong signature");
                if self.wrong.fetch_add(1, Ordering::Relaxed) + 1 >= WRONG_SIGNATURES {
                    self.distrusted.notify_one();
                }
            }
        }
    }

    /// Probes the open token for ever; returns when it is lost to this process.
    pub(super) async fn watch(&self, ring: &Ring) -> KeysFailure {
        let probing = async {
            loop {
                tokio::time::sleep(PROBE_INTERVAL).await;
                self.probe(ring).await;
            }
        };
        tokio::select! {
            failure = ring.pool.failed() => KeysFailure::Pool(failure),
            () = self.distrusted.notified() => KeysFailure::WrongSignatures,
            () = probing => KeysFailure::WrongSignatures,
        }
    }

    async fn probe(&self, ring: &Ring) {
        match ring.prove().await {
            Ok(()) => *self.probe.write() = None,
            // A queue that is full says that the token works.
            Err(SignError::Overloaded { .. }) => {}
            Err(error) => {
                let text = Chain(&error).to_string();
                warn!(error = %text, "the health probe failed");
                *self.probe.write() = Some(text);
            }
        }
    }
}

impl KeysFailure {
    /// Whether the PIN is at fault, so that nobody may simply start again.
    pub fn is_pin(&self) -> bool {
        matches!(self, Self::Pool(failure) if failure.is_pin())
    }
}

fn refused(error: &SignError) -> Refused {
    match error {
        SignError::Overloaded { .. } => Refused::busy("the token's queue is full"),
        SignError::Deadline => Refused::Deadline,
        SignError::Unavailable(_) | SignError::Fatal(_) => Refused::Unavailable(Chain(error).to_string()),
        _ => Refused::Internal(Chain(error).to_string()),
    }
}
