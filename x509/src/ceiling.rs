//! Whether a leaf is inside what its issuer may ever grant.
//!
//! This is the last check before a key is touched. It looks at decoded fields, an issuer's own configuration
//! and the clock, and at nothing that the sender of the fields says about them.

use std::time::Duration;

use sealwright_identity::{Ceiling, CommonName, KeyType, San, Timestamp, Usage};

use crate::{
    issuer::IssuerChain,
    spki::{SpkiError, SpkiRef},
    tbs::{LeafFields, LeafKind},
};

/// How far notBefore may lie before the clock: backdating, and the age of a request.
pub const NOT_BEFORE_PAST: Duration = Duration::from_secs(5 * 60);
/// How far notBefore may lie after the clock.
pub const NOT_BEFORE_FUTURE: Duration = Duration::from_secs(60);

/// Checks a workload's leaf: names, lifetime, times, key, usages, common name, and that the issuer is this one.
///
/// A serving leaf is refused: its names are outside any ceiling ([`check_serving`]).
///
/// # Errors
/// The first rule that the leaf breaks.
pub fn check(
    fields: &LeafFields,
    ceiling: &Ceiling,
    issuer: &IssuerChain,
    now: Timestamp,
) -> Result<(), CeilingViolation> {
    if fields.kind != LeafKind::Workload {
        return Err(CeilingViolation::Kind { found: fields.kind });
    }
    if let Some(name) = fields.sans.iter().find(|name| !ceiling.allows_san(name)) {
        return Err(CeilingViolation::Name { name: name.clone() });
    }
    if let Some(usage) = fields.usages.iter().find(|usage| !ceiling.usages.contains(usage)) {
        return Err(CeilingViolation::Usage { usage: *usage });
    }
    check_common(fields, ceiling, issuer, now)
}

/// Checks a serving leaf: as [`check`], but its names are those that the configuration allows, each exactly.
///
/// # Errors
/// The first rule that the leaf breaks.
pub fn check_serving(
    fields: &LeafFields,
    allowed: &[San],
    ceiling: &Ceiling,
    issuer: &IssuerChain,
    now: Timestamp,
) -> Result<(), CeilingViolation> {
    if fields.kind != LeafKind::Serving {
        return Err(CeilingViolation::Kind { found: fields.kind });
    }
    if let Some(name) = fields.sans.iter().find(|name| !allowed.contains(name)) {
        return Err(CeilingViolation::Name { name: name.clone() });
    }
    check_common(fields, ceiling, issuer, now)
}

fn check_common(
    fields: &LeafFields,
    ceiling: &Ceiling,
    issuer: &IssuerChain,
    now: Timestamp,
) -> Result<(), CeilingViolation> {
    check_issuer(fields, issuer)?;
    check_times(fields, ceiling, issuer, now)?;
    let key_type = SpkiRef::parse(&fields.spki_der)
        .map_err(CeilingViolation::Key)?
        .key_type();
    if !ceiling.key_types.contains(&key_type) {
        return Err(CeilingViolation::KeyType { key_type });
    }
    if fields.spki_der == issuer.spki_der() {
        return Err(CeilingViolation::IssuersKey);
    }
    if fields.usages.is_empty() {
        return Err(CeilingViolation::NoUsage);
    }
    if let Some(usage) = fields
        .usages
        .iter()
        .find(|usage| !issuer.usages().contains(usage))
    {
        return Err(CeilingViolation::ChainUsage { usage: *usage });
    }
    match (&fields.common_name, ceiling.common_name) {
        // That it is the first name is part of the profile.
        (None, _) | (Some(_), CommonName::FirstName) => Ok(()),
        (Some(found), CommonName::None) => Err(CeilingViolation::CommonName { found: found.clone() }),
    }
}

fn check_issuer(fields: &LeafFields, issuer: &IssuerChain) -> Result<(), CeilingViolation> {
    let field = if fields.issuer_der != issuer.issuer_name_der() {
        "issuer name"
    } else if fields.aki != issuer.ski() {
        "authority key identifier"
    } else if fields.signature_algorithm != issuer.signature_algorithm() {
        "signature algorithm"
    } else {
        return Ok(());
    };
    Err(CeilingViolation::Issuer { field })
}

fn check_times(
    fields: &LeafFields,
    ceiling: &Ceiling,
    issuer: &IssuerChain,
    now: Timestamp,
) -> Result<(), CeilingViolation> {
    let (not_before, not_after) = (fields.validity.not_before(), fields.validity.not_after());
    // Whole seconds on one side and microseconds on the other: the earliest is cut off the same.
    let earliest = now.saturating_sub(NOT_BEFORE_PAST).truncated_to_seconds();
    if not_before < earliest || not_before > now.saturating_add(NOT_BEFORE_FUTURE) {
        return Err(CeilingViolation::NotBefore { not_before, now });
    }
    if not_after <= now {
        return Err(CeilingViolation::Expired { not_after, now });
    }
    if not_after > issuer.not_after() {
        return Err(CeilingViolation::OutlivesIssuer {
            not_after,
            issuer: issuer.not_after(),
        });
    }
    let lifetime = fields.lifetime();
    if lifetime > ceiling.max_lifetime {
        return Err(CeilingViolation::Lifetime {
            lifetime,
            max: ceiling.max_lifetime,
        });
    }
    Ok(())
}

/// The rule that a leaf breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeilingViolation {
    /// A leaf for another purpose than the one asked for.
    #[error("a {} certificate cannot be issued in this way", found.as_str())]
    Kind {
        /// What it is.
        found: LeafKind,
    },
    /// A name outside.
    #[error("the name {name} is outside the issuer's ceiling")]
    Name {
        /// The name.
        name: San,
    },
    /// A usage outside.
    #[error("the usage {usage} is outside the issuer's ceiling")]
    Usage {
        /// The usage.
        usage: Usage,
    },
    /// A usage that the issuer's own certificates do not allow.
    #[error("the usage {usage} is not allowed by the issuer's certificate chain")]
    ChainUsage {
        /// The usage.
        usage: Usage,
    },
    /// No usage at all.
    #[error("the certificate would have no usage")]
    NoUsage,
    /// Another issuer than this one.
    #[error("the {field} is not the issuer's")]
    Issuer {
        /// What differs.
        field: &'static str,
    },
    /// Not about now.
    #[error("notBefore {not_before} is more than 5 minutes before or 1 minute after {now}")]
    NotBefore {
        /// Where it would begin.
        not_before: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// Over already.
    #[error("notAfter {not_after} is not after {now}")]
    Expired {
        /// Where it would end.
        not_after: Timestamp,
        /// The clock.
        now: Timestamp,
    },
    /// Longer than the issuer.
    #[error("notAfter {not_after} is after the issuer's end {issuer}")]
    OutlivesIssuer {
        /// Where it would end.
        not_after: Timestamp,
        /// Where the issuer ends.
        issuer: Timestamp,
    },
    /// Longer than allowed.
    #[error("the lifetime of {} s is more than {} s", lifetime.as_secs(), max.as_secs())]
    Lifetime {
        /// How long it would be, without backdating.
        lifetime: Duration,
        /// How long it may be.
        max: Duration,
    },
    /// The key cannot be read.
    #[error("the certified public key is not accepted")]
    Key(#[source] SpkiError),
    /// A kind of key outside.
    #[error("a key of the type {key_type} is outside the issuer's ceiling")]
    KeyType {
        /// The kind.
        key_type: KeyType,
    },
    /// The issuer's own key.
    #[error("the certified key is the issuer's own")]
    IssuersKey,
    /// A common name where there may be none.
    #[error("the common name {found:?} is outside the issuer's ceiling, which has none")]
    CommonName {
        /// The common name.
        found: String,
    },
}

impl CeilingViolation {
    /// A short name for metrics, records and the applicant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "CEILING_KIND",
            Self::Name { .. } => "CEILING_NAME",
            Self::Usage { .. } | Self::ChainUsage { .. } | Self::NoUsage => "CEILING_USAGE",
            Self::Issuer { .. } => "CEILING_ISSUER",
            Self::NotBefore { .. } => "CEILING_NOT_BEFORE",
            Self::Expired { .. } => "CEILING_EXPIRED",
            Self::OutlivesIssuer { .. } => "CEILING_OUTLIVES_ISSUER",
            Self::Lifetime { .. } => "CEILING_LIFETIME",
            Self::Key(_) | Self::KeyType { .. } | Self::IssuersKey => "CEILING_KEY",
            Self::CommonName { .. } => "CEILING_COMMON_NAME",
        }
    }
}
