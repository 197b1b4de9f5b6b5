//! Integration tests through the real binary: real sockets, real components, a real token.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failed test"
)]

mod audit;
mod authentication;
mod authoring;
mod boundary;
mod callers;
mod ceremony;
mod certificate;
mod cli;
mod config;
mod confinement;
mod crash;
mod csr;
mod documents;
mod edges;
mod faults;
mod hsm;
mod interop;
mod kryoptic;
mod ledger;
mod overload;
mod policy;
mod policy_sets;
mod prune;
mod renewal;
mod secrets;
mod serve;
mod signing;
mod soak;
mod wire;
