//! The front of Sealwright: the certificate service that speaks Istio's protocol.
//!
//! It owns the network, the authenticators and the policies. It holds no CA key, no PIN and no
//! writer of the ledger: what it wants signed it hands to the gate, which checks everything again.
//!
//! The invariant of one request (`service.rs`): each step needs a value that only the step before
//! can make, so leaving a check out does not compile. The modules in the order of that request:
//! [`acceptor`], [`authn`], [`service`], [`csr`], [`authz`] (which asks the policies of [`sets`]), [`ca`].
//! [`app`] puts them together.

#![forbid(unsafe_code)]

pub mod acceptor;
pub mod app;
pub mod authn;
pub mod authz;
pub mod ca;
pub mod catalog;
pub mod config;
pub mod csr;
mod front_shadows;
pub mod metrics;
pub mod policies;
pub mod service;
pub mod serving;
pub mod sets;
#[cfg(test)]
mod testing;

pub use app::{App, Bound, Plumbing};
pub use config::SignerConfig;
