//! Tokens of workloads: taken apart, verified with an issuer's keys, turned into identities.
//!
//! Front and gate both verify tokens, each for itself and with keys of its own configuration;
//! this is the one implementation of it. It is not an authenticator: where the keys come from,
//! and what is done with an identity, is its users' to say. No I/O, no clock.
//!
//! `jsonwebtoken` verifies the signature and nothing else. Which algorithms may be used, which
//! key fits, and every claim (RFC 7519 section 4.1; `exp nbf iat iss aud sub` are all required)
//! are decided here. `none` and the HMAC family cannot be named by [`Algorithm`], so no token
//! can choose them. The header's `jku`, `jwk`, `x5u` and `x5c` are ignored; `crit` is refused
//! (RFC 7515 section 4.1.11).
//!
//! The invariant: a [`Verified`] is made by [`Verifier::verify`] alone, and whoever is handed one
//! was told the time and the claims were held against it. The token itself is in no error and no
//! `Debug` output.

mod algorithm;
mod cache;
mod claims;
mod compact;
mod facts;
mod keys;
mod subject;
mod trust;
mod unverified;
mod verifier;

pub use algorithm::Algorithm;
pub use claims::{Claims, Error as ClaimsError, Rules, Times};
pub use compact::{Error as CompactError, JsonError, Token};
pub use facts::{KubernetesFacts, NodeAccount, NodeAccountError, ObjectRef};
pub use keys::{Error as KeySetError, Key, KeySet, SelectError};
pub use subject::{
    Error as SubjectError, SubjectForm, is_dns_label, is_dns_subdomain, map as map_subject, service_account,
};
pub use trust::{Error as TrustError, Recognized, Trust};
pub use unverified::Unverified;
pub use verifier::{Candidate, Error, Settings, TokenEvidence, Verified, Verifier};
