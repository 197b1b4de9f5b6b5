//! The credential of a call: judged when the call was opened, and never outlived.
//!
//! A request is accepted only before the credential's end, by our clock. It is also judged again
//! from time to time, so that what a new call would be refused for (a root or key that was taken
//! away, a pod that is gone) ends an open one too.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use sealwright_identity::SharedClock;
use tokio::time::Instant;

use super::super::Opened;
use super::super::status::{CallEnd, RequestError};
use crate::authn::{Authenticators, Caller, Peer};

/// As long as an API server's answer is used by default.
const JUDGED_AGAIN_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Credential {
    authenticators: Arc<Authenticators>,
    headers: HeaderMap,
    peer: Arc<Peer>,
    caller: Arc<Caller>,
    judged: Instant,
    clock: SharedClock,
}

impl Credential {
    pub(super) fn new(opened: &Opened, headers: HeaderMap, clock: SharedClock) -> Self {
        Self {
            authenticators: Arc::clone(&opened.authenticators),
            headers,
            peer: Arc::clone(&opened.peer),
            caller: Arc::clone(&opened.caller),
            judged: Instant::now(),
            clock,
        }
    }

    /// The caller, whose credential is good now.
    ///
    /// # Errors
    /// When it has ended, or is refused now.
    pub(super) async fn caller(&mut self) -> Result<Arc<Caller>, RequestError> {
        self.check_end()?;
        if self.judged.elapsed() >= JUDGED_AGAIN_AFTER {
            let again = self.authenticators.authenticate(&self.headers, &self.peer);
            self.caller = Arc::new(again.await.map_err(RequestError::Unauthenticated)?);
            self.judged = Instant::now();
        }
        Ok(Arc::clone(&self.caller))
    }

    /// # Errors
    /// When the credential has ended.
    pub(super) fn check_end(&self) -> Result<(), RequestError> {
        if self.clock.now() >= self.caller.valid_until() {
            return Err(CallEnd::CredentialExpired.into());
        }
        Ok(())
    }
}
