//! What a failure of wasmtime means: a policy's doing, which denies, or the
//! host's, which aborts. Told apart by type, never by text.

use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::{
    AbortReason, Denial, combine,
    decision::code,
    guard::{HostFault, from_the_system},
};

/// What a failed call means.
pub(super) enum Failure {
    /// The policy's doing, and the same every time.
    Denies(Denial),
    /// Not the policy's doing, or not repeatable.
    Aborts(AbortReason),
}

/// The meaning of a failed call of an export.
pub(super) fn of_call(policy: &str, error: &wasmtime::Error) -> Failure {
    let denies = |code, message: String| Failure::Denies(combine::fault(policy, code, message));
    match (error.downcast_ref::<Trap>(), error.downcast_ref::<HostFault>()) {
        (Some(Trap::Interrupt), _) => Failure::Aborts(AbortReason::Epoch),
        (Some(Trap::OutOfFuel), _) => denies(code::POLICY_FUEL, "the policy used up its fuel".to_owned()),
        (Some(trap), _) => denies(code::POLICY_TRAP, format!("the policy failed: {trap}")),
        (None, Some(HostFault::Log)) => {
            denies(code::POLICY_LOG, "the policy logged more than it may".to_owned())
        }
        (None, Some(HostFault::Memory)) => Failure::Aborts(AbortReason::Memory),
        // What is left comes from reading the answer: text that is not UTF-8, a
        // pointer out of bounds, more bytes than may be handed over.
        (None, None) => denies(
            code::POLICY_OUTPUT,
            "the policy's answer is malformed or too large".to_owned(),
        ),
    }
}

/// The meaning of a failed instantiation. The component could be instantiated
/// when it was loaded, so it is not the policy's doing.
pub(super) fn of_instantiation(error: &wasmtime::Error) -> AbortReason {
    if error.is::<PoolConcurrencyLimitError>() {
        AbortReason::PoolFull
    } else if from_the_system(error) || error.is::<HostFault>() {
        AbortReason::Memory
    } else {
        AbortReason::Instantiation
    }
}
