//! Who is asked about a request, by the set in force.

use sealwright_identity::{San, SpiffeId};
use sealwright_policy_wasm::{Decision, Outcome};

use super::{Case, Offer};
use crate::sets::{ActiveSet, Deciders};

/// The deciders of a certificate with these SPIFFE IDs; none without a set, so nothing is issued.
pub(super) fn about(set: Option<&ActiveSet>, case: &Case<'_>, ids: &[SpiffeId]) -> Deciders {
    set.and_then(|set| set.deciders(&case.issuer.name, ids))
        .unwrap_or_default()
}

/// The SPIFFE IDs of the certificate that a decision comes to, for callers of several identities.
///
/// The gate knows only the certificate, and computes its list from the names in there.
pub(super) fn ids_of_outcome(case: &Case<'_>, decision: &Decision) -> Option<Vec<SpiffeId>> {
    let Outcome::Allow(narrowing) = &decision.outcome else {
        return None;
    };
    if case.caller.identities().len() < 2 {
        return None;
    }
    let terms = Offer::of(case).narrowed(narrowing).ok()?;
    let ids = terms.names.into_iter().filter_map(|name| match name {
        San::Uri(id) => Some(id),
        _ => None,
    });
    Some(ids.collect())
}
