//! The first of the four steps alone: what the gate thinks of a request, with nothing recorded or signed.
//!
//! For tools that try the gate's judgement on many requests, such as the fuzz targets. It is the check of a
//! running gate itself and not a copy; what passes it stays inside, so it leads to no key.

use sealwright_identity::SharedClock;
use sealwright_jwt::Trust;
use sealwright_proto::gate::{IssueRequest, RecordDenial};
use sealwright_x509::tbs::LeafTbs;

use super::caller::{Callers, Presented};
use super::checked::Ceilings;
use super::pins::Pins;
use crate::issuers::Issuers;

/// A gate's judgement without its key and its ledger.
#[derive(Debug)]
pub struct Rehearsal(Ceilings);

impl Rehearsal {
    /// Judges as a gate with these issuers does, without a section `[gate.serving]` and without keys
    /// to verify callers with. It has no ledger, so it knows no certificate that a caller could renew.
    #[must_use]
    pub fn new(issuers: Issuers, clock: SharedClock) -> Self {
        let callers = Callers {
            trust: Trust {
                domain: issuers.default_issuer().ceiling.trust_domain.clone(),
                aliases: Vec::new(),
            },
            pins: Pins::none(),
        };
        Self(Ceilings::new(issuers, None, callers, clock))
    }

    /// What would be recorded and signed.
    ///
    /// # Errors
    /// The refusal's text.
    pub fn issue(&self, request: IssueRequest) -> Result<LeafTbs, String> {
        match self.0.check(request, true, &Presented::Nothing) {
            Ok(checked) => Ok(std::sync::Arc::unwrap_or_clone(checked.tbs)),
            Err(rejection) => Err(rejection.refused.to_string()),
        }
    }

    /// Whether the denial would be recorded.
    ///
    /// # Errors
    /// The refusal's text.
    pub fn denial(&self, request: RecordDenial) -> Result<(), String> {
        self.0
            .denial(request, &Presented::Nothing)
            .map(drop)
            .map_err(|refused| refused.to_string())
    }
}
