//! Where the certificate of a caller comes from: asked of the gate, whose ledger knows.
//!
//! What the gate says of a certificate that it released never changes, so it is kept, bounded, for as
//! long as the same gate is connected. Whatever is believed here, the gate looks itself before it signs.

use std::sync::Arc;

use parking_lot::Mutex;
use sealwright_gate::client::{ClientError, ConnectionState};
use sealwright_identity::{Digest, Recent, Timestamp};
use sealwright_proto::gate::{Denial, Origin, origin::Standing};
use tokio::time::Instant;

use crate::authn::{AuthSource, Caller, Renewal};
use crate::ca::{ANSWER_MARGIN, Gate};

/// Certificates that are kept, some 150 bytes each.
const KNOWN: usize = 20_000;

/// What is known of callers' certificates.
#[derive(Debug)]
pub(super) struct Origins(Mutex<Known>);

#[derive(Debug)]
struct Known {
    gate: ConnectionState,
    renewals: Recent<Digest, Arc<Renewal>>,
}

/// What a caller's credential is.
#[derive(Debug)]
pub(super) enum CallerOrigin {
    /// A token, or a certificate of another authority.
    Elsewhere,
    /// A certificate of this installation.
    Here(Arc<Renewal>),
    /// A certificate of an issuer of ours that the ledger does not have.
    NotReleased,
}

impl Default for Origins {
    fn default() -> Self {
        Self(Mutex::new(Known {
            gate: ConnectionState::Disconnected,
            renewals: Recent::new(KNOWN),
        }))
    }
}

impl Origins {
    pub(super) async fn of(
        &self,
        caller: &Caller,
        gate: &Gate,
        deadline: Instant,
    ) -> Result<CallerOrigin, ClientError> {
        let Some(certificate) = caller
            .client_chain()
            .first()
            .filter(|_| caller.source() == AuthSource::ClientCertificate)
        else {
            return Ok(CallerOrigin::Elsewhere);
        };
        let fingerprint = Digest::of(certificate);
        let connection = *gate.client().state().borrow();
        if let Some(known) = self.get(&fingerprint, connection) {
            return Ok(CallerOrigin::Here(known));
        }
        let deadline = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        let origin = gate.client().origin(certificate.clone(), deadline).await?;
        let standing = origin.standing();
        match (standing, renewal(&origin)) {
            (Standing::Released, Some(renewal)) => {
                let renewal = Arc::new(renewal);
                self.put(fingerprint, connection, Arc::clone(&renewal));
                Ok(CallerOrigin::Here(renewal))
            }
            (Standing::Foreign, _) => Ok(CallerOrigin::Elsewhere),
            _ => Ok(CallerOrigin::NotReleased),
        }
    }

    fn get(&self, fingerprint: &Digest, gate: ConnectionState) -> Option<Arc<Renewal>> {
        let mut known = self.0.lock();
        if known.gate != gate {
            return None;
        }
        known.renewals.get(fingerprint).map(Arc::clone)
    }

    fn put(&self, fingerprint: Digest, gate: ConnectionState, renewal: Arc<Renewal>) {
        let mut known = self.0.lock();
        if known.gate != gate {
            known.gate = gate;
            known.renewals.clear();
        }
        known.renewals.put(fingerprint, renewal);
    }
}

fn renewal(origin: &Origin) -> Option<Renewal> {
    Some(Renewal {
        previous: origin.serial.parse().ok()?,
        first_authenticated_at: Timestamp::from_micros(origin.first_authenticated_micros),
    })
}

/// To a caller whose certificate is of an issuer of ours, and in no record.
pub(super) fn not_released() -> Denial {
    Denial {
        policy: String::new(),
        code: "CERTIFICATE_NOT_RELEASED".to_owned(),
        message: "the client certificate is of an issuer of this signer, and not in its ledger".to_owned(),
        field: "caller".to_owned(),
        hint: "authenticate with a token again, without the certificate".to_owned(),
    }
}
