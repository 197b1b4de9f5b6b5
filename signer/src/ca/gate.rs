//! The last step: recorded, signed and verified by the gate.

use bytes::Bytes;
use sealwright_gate::client::{ClientError, GateClient};
use sealwright_identity::SerialNumber;
use tracing::{Span, field, info};

use super::{ANSWER_MARGIN, ToBeSigned};
use crate::metrics::{Metrics, Stage};

/// The way to the key.
#[derive(Clone, Debug)]
pub struct Gate {
    client: GateClient,
    metrics: Metrics,
}

/// A certificate that the gate has recorded, signed and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The leaf, DER.
    pub leaf: Bytes,
    /// DER, the issuing certificate first.
    pub intermediates: Vec<Bytes>,
    /// The whole root bundle, PEM.
    pub roots_pem: Bytes,
    /// The leaf's serial number.
    pub serial: SerialNumber,
    /// The decision's entry in the ledger.
    pub sequence: u64,
}

impl Gate {
    /// A way to the key over this client.
    pub fn new(client: GateClient, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// The client underneath.
    pub fn client(&self) -> &GateClient {
        &self.client
    }

    /// Has the bytes recorded, signed and verified.
    ///
    /// # Errors
    /// When the gate is away, overloaded, or refuses. Whether something was signed meanwhile only
    /// the ledger knows; nothing left the gate.
    pub async fn issue(&self, tbs: ToBeSigned) -> Result<IssuedCertificate, ClientError> {
        let _time = self.metrics.time(Stage::Gate);
        Span::current().record("serial", field::display(&tbs.serial));
        let context = tbs.context;
        // A little before the request itself is given up, so that its answer can still say why.
        let deadline = context
            .deadline
            .checked_sub(ANSWER_MARGIN)
            .unwrap_or(context.deadline);
        let issued = self.client.issue(tbs.request, deadline).await?;
        self.metrics.certified(tbs.validity);
        info!(
            target: "audit",
            serial = %tbs.serial,
            sequence = issued.sequence,
            request_id = %context.id,
            "a certificate was issued"
        );
        Ok(IssuedCertificate {
            leaf: issued.certificate,
            intermediates: issued.intermediates,
            roots_pem: issued.roots_pem,
            serial: tbs.serial,
            sequence: issued.sequence,
        })
    }
}
