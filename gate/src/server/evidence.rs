//! Evidence against the policy set in force: were exactly the right policies asked, did each
//! allow, and does the certificate stay within what each allowed?
//!
//! The verdicts themselves cannot be checked here: a front that was taken over can forge
//! them. What it cannot do is leave a policy out, run another module or other settings,
//! or have a certificate that its own recorded evidence does not justify.

use std::collections::BTreeSet;
use std::time::Duration;

use sealwright_identity::{Digest, San, SpiffeId, Timestamp, TrustDomain, Usage};
use sealwright_proto::gate::{Caller, Decision, Evidence, Narrowing, PolicyVerdict};
use sealwright_x509::BACKDATING;
use sealwright_x509::tbs::LeafFields;

use super::policies::{InForce, NothingInForce, Required};
use crate::issuers::Issuer;

const ALLOW: &str = "allow";
const DENY: &str = "deny";
const ABORTED: &str = "aborted";

/// How far a decision's time may be from the gate's clock.
const MAX_OFF: Duration = Duration::from_secs(60);

/// More names than any caller has.
const MAX_IDENTITIES: usize = 64;

/// Why the evidence does not justify the certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A part of the evidence is absent.
    #[error("the evidence has no {0}")]
    Missing(&'static str),
    /// A part of the evidence is not what its place asks for.
    #[error("{what} {value:?} of the evidence is malformed")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What was there.
        value: String,
    },
    /// An identity lies outside the trust domain, or there is none, or too many.
    #[error("the evidence names {0} identities; 1 to {MAX_IDENTITIES} are possible")]
    IdentityCount(usize),
    /// An identity of another trust domain.
    #[error("identity {identity} is not in the trust domain {trust_domain}")]
    ForeignIdentity {
        /// The identity.
        identity: SpiffeId,
        /// The issuer's trust domain.
        trust_domain: TrustDomain,
    },
    /// The caller's authenticator may not use this issuer.
    #[error("issuer {issuer} is not for callers of the authenticator {authenticator:?}")]
    Authenticator {
        /// The issuer.
        issuer: String,
        /// The authenticator.
        authenticator: String,
    },
    /// Nothing is in force that could allow it.
    #[error(transparent)]
    Nothing(NothingInForce),
    /// The evidence does not say under which policy set it was decided.
    #[error("the evidence names no policy set; in force is {0}")]
    NoSet(u64),
    /// The decision is of another time.
    #[error("the decision was made at {decided_at}, more than a minute from {now}")]
    DecidedAt {
        /// What the evidence says.
        decided_at: Timestamp,
        /// The gate's clock.
        now: Timestamp,
    },
    /// Another number of verdicts than policies decide.
    #[error("the evidence has {found} verdicts where {expected} policies decide for issuer {issuer}")]
    PolicyCount {
        /// The issuer.
        issuer: String,
        /// How many policies decide.
        expected: usize,
        /// How many verdicts came.
        found: usize,
    },
    /// The verdict at this place is another policy's.
    #[error("verdict {at} is not of policy {policy} with {what} {expected}, but {found}")]
    PolicyMismatch {
        /// Counted from 0.
        at: usize,
        /// The policy that belongs there.
        policy: String,
        /// Which of name, revision, module, settings differs.
        what: &'static str,
        /// What belongs there.
        expected: String,
        /// What came.
        found: String,
    },
    /// A policy did not allow.
    #[error("policy {policy} did not allow: its verdict is {verdict:?}")]
    Verdict {
        /// The policy.
        policy: String,
        /// Its verdict.
        verdict: String,
    },
    /// The certificate lives longer than a policy allowed.
    #[error("the lifetime of {found} s is above the {allowed} s that {by} allowed")]
    Lifetime {
        /// The certificate's, backdating excepted.
        found: u64,
        /// What was allowed.
        allowed: u64,
        /// The policy, or "the grant".
        by: String,
    },
    /// The certificate has a name that a policy did not choose.
    #[error("the name {name} is not among those that {by} allowed")]
    Name {
        /// The name.
        name: San,
        /// The policy, or "the grant".
        by: String,
    },
    /// The certificate has a name that the caller does not have.
    #[error("the name {0} is not the caller's")]
    NotTheCallers(San),
    /// The certificate has a usage that a policy did not leave.
    #[error("the usage {usage} is not among those that {by} allowed")]
    Usage {
        /// The usage.
        usage: Usage,
        /// The policy, or "the grant".
        by: String,
    },
}

/// One line of the record for each policy that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) name: String,
    pub(super) module: Digest,
    pub(super) settings: Digest,
    pub(super) verdict: String,
    pub(super) fuel: u64,
}

/// The verdicts as the record lists them, whatever they say.
pub(super) fn verdicts(decision: &Decision) -> Result<Vec<Verdict>, EvidenceError> {
    decision.policies.iter().map(verdict).collect()
}

fn verdict(policy: &PolicyVerdict) -> Result<Verdict, EvidenceError> {
    if ![ALLOW, DENY, ABORTED].contains(&policy.verdict.as_str()) {
        return Err(malformed("verdict", &policy.verdict));
    }
    let digest = |what, text: &str| text.parse().map_err(|_error| malformed(what, text));
    Ok(Verdict {
        name: policy.name.clone(),
        module: digest("module digest", &policy.module)?,
        settings: digest("settings digest", &policy.settings)?,
        verdict: policy.verdict.clone(),
        fuel: policy.fuel,
    })
}

/// The caller's identities, each inside the trust domain.
pub(super) fn identities(
    caller: &Caller,
    trust_domain: &TrustDomain,
) -> Result<Vec<SpiffeId>, EvidenceError> {
    let count = caller.identities.len();
    if count == 0 || count > MAX_IDENTITIES {
        return Err(EvidenceError::IdentityCount(count));
    }
    caller
        .identities
        .iter()
        .map(|text| {
            let identity: SpiffeId = text.parse().map_err(|_error| malformed("identity", text))?;
            if identity.trust_domain() == trust_domain {
                return Ok(identity);
            }
            Err(EvidenceError::ForeignIdentity {
                identity,
                trust_domain: trust_domain.clone(),
            })
        })
        .collect()
}

/// Refuses unless `evidence` justifies a certificate of these `fields` by `issuer`.
pub(super) fn justify(
    evidence: &Evidence,
    issuer: &Issuer,
    fields: &LeafFields,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), EvidenceError> {
    let caller = evidence.caller.as_ref().ok_or(EvidenceError::Missing("caller"))?;
    let decision = evidence
        .decision
        .as_ref()
        .ok_or(EvidenceError::Missing("decision"))?;
    if decision.input.is_empty() {
        return Err(EvidenceError::Missing("input"));
    }
    if !issuer.admits(&caller.authenticator) {
        return Err(EvidenceError::Authenticator {
            issuer: issuer.name.to_string(),
            authenticator: caller.authenticator.clone(),
        });
    }
    made_now(decision, now)?;
    all_allowed(decision, issuer, fields, in_force)?;
    let mut chosen = false;
    for policy in &decision.policies {
        if let Some(narrowing) = &policy.narrowing {
            chosen |= narrowing.names.is_some();
            within(narrowing, fields, || format!("policy {}", policy.name))?;
        }
    }
    if let Some(granted) = &decision.granted {
        within(granted, fields, || "the grant".to_owned())?;
    }
    let identities = identities(caller, &issuer.ceiling.trust_domain)?;
    for san in &fields.sans {
        let own = match san {
            San::Uri(id) => identities.contains(id),
            // No caller has one of its own: a policy must have chosen it (each that chose
            // was asked above), from what the ceiling allows.
            San::Dns(_) => chosen,
            San::Ip(_) => false,
        };
        if !own {
            return Err(EvidenceError::NotTheCallers(san.clone()));
        }
    }
    Ok(())
}

/// The number of the policy set that evidence was decided under; 0 when it does not say.
pub(super) fn set_number(evidence: Option<&Evidence>) -> u64 {
    let decision = evidence.and_then(|evidence| evidence.decision.as_ref());
    decision.map_or(0, |decision| decision.set_number)
}

/// How many canaries of it were stopped, as the evidence says.
pub(super) fn stops(evidence: Option<&Evidence>) -> u32 {
    let decision = evidence.and_then(|evidence| evidence.decision.as_ref());
    decision.map_or(0, |decision| decision.stops)
}

fn made_now(decision: &Decision, now: Timestamp) -> Result<(), EvidenceError> {
    let decided_at = Timestamp::from_micros(decision.decided_at_micros);
    let off = now
        .saturating_since(decided_at)
        .max(decided_at.saturating_since(now));
    if off > MAX_OFF {
        return Err(EvidenceError::DecidedAt { decided_at, now });
    }
    Ok(())
}

/// The verdicts are those of exactly the policies that decide for the names in the certificate, each `allow`.
fn all_allowed(
    decision: &Decision,
    issuer: &Issuer,
    fields: &LeafFields,
    in_force: &InForce,
) -> Result<(), EvidenceError> {
    let ids: Vec<SpiffeId> = fields
        .sans
        .iter()
        .filter_map(|san| match san {
            San::Uri(id) => Some(id.clone()),
            San::Dns(_) | San::Ip(_) => None,
        })
        .collect();
    let required = in_force
        .required(&issuer.name, &ids)
        .map_err(EvidenceError::Nothing)?;
    // A set that was made from the configuration is known to a front that has the same one.
    let must_name = !in_force.is_seeded();
    if must_name && decision.set_number == 0 {
        return Err(EvidenceError::NoSet(in_force.number()));
    }
    if required.len() != decision.policies.len() {
        return Err(EvidenceError::PolicyCount {
            issuer: issuer.name.to_string(),
            expected: required.len(),
            found: decision.policies.len(),
        });
    }
    for (at, (required, found)) in required.iter().zip(&decision.policies).enumerate() {
        same_policy(at, required, found, must_name)?;
        if found.verdict != ALLOW || found.denial.is_some() {
            return Err(EvidenceError::Verdict {
                policy: found.name.clone(),
                verdict: found.verdict.clone(),
            });
        }
    }
    Ok(())
}

fn same_policy(
    at: usize,
    required: &Required<'_>,
    found: &PolicyVerdict,
    must_name: bool,
) -> Result<(), EvidenceError> {
    let expected = required.policy;
    let revision = found.revision.clone();
    let verdict = verdict(found)?;
    let mismatch = |what, expected: String, found: String| EvidenceError::PolicyMismatch {
        at,
        policy: verdict.name.clone(),
        what,
        expected,
        found,
    };
    if verdict.name != *expected.name {
        return Err(mismatch("name", expected.name.to_string(), verdict.name.clone()));
    }
    if (must_name || !revision.is_empty()) && revision != required.revision.to_string() {
        return Err(mismatch("revision", required.revision.to_string(), revision));
    }
    for (what, expected, found) in [
        ("module", expected.module, verdict.module),
        ("settings", expected.settings, verdict.settings),
    ] {
        if expected != found {
            return Err(mismatch(what, expected.to_string(), found.to_string()));
        }
    }
    Ok(())
}

/// The certificate within one narrowing; what is absent narrows nothing.
fn within(narrowing: &Narrowing, fields: &LeafFields, by: impl Fn() -> String) -> Result<(), EvidenceError> {
    if let Some(allowed) = narrowing.lifetime_seconds {
        let lifetime = fields.validity.duration().saturating_sub(BACKDATING);
        if lifetime > Duration::from_secs(allowed) {
            return Err(EvidenceError::Lifetime {
                found: lifetime.as_secs(),
                allowed,
                by: by(),
            });
        }
    }
    if let Some(names) = &narrowing.names {
        let allowed = parsed::<San>("name", &names.items)?;
        if let Some(name) = fields.sans.iter().find(|san| !allowed.contains(san)) {
            return Err(EvidenceError::Name {
                name: name.clone(),
                by: by(),
            });
        }
    }
    if let Some(usages) = &narrowing.usages {
        let allowed = parsed::<Usage>("usage", &usages.items)?;
        if let Some(usage) = fields.usages.iter().find(|usage| !allowed.contains(usage)) {
            return Err(EvidenceError::Usage {
                usage: *usage,
                by: by(),
            });
        }
    }
    Ok(())
}

fn parsed<T: std::str::FromStr>(what: &'static str, items: &[String]) -> Result<Vec<T>, EvidenceError> {
    items
        .iter()
        .map(|item| item.parse().map_err(|_error| malformed(what, item)))
        .collect()
}

fn malformed(what: &'static str, value: &str) -> EvidenceError {
    EvidenceError::Malformed {
        what,
        value: value.chars().take(200).collect(),
    }
}

/// The identities as given, each once, for a record of something that does not parse.
pub(super) fn claimed_identities(evidence: &Evidence) -> Vec<String> {
    let claimed = evidence.caller.iter().flat_map(|caller| &caller.identities);
    let mut seen = BTreeSet::new();
    claimed
        .filter(|identity| identity.len() <= 2048 && seen.insert(identity.as_str()))
        .take(MAX_IDENTITIES)
        .cloned()
        .collect()
}
