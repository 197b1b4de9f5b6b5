//! What no policy is asked about, and none can lift.

use std::time::Duration;

use sealwright_gate::issuers::Issuer;
use sealwright_proto::gate::Denial;

use super::{AuthorizationError, Case};
use crate::service::CertificateOrder;

/// What is asked for, or the default. Seconds all along: nothing is multiplied, nothing overflows.
pub(super) fn lifetime(issuer: &Issuer, order: &CertificateOrder) -> Result<Duration, AuthorizationError> {
    let requested = order.requested_seconds();
    if requested == 0 {
        return Ok(issuer.ceiling.default_lifetime);
    }
    let maximum = issuer.ceiling.max_lifetime.as_secs();
    if requested > maximum {
        return Err(AuthorizationError::LifetimeTooLong { requested, maximum });
    }
    Ok(Duration::from_secs(requested))
}

/// What no policy is asked about.
pub(super) fn denial(case: &Case<'_>) -> Option<Denial> {
    let deny = |code: &str, field: &str, message: String, hint: &str| Denial {
        policy: String::new(),
        code: code.to_owned(),
        message,
        field: field.to_owned(),
        hint: hint.to_owned(),
    };
    let Case { issuer, caller, .. } = case;
    let authenticator = caller.authenticator();
    if !issuer.admits(authenticator) {
        return Some(deny(
            "AUTHENTICATOR_NOT_ALLOWED",
            "metadata.CertSigner",
            format!(
                "issuer {} is not for callers of the authenticator {authenticator}",
                issuer.name
            ),
            "name another issuer, or present another credential",
        ));
    }
    let key_type = case.csr.key_type();
    if !issuer.ceiling.key_types.contains(&key_type) {
        let allowed: Vec<String> = issuer.ceiling.key_types.iter().map(ToString::to_string).collect();
        return Some(deny(
            "KEY_TYPE_NOT_ALLOWED",
            "csr",
            format!("issuer {} certifies no {key_type} key", issuer.name),
            &format!("use one of {}", allowed.join(", ")),
        ));
    }
    if let Some(renewal) = caller.renewal()
        && !issuer.may_renew(renewal.first_authenticated_at, case.now)
    {
        return Some(deny(
            "RENEWAL_TOO_OLD",
            "caller",
            format!(
                "the last authentication by another credential than a certificate was at {}, longer ago than issuer {} allows",
                renewal.first_authenticated_at, issuer.name
            ),
            "authenticate with a token again, without the certificate",
        ));
    }
    let foreign = caller
        .identities()
        .iter()
        .find(|id| *id.trust_domain() != issuer.ceiling.trust_domain)?;
    Some(deny(
        "IDENTITY_NOT_ALLOWED",
        "caller",
        format!(
            "{foreign} is not of the trust domain {}",
            issuer.ceiling.trust_domain
        ),
        "",
    ))
}
