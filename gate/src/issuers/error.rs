//! Why issuers or policies could not be loaded: the key, the file, and what to do.

use std::io;
use std::path::PathBuf;

use sealwright_identity::{Digest, KeyType};
use sealwright_x509::issuer::ChainError;

/// A file that the configuration names does not serve.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// A file cannot be read.
    #[error("{key}: cannot read {}; make it exist and readable", path.display())]
    Unreadable {
        /// The configuration key.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be what the key asks for.
    #[error("{key}: {} is larger than {limit} bytes; name the right file", path.display())]
    TooLarge {
        /// The configuration key.
        key: String,
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A chain does not verify.
    #[error(
        "issuers.{issuer}: {} and {} are no valid chain; put the issuing certificate first, then each that signed the one before, up to a root of the bundle",
        chain.display(),
        roots.display()
    )]
    Chain {
        /// The issuer's name.
        issuer: String,
        /// The chain's file.
        chain: PathBuf,
        /// The root bundle's file.
        roots: PathBuf,
        /// What does not hold.
        #[source]
        source: Box<ChainError>,
    },
    /// No leaf is signed with a key of that kind.
    #[error(
        "issuers.{issuer}.chain: the issuing certificate of {} has a key of the type {key_type}, with which no leaf is signed; take an issuing CA with a p256 or p384 key below that one",
        chain.display()
    )]
    KeyType {
        /// The issuer's name.
        issuer: String,
        /// The chain's file.
        chain: PathBuf,
        /// The kind of the issuing key.
        key_type: KeyType,
    },
    /// A certificate comes from a rehearsed key ceremony.
    #[error(
        "issuers.{issuer}.chain: {} or its bundle has a certificate from the rehearsal of a key ceremony; take one from a ceremony in earnest, or write rehearsal = true in every [[issuers]] of an installation that nobody relies on",
        chain.display()
    )]
    Rehearsal {
        /// The issuer's name.
        issuer: String,
        /// The chain's file.
        chain: PathBuf,
    },
    /// A module is not the one that was pinned.
    #[error(
        "policies.{policy}.digest: {} has {found}, not {expected}; restore the file or change the digest",
        path.display()
    )]
    Digest {
        /// The policy's name.
        policy: String,
        /// The module's file.
        path: PathBuf,
        /// The configured digest.
        expected: Digest,
        /// The file's digest.
        found: Digest,
    },
    /// Settings have no canonical form.
    #[error(
        "policies.{policy}.settings: they have no canonical JSON form; use strings, whole numbers, lists and tables"
    )]
    Settings {
        /// The policy's name.
        policy: String,
        /// What the serializer said.
        #[source]
        source: serde_json::Error,
    },
    /// An issuer lists a policy that is not configured.
    #[error("issuers.{issuer}.policies: no policy is called {policy:?}; add it or correct the name")]
    UnknownPolicy {
        /// The issuer's name.
        issuer: String,
        /// The missing policy.
        policy: String,
    },
    /// The keys that callers are verified with cannot be used.
    #[error("gate.verify_caller.{authenticator}.jwks_file: {} is no usable key set", path.display())]
    Keys {
        /// The authenticator.
        authenticator: String,
        /// The file.
        path: PathBuf,
        /// What does not hold.
        #[source]
        source: sealwright_jwt::KeySetError,
    },
    /// The default issuer is not configured.
    #[error("default_issuer: no issuer is called {name:?}; name one of [[issuers]]")]
    Unknown {
        /// The missing issuer.
        name: String,
    },
}
