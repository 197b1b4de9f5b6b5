//! When roots end, for the metrics.

use sealwright_identity::Timestamp;
use sealwright_x509::CertificateRef;

/// The earliest end of these certificates (DER), `None` when there is none.
pub(super) fn earliest(certificates: &[Vec<u8>]) -> Option<Timestamp> {
    certificates
        .iter()
        .filter_map(|der| CertificateRef::parse(der).ok())
        .map(|certificate| certificate.validity().not_after())
        .min()
}
