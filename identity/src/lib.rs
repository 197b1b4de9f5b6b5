//! The vocabulary of workload identity: trust domains, SPIFFE IDs, names, lifetimes, digests, time.
//!
//! This crate does no I/O (the system clock and the system generator excepted), knows no wire format
//! and no certificate. Its invariant: a value that exists is valid. Every type is built by parsing,
//! prints back to what it was parsed from, and cannot be altered afterwards.

#![forbid(unsafe_code)]

pub mod ceiling;
pub mod clock;
pub mod digest;
pub mod dns;
pub mod duration;
pub mod key_type;
pub mod recent;
pub mod san;
pub mod serial;
pub mod spiffe;
mod text;
pub mod timestamp;
pub mod trust_bundle;
pub mod trust_domain;
pub mod usage;
pub mod validity;
pub mod workload;

pub use ceiling::{Ceiling, CommonName};
pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use digest::{Digest, DigestError};
pub use dns::{DnsName, DnsNameError, DnsPattern};
pub use duration::{DurationError, HumanDuration, SignedDuration};
pub use key_type::{KeyType, KeyTypeError};
pub use recent::Recent;
pub use san::San;
pub use serial::{SerialError, SerialNumber};
pub use spiffe::{SpiffeId, SpiffeIdError};
pub use timestamp::{Timestamp, TimestampError};
pub use trust_bundle::TrustBundle;
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use usage::{Usage, UsageError};
pub use validity::{Validity, ValidityError};
pub use workload::{Identity, IdentityError};
