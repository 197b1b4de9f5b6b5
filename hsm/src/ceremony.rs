//! A token in the hands of a ceremony: one thing at a time, each asked for by name, on one session.
//!
//! What a running service needs (pools, repairs, deadlines) is not here, and what is here no service uses. The
//! values follow each other: a [`ModuleFile`] is opened and hashed, the [`CeremonyModule`] is that very file
//! loaded, a [`SeenToken`] was found in it, and only an [`Officer`] is logged in. Nothing is retried, and the PIN
//! has the same marker as everywhere: one that was refused is not tried again.
//!
//! What is signed is a [`crate::Signable`], as for everybody.

pub(crate) mod facts;
mod file;
mod module;
pub(crate) mod officer;
mod pad;

pub use self::{
    facts::{ObjectSummary, Reported, TokenFacts},
    file::{MappedFile, ModuleFile, hash_file},
    module::{CeremonyModule, SeenToken},
    officer::{Officer, PairCount},
};
pub use crate::order::{Expected, KeyOrder, deviations, mechanism_name};
