//! What the host makes of a component's answer, without a component.
//!
//! For tools that try many answers, such as the fuzz targets. It is the host's own judgement and not a copy.

use crate::{CeilingFacts, Denial, Narrowing, combine};

/// An answer as a component gives it.
pub mod said {
    pub use crate::bindings::sealwright::policy::types::{Denial, Narrowing, Usage, Verdict};
}

/// The host's view of one policy's answer.
///
/// # Errors
/// When the policy denied, or granted something outside of the ceiling.
pub fn judge(policy: &str, answer: said::Verdict, ceiling: &CeilingFacts) -> Result<Narrowing, Denial> {
    combine::verdict(policy, answer, ceiling)
}

/// What two policies have in common.
///
/// # Errors
/// When nothing is left of names, usages or lifetime.
pub fn intersect(sum: Narrowing, next: &Narrowing, policy: &str) -> Result<Narrowing, Denial> {
    combine::intersect(sum, next, policy)
}
