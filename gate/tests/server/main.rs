//! The whole gate on a real SoftHSM token: the honest path, a front that was taken over,
//! and what the gate does when its surroundings fail.
//!
//! Each test runs in a process of its own (see [`world::alone`]).

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod callers;
mod der;
mod honest;
mod hostile;
mod renewals;
mod sets;
mod surroundings;
mod tokens;
mod world;
