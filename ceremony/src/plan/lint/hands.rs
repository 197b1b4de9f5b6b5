//! What a plan may not say of a token's own quorum.

use super::{Problem, text_problem};
use crate::plan::TokenPlan;

/// The most people that a token's own quorum may take.
const MOST: u64 = 64;
/// The longest instruction, in bytes.
const LONGEST: usize = 1000;

pub(super) fn quorum_problem(token: &TokenPlan) -> Problem {
    let quorum = token.hsm_quorum.as_ref()?;
    let name = &token.name;
    if token.initialize {
        return Some((
            "hsm_quorum",
            format!(
                "the token {name} is initialised here, and its quorum is set up by the vendor's tool: initialise it there, \
                 and name its `serial`"
            ),
        ));
    }
    if !(1..=MOST).contains(&quorum.threshold) {
        return Some((
            "hsm_quorum",
            format!("the `threshold` of the token {name} is not 1 to {MOST}"),
        ));
    }
    let (_, problem) = text_problem("instruction", &quorum.instruction, LONGEST)?;
    Some((
        "hsm_quorum",
        format!("the `instruction` of the token {name}: {problem}"),
    ))
}
