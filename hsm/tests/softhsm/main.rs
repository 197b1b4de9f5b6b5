//! The crate against a real SoftHSM.
//!
//! SoftHSM finds its configuration by an environment variable only, and a
//! module is one for a whole process. So each test is this binary once more, as
//! a child with its own variable and its own token folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, in their helpers too"
)]

#[macro_use]
mod support;

mod hang;
mod pin;
mod repair;
mod restore;
mod select;
mod signing;
