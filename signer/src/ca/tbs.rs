//! The fields of a workload's leaf.

use std::time::Duration;

use sealwright_gate::issuers::Issuer;
use sealwright_identity::{CommonName, San, SerialNumber, Timestamp, Validity};
use sealwright_x509::BACKDATING;
use sealwright_x509::csr::VerifiedCsr;
use sealwright_x509::tbs::{LeafFields, LeafKind, common_name_of};

use super::PrepareError;
use crate::authz::GrantParts;

/// Backdated against clocks that lag, and never beyond the issuer's own end.
pub(super) fn validity(
    issuer: &Issuer,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Validity, PrepareError> {
    let now = now.truncated_to_seconds();
    let end = issuer.chain.not_after();
    if end <= now {
        return Err(PrepareError::IssuerExpired {
            issuer: issuer.name.to_string(),
            not_after: end,
        });
    }
    let not_after = now.saturating_add(lifetime).truncated_to_seconds().min(end);
    Ok(Validity::new(now.saturating_sub(BACKDATING), not_after)?)
}

pub(super) fn fields(
    csr: &VerifiedCsr,
    grant: &GrantParts,
    serial: SerialNumber,
    validity: Validity,
) -> LeafFields {
    let chain = &grant.issuer.chain;
    LeafFields {
        serial,
        issuer_der: chain.issuer_name_der().to_vec(),
        validity,
        common_name: common_name(grant.issuer.ceiling.common_name, csr, &grant.names),
        spki_der: csr.spki_der().to_vec(),
        sans: grant.names.clone(),
        usages: grant.usages.clone(),
        aki: chain.ski().to_vec(),
        signature_algorithm: chain.signature_algorithm(),
        kind: LeafKind::Workload,
    }
}

/// "Dual use": a CSR with a common name of its own gets the first name as its common name, when
/// the issuer's profile says so and the name fits. The CSR's text is never copied.
fn common_name(profile: CommonName, csr: &VerifiedCsr, names: &[San]) -> Option<String> {
    if profile == CommonName::None || csr.facts().common_name.is_none() {
        return None;
    }
    names.first().and_then(common_name_of)
}
