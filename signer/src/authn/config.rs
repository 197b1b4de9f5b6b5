//! The `[[authenticators]]` sections of the configuration, checked when they are read.
//!
//! Each kind has keys of its own; a key of another kind is refused, not ignored. Errors
//! name the authenticator, the key and the fix.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use sealwright_identity::HumanDuration;
use serde::Deserialize;

pub use sealwright_jwt::{Algorithm, NodeAccount, NodeAccountError, SubjectForm};

pub use self::clusters::{ClusterAccess, ClusterConfig, TokenReviewConfig};

/// One authenticator.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct AuthenticatorConfig {
    /// The name that issuers, policies and the log know it by.
    pub name: String,
    /// Constant attributes of everyone it vouches for, shown to policies.
    pub attributes: BTreeMap<String, String>,
    /// What it looks at.
    pub kind: AuthenticatorKind,
    /// Whether the tokens are handed over to the gate, as `[[gate.verify_caller]]` asks for. Not
    /// of this section.
    pub hands_over: bool,
}

/// What an authenticator looks at.
#[derive(Clone, Debug)]
pub enum AuthenticatorKind {
    /// The connection's client certificate, against the trust bundle.
    ClientCertificate,
    /// The bearer token, as a JWT of one issuer.
    Jwt(Box<JwtConfig>),
    /// The bearer token, by asking the API server of the caller's cluster.
    TokenReview(Box<TokenReviewConfig>),
}

/// A `jwt` authenticator.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The `iss` of its tokens, compared as it stands.
    pub issuer: String,
    /// A token must be for one of these; at least one.
    pub audiences: Vec<String>,
    /// Where the issuer's keys come from.
    pub keys: KeyLocation,
    /// How keys are fetched from a server.
    pub fetch: FetchConfig,
    /// Signature algorithms that are accepted; all supported ones by default.
    pub algorithms: Vec<Algorithm>,
    /// How `sub` becomes an identity.
    pub subject: SubjectForm,
    /// How far ahead the issuer's clock may be (`nbf`, `iat`); 60 s by default.
    /// It never prolongs a token: `exp` is kept to the letter.
    pub clock_skew: Duration,
    /// After this time keys are fetched again while the old ones serve; 10 min by default.
    pub refresh_interval: Duration,
    /// The least time between two fetches, whatever the callers send; 10 s by default.
    pub refresh_cooldown: Duration,
    /// Keys are used at most this long after they were fetched; 24 h by default. Not for files.
    pub max_stale: Duration,
    /// Verified tokens that are kept, so that one that comes again is not verified again; 0
    /// keeps none.
    pub cache_entries: usize,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// A JWK set in a file, read at start, on SIGHUP and on an unknown `kid`.
    File(PathBuf),
    /// A JWK set behind a URL.
    Url(Url),
    /// OpenID Connect discovery: the document under the issuer's URL names the JWK set.
    Discovery(Url),
}

/// How keys are fetched from a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchConfig {
    /// PEM certificates that the server is verified with, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A bearer token for the server, read at every fetch, as a Kubernetes API server
    /// asks for. Sent to the configured host only: where an API server's discovery document
    /// names its own address, `jwks_url` with the path `/openid/v1/jwks` is the way.
    pub bearer_token_file: Option<PathBuf>,
    /// Allows `http://` to a loopback address (127.0.0.0/8, ::1), for an issuer beside
    /// the signer and for tests. Everything else is https.
    pub allow_http_loopback: bool,
}

/// What is wrong with an `[[authenticators]]` section.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be used in a list or a log line.
    #[error("authenticators: name {name:?} is not usable: take 1 to 64 letters, digits, '-', '_' or '.'")]
    Name {
        /// The name given.
        name: String,
    },
    /// A key that this kind needs is missing.
    #[error("authenticator {name:?}: {key} is missing: {fix}")]
    Missing {
        /// The authenticator.
        name: String,
        /// The missing key.
        key: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A key that has no meaning here.
    #[error("authenticator {name:?}: {key} means nothing {place}: remove it")]
    Misplaced {
        /// The authenticator.
        name: String,
        /// The key.
        key: &'static str,
        /// Where it stands.
        place: &'static str,
    },
    /// A value that cannot be used.
    #[error("authenticator {name:?}: {key}: {problem}")]
    Value {
        /// The authenticator.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl AuthenticatorConfig {
    /// The paths in this section, to be resolved against the configuration file's folder.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let (jwt, review) = match &mut self.kind {
            AuthenticatorKind::Jwt(jwt) => (Some(&mut **jwt), None),
            AuthenticatorKind::TokenReview(review) => (None, Some(&mut **review)),
            AuthenticatorKind::ClientCertificate => (None, None),
        };
        let clusters = review.into_iter().flat_map(|review| &mut review.clusters);
        let accesses = clusters.map(|cluster| cluster.access.path_mut());
        let of_jwt = jwt.into_iter().flat_map(|jwt| {
            let file = match &mut jwt.keys {
                KeyLocation::File(path) => Some(path),
                KeyLocation::Url(_) | KeyLocation::Discovery(_) => None,
            };
            file.into_iter()
                .chain(jwt.fetch.ca_file.as_mut())
                .chain(jwt.fetch.bearer_token_file.as_mut())
        });
        of_jwt.chain(accesses)
    }
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    kind: RawKind,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    discovery: Option<bool>,
    ca_file: Option<PathBuf>,
    bearer_token_file: Option<PathBuf>,
    allow_http_loopback: Option<bool>,
    algorithms: Option<Vec<Algorithm>>,
    subject: Option<SubjectForm>,
    clock_skew: Option<HumanDuration>,
    refresh_interval: Option<HumanDuration>,
    refresh_cooldown: Option<HumanDuration>,
    max_stale: Option<HumanDuration>,
    clusters: Option<Vec<clusters::RawCluster>>,
    deadline: Option<HumanDuration>,
    cache_for: Option<HumanDuration>,
    cache_entries: Option<usize>,
    max_in_flight: Option<usize>,
    max_waiting: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    ClientCertificate,
    Jwt,
    TokenReview,
}

mod check;
mod clusters;
