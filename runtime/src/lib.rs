//! Process plumbing that the front, the gate and the command line share.
//!
//! It knows nothing of certificates, tokens or policies. What it keeps: a process says why it
//! is not ready, stops within a deadline, never waits without bound, and can be confined.

pub mod chain;
pub mod config;
pub mod drain;
pub mod http;
pub mod metrics;
pub mod process;
pub mod readiness;
pub mod signals;
pub mod supervisor;
pub mod telemetry;
pub mod tls;

pub use chain::Chain;
