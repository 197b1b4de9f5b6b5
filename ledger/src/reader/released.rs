//! A certificate that left the gate, found by its serial: on the path of every renewal.

use sealwright_identity::{Digest, SerialNumber, Timestamp};

use super::{LedgerReader, MalformedRow, ReadError, row, strict_blob, strict_integer};
use crate::{
    body::{Body, decode},
    entry::{DecisionEntry, EntryKind},
};

/// A certificate whose record is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Sequence of the decision.
    pub sequence: u64,
    /// When the decision was recorded.
    pub recorded_at: Timestamp,
    /// The decision.
    pub decision: DecisionEntry,
    /// SHA-256 of the certificate (DER).
    pub fingerprint: Digest,
}

impl Released {
    /// When somebody was last known by another credential than a certificate of this ledger.
    #[must_use]
    pub fn first_authenticated_at(&self) -> Timestamp {
        let renewal = self.decision.renewal.as_ref();
        renewal.map_or(self.recorded_at, |renewal| renewal.first_authenticated_at)
    }
}

impl LedgerReader {
    /// The certificate with this serial; `None` when it was never decided on, or never left.
    ///
    /// Two look-ups by index, however large the ledger is.
    ///
    /// # Errors
    /// When it cannot be read in time.
    pub async fn released(&self, serial: &SerialNumber) -> Result<Option<Released>, ReadError> {
        let mut connection = self.connections.bounded().await?;
        let found = sqlx::query(
            "SELECT d.sequence, d.recorded_at, d.body, f.body FROM entries d \
             JOIN entries f ON f.refers = d.sequence AND f.kind = 3 \
             WHERE d.kind = 2 AND d.serial = ?",
        )
        .bind(serial.as_bytes().to_vec())
        .fetch_optional(&mut *connection)
        .await?;
        drop(connection);
        let Some(found) = found else { return Ok(None) };
        let sequence = row::sequence(strict_integer(&found, 0)?)?;
        let unreadable = |source| ReadError::Body { sequence, source };
        let body = strict_blob(&found, 2)?;
        let body = decode(EntryKind::Decision, Some(serial.as_bytes()), &body).map_err(unreadable)?;
        let settled = strict_blob(&found, 3)?;
        let settled = decode(EntryKind::Certificate, None, &settled).map_err(unreadable)?;
        match (body, settled) {
            (Body::Decision(decision), Body::Certificate(part)) => Ok(Some(Released {
                sequence,
                recorded_at: Timestamp::from_micros(strict_integer(&found, 1)?),
                decision,
                fingerprint: part.fingerprint,
            })),
            _ => Err(MalformedRow::Value("kind").into()),
        }
    }
}
