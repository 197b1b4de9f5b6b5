//! Programs that nobody here wrote, against the real binary: `make test-istio`.
//!
//! Istio's own client library and its pilot-agent, grpcurl, zlint, and a peer that has nothing but
//! Go's standard library. Every test is ignored unless it is asked for, since the programs take
//! minutes to build once. `scripts/test-istio.sh` builds them and names their folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failed test"
)]

mod agent;
mod client;
mod edges;
mod go;
mod grpcurl;
mod lint;
mod program;
