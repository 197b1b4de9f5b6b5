//! The second and the last step: the ledger. Only this makes a [`Recorded`], and only a
//! durable certificate makes an [`Released`].

use std::sync::Arc;

use sealwright_ledger::{CertificateEntry, DecisionEntry, Error as LedgerError, FailedEntry, Ledger};
use sealwright_proto::gate::Issued;
use sealwright_runtime::Chain;
use sealwright_x509::tbs::LeafTbs;
use tokio::sync::watch;
use tracing::{error, warn};

use super::checked::{Checked, Rejection};
use super::refused::Refused;
use super::signed::Verified;
use crate::issuers::Issuer;

/// A certificate whose record is on disk. Nothing else reaches a key.
#[derive(Debug)]
pub(super) struct Recorded {
    issuer: Arc<Issuer>,
    tbs: Arc<LeafTbs>,
    sequence: u64,
}

impl Recorded {
    /// Takes it apart for the signing step.
    pub(super) fn into_parts(self) -> (Arc<Issuer>, Arc<LeafTbs>, u64) {
        (self.issuer, self.tbs, self.sequence)
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) const fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    pub(super) const fn tbs(&self) -> &Arc<LeafTbs> {
        &self.tbs
    }
}

/// A certificate that is on disk whole and may leave the gate.
#[derive(Debug)]
pub(super) struct Released {
    issuer: Arc<Issuer>,
    certificate: Vec<u8>,
    sequence: u64,
}

impl From<Released> for Issued {
    fn from(released: Released) -> Self {
        let issuer = &released.issuer;
        Self {
            certificate: released.certificate.into(),
            intermediates: issuer.intermediates.clone(),
            roots_pem: issuer.roots_pem.clone(),
            sequence: released.sequence,
        }
    }
}

/// A recorded decision that came to nothing; to be written down as failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) sequence: u64,
    pub(super) refused: Refused,
}

/// Why a request did not come to a certificate, and what the ledger has to hear of it.
#[derive(Debug)]
pub(super) enum Halt {
    /// Nothing.
    Unrecorded(Refused),
    /// The refusal.
    Rejected(Box<Rejection>),
    /// That its record will have no certificate.
    Failed(Failed),
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        Self::Unrecorded(refused)
    }
}

impl From<Box<Rejection>> for Halt {
    fn from(rejection: Box<Rejection>) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Failed> for Halt {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// The writing side of the ledger, as the steps need it.
#[derive(Debug)]
pub(super) struct Records {
    ledger: Ledger,
    /// Set once the writer has ended: only a new start finds out what was written.
    broken: watch::Sender<bool>,
}

impl Records {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            broken: watch::Sender::new(false),
        }
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns when the ledger cannot be written any more.
    pub(super) async fn broken(&self) {
        let mut broken = self.broken.subscribe();
        // The sender lives as long as we do.
        let _gone = broken.wait_for(|broken| *broken).await;
    }

    /// Durable on return. A serial that is taken makes it a rejection.
    pub(super) async fn append(&self, checked: Checked) -> Result<Recorded, Halt> {
        let Checked {
            issuer,
            tbs,
            entry,
            in_force,
            tally,
        } = checked;
        let appended = self.ledger.append(&entry).await;
        if let (Ok(_), Some(in_force)) = (&appended, &in_force) {
            in_force.count(&tally);
        }
        // Only now may another policy set take effect.
        drop(in_force);
        match appended {
            Ok(appended) => Ok(Recorded {
                issuer,
                tbs,
                sequence: appended.sequence,
            }),
            Err(error @ LedgerError::SerialTaken { .. }) => {
                Err(Rejection::new("serial_taken", Refused::Denied(error.to_string()), entry).into())
            }
            Err(error @ LedgerError::TooLarge { .. }) => {
                Err(Rejection::new("record_too_large", Refused::Denied(error.to_string()), entry).into())
            }
            Err(error) => Err(self.refused(&error).into()),
        }
    }

    /// Stores the certificate; durable on return.
    pub(super) async fn release(&self, verified: Verified) -> Result<Released, Halt> {
        let Verified {
            issuer,
            certificate,
            sequence,
        } = verified;
        let entry = CertificateEntry {
            decision: sequence,
            certificate,
        };
        match self.ledger.complete(&entry).await {
            Ok(_appended) => Ok(Released {
                issuer,
                certificate: entry.certificate,
                sequence,
            }),
            Err(error) => {
                let refused = self.refused(&error);
                Err(Failed { sequence, refused }.into())
            }
        }
    }

    /// Writes down what a halt leaves to be written, and says what to answer.
    pub(super) async fn settle(&self, halt: Halt) -> Refused {
        match halt {
            Halt::Unrecorded(refused) => refused,
            Halt::Rejected(rejection) => self.reject(*rejection).await,
            Halt::Failed(Failed { sequence, refused }) => {
                let entry = FailedEntry {
                    decision: sequence,
                    reason: refused.to_string(),
                };
                if let Err(error) = self.ledger.append_failed(&entry).await {
                    // It stays pending until the next start marks it unreleased.
                    let _answer = self.refused(&error);
                    warn!(sequence, error = %Chain(&error), "a failure could not be recorded");
                }
                refused
            }
        }
    }

    /// Records a denial that the front decided.
    pub(super) async fn deny(&self, mut entry: DecisionEntry) -> Result<u64, Refused> {
        let mut written = self.ledger.append_denied(&entry).await;
        if matches!(written, Err(LedgerError::TooLarge { .. })) {
            shorten(&mut entry);
            written = self.ledger.append_denied(&entry).await;
        }
        match written {
            Ok(appended) => Ok(appended.sequence),
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn reject(&self, rejection: Rejection) -> Refused {
        let Rejection { refused, mut entry } = rejection;
        warn!(issuer = %entry.issuer, identities = ?entry.identities, %refused, "a request was refused");
        let mut written = self.ledger.append_refused(&entry).await;
        if matches!(written, Err(LedgerError::TooLarge { .. })) {
            shorten(&mut entry);
            written = self.ledger.append_refused(&entry).await;
        }
        match written {
            Ok(_appended) => refused,
            Err(error) => {
                error!(error = %Chain(&error), "a refusal could not be recorded");
                self.refused(&error)
            }
        }
    }

    /// What the front is told of the ledger's trouble.
    pub(super) fn refused(&self, error: &LedgerError) -> Refused {
        if error.is_fatal() {
            self.broken.send_replace(true);
        }
        match error {
            LedgerError::RateLimited { .. } | LedgerError::Overloaded { .. } => {
                Refused::busy(&error.to_string())
            }
            LedgerError::TooLarge { .. } | LedgerError::Invalid(_) => Refused::Invalid(error.to_string()),
            LedgerError::OtherCertificate { .. } | LedgerError::NotPending { .. } => {
                Refused::Internal(error.to_string())
            }
            _ => Refused::Unavailable(Chain(error).to_string()),
        }
    }
}

/// What was asked in vain is not worth keeping whole; that it was asked is, and nobody
/// shall escape the record by asking at length.
fn shorten(entry: &mut DecisionEntry) {
    const TEXT: usize = 1024;
    entry.evidence = Vec::new();
    entry.csr = Vec::new();
    entry.tbs = Vec::new();
    entry.policies.truncate(32);
    if let Some(denial) = &mut entry.denial {
        for text in [&mut denial.policy, &mut denial.code, &mut denial.message] {
            *text = text.chars().take(TEXT).collect();
        }
        for text in [&mut denial.field, &mut denial.hint].into_iter().flatten() {
            *text = text.chars().take(TEXT).collect();
        }
    }
}
