//! The token, opened again and again while it is absent or does not sign.

use std::sync::Arc;
use std::time::Duration;

use sealwright_hsm::SignError;
use tokio::task::JoinHandle;

use super::super::error::GateError;
use super::super::keys::{self, KeysConfig, KeysError, KeysFailure, Ring};
use super::super::within;
use super::CLOSE_BROKEN;

/// An absent token is looked for this often.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// After so many attempts the process makes room for another, in case the illness is its own. It has
/// lived long enough by then to be followed at once.
const ILL: u32 = 90;

/// Opening a token takes milliseconds, over a network perhaps seconds. A prompt waits for a
/// person, and is not bounded.
const OPEN_STALL: Duration = Duration::from_secs(60);

/// Opens the token on a thread that may block, again and again while it is absent or does not
/// sign: an outage is waited for here, not by one process after another, whose starts would come
/// later and later.
pub(super) struct Opening {
    config: Arc<KeysConfig>,
    metrics: sealwright_hsm::Metrics,
    prompts: bool,
    attempt: Option<JoinHandle<Result<Ring, GateError>>>,
    tried: bool,
    /// How often in a row the token was there and did not sign.
    ill: u32,
}

pub(super) enum Opened {
    Open(Arc<Ring>),
    Absent(KeysError),
}

impl Opening {
    pub(super) fn start(config: KeysConfig, metrics: sealwright_hsm::Metrics, prompts: bool) -> Self {
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
    pub(super) async fn next(&mut self) -> Result<Opened, GateError> {
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
