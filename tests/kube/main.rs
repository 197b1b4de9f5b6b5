//! A real Kubernetes API server, real bound tokens, the real binary: `make test-kube`.
//!
//! Every test is ignored unless it is asked for, since the server takes minutes to build once.
//! `scripts/test-kube.sh` builds it, names it in the environment, and ends whatever a test that
//! was killed left running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failed test"
)]

mod cluster;
mod nodes;
mod outages;
mod review;
mod signer;
mod tokens;
