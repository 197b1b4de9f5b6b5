//! Client certificates of other authorities under the issuers' roots: verified here as the front
//! does it, so that one that was taken over cannot make any up.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sealwright_identity::Timestamp;
use sealwright_x509::certificate::CertificateRef;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::issuers::Issuers;

/// The longest chain that is looked at, as in the front.
const MAX_CHAIN: usize = 8;

/// Refuses a chain, leaf first, that does not end at a root of an issuer, now, for client
/// authentication.
pub(super) fn verify(chain: &[Vec<u8>], issuers: &Issuers, now: Timestamp) -> Result<(), webpki::Error> {
    let (leaf, rest) = chain.split_first().ok_or(webpki::Error::UnknownIssuer)?;
    let rest: Vec<_> = rest
        .iter()
        .take(MAX_CHAIN)
        .map(|der| CertificateDer::from_slice(der))
        .collect();
    let roots = issuers.iter().flat_map(|issuer| issuer.chain.roots_der());
    let roots: Vec<_> = roots
        .filter(|der| CertificateRef::parse(der).is_ok_and(|root| root.validity().contains(now)))
        .map(|der| CertificateDer::from_slice(der))
        .collect();
    let anchors: Vec<TrustAnchor<'_>> = roots
        .iter()
        .filter_map(|der| anchor_from_trusted_cert(der).ok())
        .collect();
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    let leaf = CertificateDer::from_slice(leaf);
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &rest,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_path| ())
}
