//! Where a client certificate comes from, by the word of the ledger and of nobody else.
//!
//! A certificate that left this gate is known by its serial and then by all of its bytes, so no
//! signature is verified for it. What the ledger says of one never changes: it is kept, bounded.

use std::sync::Arc;

use parking_lot::Mutex;
use sealwright_identity::{Digest, Recent};
use sealwright_ledger::{LedgerReader, ReadError, Renewal};
use sealwright_proto::gate as pb;
use sealwright_x509::certificate::{CertificateError, CertificateRef};
use sealwright_x509::spki::SpkiRef;

use crate::issuers::Issuers;

/// Certificates that are kept, some 300 bytes each.
const KNOWN: usize = 20_000;

/// A certificate that left this gate.
#[derive(Debug)]
pub(super) struct Origin {
    /// What the record of a renewal with it says.
    pub(super) renewal: Renewal,
}

/// What a client certificate is to this gate.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It left this gate.
    Released(Arc<Origin>),
    /// It is of an issuer of ours, and never left this gate.
    NotReleased,
    /// It is of another authority.
    Foreign,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(super) enum OriginError {
    /// The certificate cannot be read.
    #[error("the client certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// The ledger cannot be read.
    #[error("the ledger cannot be asked for the client certificate")]
    Ledger(#[from] ReadError),
}

/// Finds origins.
#[derive(Debug)]
pub(super) struct Origins(Mutex<Recent<Digest, Arc<Origin>>>);

impl Default for Origins {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(KNOWN)))
    }
}

impl Origins {
    /// One look-up in the ledger, or none for a certificate that was asked for before.
    pub(super) async fn find(
        &self,
        certificate: &[u8],
        reader: &LedgerReader,
        issuers: &Issuers,
    ) -> Result<Standing, OriginError> {
        let fingerprint = Digest::of(certificate);
        if let Some(origin) = self.0.lock().get(&fingerprint) {
            return Ok(Standing::Released(Arc::clone(origin)));
        }
        let parsed = CertificateRef::parse(certificate)?;
        let released = reader.released(parsed.serial()).await?;
        // Another authority may use the serial too: all of the bytes count.
        let Some(released) = released.filter(|released| released.fingerprint == fingerprint) else {
            return Ok(if is_of_an_issuer(&parsed, issuers) {
                Standing::NotReleased
            } else {
                Standing::Foreign
            });
        };
        let origin = Arc::new(Origin {
            renewal: Renewal {
                previous: parsed.serial().clone(),
                first_authenticated_at: released.first_authenticated_at(),
            },
        });
        self.0.lock().put(fingerprint, Arc::clone(&origin));
        Ok(Standing::Released(origin))
    }
}

/// By its issuer's name and the signature, not by what it says of the key.
fn is_of_an_issuer(certificate: &CertificateRef<'_>, issuers: &Issuers) -> bool {
    issuers
        .iter()
        .filter(|issuer| issuer.chain.issuer_name_der() == certificate.issuer_der())
        .filter_map(|issuer| SpkiRef::parse(issuer.chain.spki_der()).ok())
        .any(|key| certificate.verify_signed_by(&key).is_ok())
}

impl From<Standing> for pb::Origin {
    fn from(standing: Standing) -> Self {
        let of = |standing: pb::origin::Standing| Self {
            standing: standing.into(),
            ..Self::default()
        };
        match standing {
            Standing::Released(origin) => Self {
                standing: pb::origin::Standing::Released.into(),
                serial: origin.renewal.previous.to_string(),
                first_authenticated_micros: origin.renewal.first_authenticated_at.micros(),
            },
            Standing::NotReleased => of(pb::origin::Standing::NotReleased),
            Standing::Foreign => of(pb::origin::Standing::Foreign),
        }
    }
}
