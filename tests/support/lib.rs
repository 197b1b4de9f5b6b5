//! What the integration tests share: a signer started as a user starts it, and clients of it.
//!
//! Everything goes through the `sealwright` binary and the wire; nothing here links the signer, the
//! gate or the token. Each signer has a home of its own in a temporary folder, hence a token of its
//! own: two processes on one SoftHSM token race.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test support: a failure here is a failed test"
)]

pub mod ceremony;
pub mod client;
pub mod command;
pub mod csr;
pub mod edges;
pub mod fault;
pub mod home;
pub mod issued;
pub mod jwt;
pub mod load;
pub mod openssl;
pub mod pdf;
pub mod remote;
pub mod serving;
pub mod signer;
pub mod signing;
pub mod tokens;

pub use client::{Client, Metadata};
pub use command::{Outcome, dev_token, roster_of_one, run, who_allowed};
pub use csr::Csr;
pub use home::Home;
pub use issued::Issued;
pub use jwt::Forge;
pub use serving::{Process, Serving, within};
pub use signer::{Signer, shared};
