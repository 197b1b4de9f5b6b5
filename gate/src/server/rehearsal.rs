//! The first of the four steps alone: what the gate thinks of a request, with nothing recorded or signed.
//!
//! For tools that try the gate's judgement on many requests, such as the fuzz targets. It is the check of a
//! running gate itself and not a copy; what passes it stays inside, so it leads to no key.

use std::sync::Arc;

use sealwright_identity::SharedClock;
use sealwright_jwt::Trust;
use sealwright_proto::gate::{IssueRequest, RecordDenial};
use sealwright_x509::tbs::LeafTbs;
use tokio::sync::RwLock;

use super::caller::{Callers, Presented};
use super::checked::Ceilings;
use super::pins::Pins;
use super::policies::{Held, InForce, Policies};
use crate::issuers::Issuers;

/// A gate's judgement without its key and its ledger.
#[derive(Debug)]
pub struct Rehearsal {
    ceilings: Ceilings,
    in_force: Arc<RwLock<InForce>>,
}

impl Rehearsal {
    /// Judges as a gate with these issuers does, without a section `[gate.serving]` and without keys
    /// to verify callers with. It has no ledger, so it knows no certificate that a caller could renew.
    /// Its policy set is made from the policies of the issuers; when they cannot be one, nothing is allowed.
    #[must_use]
    pub fn new(issuers: Issuers, clock: SharedClock) -> Self {
        let in_force = Policies::rehearse(&issuers, clock.now()).unwrap_or_default();
        let callers = Callers {
            trust: Trust {
                domain: issuers.default_issuer().ceiling.trust_domain.clone(),
                aliases: Vec::new(),
            },
            pins: Pins::none(),
        };
        Self {
            ceilings: Ceilings::new(issuers, None, callers, clock),
            in_force: Arc::new(RwLock::new(in_force)),
        }
    }

    /// What would be recorded and signed.
    ///
    /// # Errors
    /// The refusal's text.
    pub fn issue(&self, request: IssueRequest) -> Result<LeafTbs, String> {
        let in_force = self.in_force()?;
        match self.ceilings.check(request, true, &Presented::Nothing, in_force) {
            Ok(checked) => Ok(Arc::unwrap_or_clone(checked.tbs)),
            Err(rejection) => Err(rejection.refused.to_string()),
        }
    }

    /// Whether the denial would be recorded.
    ///
    /// # Errors
    /// The refusal's text.
    pub fn denial(&self, request: RecordDenial) -> Result<(), String> {
        let in_force = self.in_force()?;
        self.ceilings
            .denial(request, &Presented::Nothing, &in_force)
            .map(drop)
            .map_err(|refused| refused.to_string())
    }

    /// Nobody ever changes it.
    fn in_force(&self) -> Result<Held, String> {
        Arc::clone(&self.in_force)
            .try_read_owned()
            .map_err(|error| error.to_string())
    }
}
