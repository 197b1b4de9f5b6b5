//! The authenticators from outside: what they accept, what they refuse and why.

mod client_certificates;
mod configuration;
mod key_sources;
mod order;
pub(super) mod support;
mod token_review;
mod tokens;
