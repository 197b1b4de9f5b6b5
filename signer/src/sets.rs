//! What decides: the policy set in force, as the front runs it.
//!
//! The gate holds sets, revisions and modules, and says which set is in force. Here they are loaded
//! from it, held against their digests, compiled, and put in force whole ([`ActiveSet`]). It is no
//! opinion of what may decide: the gate compares each decision with its own list.
//!
//! A request takes the set once, when it is authorized. A gate that has another one in force answers
//! so; [`SetKeeper`] then loads it, once for all who wait, and they decide again: no request fails over
//! a switch.

mod active;
mod keeper;
mod load;

pub use active::{ActiveSet, Asked, Deciders};
pub use keeper::{SetChanges, SetKeeper, Sets};
pub use load::{SetError, limits};
