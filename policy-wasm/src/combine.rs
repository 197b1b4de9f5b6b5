//! From a component's answer to a verdict, and from several to an outcome.
//!
//! Here stands the rule that a policy can narrow and never widen: a narrowing
//! that names anything outside of the ceiling is an error of the policy, and
//! errors deny. The gate checks the certificate against both again.

use std::time::Duration;

use sealwright_identity::Usage;

use crate::{
    CeilingFacts, Denial, Narrowing,
    bindings::sealwright::policy::types as wit,
    decision::{code, tame},
};

const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 512;
const MAX_FIELD: usize = 128;
const MAX_HINT: usize = 512;
/// Codes with it are the host's.
const RESERVED: &str = "POLICY_";
/// Other codes of the host.
const RESERVED_CODES: [&str; 3] = [code::NO_POLICY, code::NOTHING_ALLOWED, code::INPUT_INVALID];

/// The host's own view of what a component answered.
pub(crate) fn verdict(
    policy: &str,
    answer: wit::Verdict,
    ceiling: &CeilingFacts,
) -> Result<Narrowing, Denial> {
    match answer {
        wit::Verdict::Allow(narrowing) => narrow(&narrowing, ceiling).map_err(|widens| Denial {
            field: Some(format!("ceiling.{}", widens.part)),
            ..fault(
                policy,
                code::POLICY_WIDENS,
                format!(
                    "the policy granted {}, which is outside of the issuer's ceiling",
                    widens.what
                ),
            )
        }),
        wit::Verdict::Deny(denial) => Err(denied(policy, &denial)),
    }
}

/// A denial that the host makes because of an error of the policy.
pub(crate) fn fault(policy: &str, code: &str, message: impl Into<String>) -> Denial {
    Denial {
        policy: policy.to_owned(),
        code: code.to_owned(),
        message: message.into(),
        field: None,
        hint: None,
    }
}

/// What two policies have in common.
///
/// # Errors
/// When a part of it is empty: a certificate with no names, no usages or no
/// lifetime is no grant.
pub(crate) fn intersect(sum: Narrowing, next: &Narrowing, policy: &str) -> Result<Narrowing, Denial> {
    let both = Narrowing {
        lifetime: match (sum.lifetime, next.lifetime) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        },
        names: common(sum.names, next.names.as_ref()),
        usages: common(sum.usages, next.usages.as_ref()),
    };
    let empty = if both.lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
        "lifetime"
    } else if both.names.as_ref().is_some_and(Vec::is_empty) {
        "names"
    } else if both.usages.as_ref().is_some_and(Vec::is_empty) {
        "usages"
    } else {
        return Ok(both);
    };
    Err(fault(
        policy,
        code::NOTHING_ALLOWED,
        format!("the policies leave no {empty} to grant"),
    ))
}

fn common<T: PartialEq + Clone>(sum: Option<Vec<T>>, next: Option<&Vec<T>>) -> Option<Vec<T>> {
    match (sum, next) {
        (Some(mut sum), Some(next)) => {
            sum.retain(|item| next.contains(item));
            Some(sum)
        }
        (sum, next) => sum.or_else(|| next.cloned()),
    }
}

/// What of a narrowing is outside of the ceiling.
struct Widens {
    part: &'static str,
    what: String,
}

fn narrow(narrowing: &wit::Narrowing, ceiling: &CeilingFacts) -> Result<Narrowing, Widens> {
    if let Some(seconds) = narrowing.lifetime_seconds
        && seconds > ceiling.max_lifetime_seconds
    {
        return Err(Widens {
            part: "max_lifetime_seconds",
            what: format!("a lifetime of {seconds} s"),
        });
    }
    let names = narrowing.names.as_deref().map(|names| {
        choose(names, &ceiling.names).map_err(|name| Widens {
            part: "names",
            what: format!("the name {:?}", tame(name, MAX_FIELD)),
        })
    });
    let usages = narrowing.usages.as_deref().map(|usages| {
        let usages: Vec<Usage> = usages.iter().copied().map(usage).collect();
        choose(&usages, &ceiling.usages).map_err(|usage| Widens {
            part: "usages",
            what: format!("the usage {usage}"),
        })
    });
    Ok(Narrowing {
        lifetime: narrowing.lifetime_seconds.map(Duration::from_secs),
        names: names.transpose()?,
        usages: usages.transpose()?,
    })
}

/// The ceiling's items that are chosen, in the ceiling's order and once each;
/// the first chosen one that is not the ceiling's is the error.
fn choose<'a, T: PartialEq + Clone>(chosen: &'a [T], ceiling: &[T]) -> Result<Vec<T>, &'a T> {
    match chosen.iter().find(|item| !ceiling.contains(item)) {
        Some(outside) => Err(outside),
        None => Ok(ceiling
            .iter()
            .filter(|item| chosen.contains(item))
            .cloned()
            .collect()),
    }
}

fn usage(usage: wit::Usage) -> Usage {
    match usage {
        wit::Usage::Server => Usage::ServerAuth,
        wit::Usage::Client => Usage::ClientAuth,
    }
}

fn denied(policy: &str, denial: &wit::Denial) -> Denial {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let code = denial.code.as_str();
    let reserved = code.starts_with(RESERVED) || RESERVED_CODES.contains(&code);
    let is_code = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(allowed) && !reserved;
    Denial {
        policy: policy.to_owned(),
        code: if is_code { code } else { code::POLICY_DENIED }.to_owned(),
        message: tame(&denial.message, MAX_MESSAGE),
        field: denial.field.as_deref().map(|field| tame(field, MAX_FIELD)),
        hint: denial.hint.as_deref().map(|hint| tame(hint, MAX_HINT)),
    }
}

#[cfg(test)]
mod tests;
