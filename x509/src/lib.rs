//! X.509 for Sealwright: requests are parsed, certificates built, linted and verified. Pure: no I/O, no clock,
//! no private key, no PKCS#11.
//!
//! Whoever issues goes through it in this order: [`VerifiedCsr`] (who holds a key), [`LeafTbs`] (the exact
//! bytes), [`lint_leaf`]; at the gate [`LeafTbs::decode`], [`ceiling::check`]; after signing
//! [`IssuerChain::verify`] and [`LeafTbs::assemble`]. The invariant that all of it serves: the bytes of a
//! certificate are built from granted fields by one profile, never taken over from an applicant.

#![forbid(unsafe_code)]

mod algorithm;
mod asn1;
pub mod authority;
pub mod ceiling;
pub mod certificate;
pub mod csr;
mod extensions;
pub mod issuer;
pub mod lint;
pub mod name;
mod oids;
pub mod pem;
pub mod request;
pub mod spki;
pub mod tbs;
mod time;
pub mod verify;

use std::time::Duration;

pub use algorithm::SignatureAlgorithm;
pub use asn1::Malformed;
pub use authority::{AuthorityExtensions, AuthorityFields, AuthorityTbs};
pub use ceiling::CeilingViolation;
pub use certificate::CertificateRef;
pub use csr::{CsrError, CsrFacts, CsrLimits, VerifiedCsr};
pub use extensions::ExtensionsError;
pub use issuer::{ChainError, IssuerChain};
pub use lint::{Finding, lint_authority, lint_leaf};
pub use request::{RequestFields, RequestTbs};
pub use spki::SpkiRef;
pub use tbs::{LeafFields, LeafKind, LeafTbs, TbsError};
pub use time::TimeError;
pub use verify::verify_signature;

/// How far notBefore lies before the moment of issuance, for clocks that are behind.
pub const BACKDATING: Duration = Duration::from_secs(120);

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
