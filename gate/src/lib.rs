//! The gate: the one process that owns the certificate authority's key and the ledger.
//!
//! Two halves live here. The default half is what the front links: the wire
//! [`protocol`], the [`client`], and the parts of the [`config`]uration both processes
//! read ([`issuers`] loads chains, ceilings and policy lists from it). It knows neither
//! PKCS#11 nor the database.
//!
//! The other half, [`server`] (feature `server`), is the gate itself. It trusts nothing
//! the front says: a request is parsed again, checked against the gate's own copy of the
//! issuer's ceiling and policy list, recorded, and only then signed and verified.
//!
//! The invariant: no value that can reach the key exists without a durable record of it.

pub mod client;
pub mod config;
pub mod issuers;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
