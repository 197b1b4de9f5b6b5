//! Where key sets come from: a file, a URL, or OpenID Connect discovery.
//!
//! A server is asked over https (http to a loopback address where the configuration allows
//! it), within a deadline, for at most 1 MiB, and is followed to no other host. A discovery
//! document counts only if its `issuer` is the configured one (OpenID Connect Discovery 1.0
//! section 4.3). No proxy of the environment is used.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{StatusCode, Url};
use sealwright_jwt::{KeySet, KeySetError, Unverified};
use tokio::io::AsyncReadExt as _;

use self::server::{Server, Target};
use crate::authn::access::{self, Access};
use crate::authn::config::{JwtConfig, KeyLocation};

mod server;

/// Larger documents are refused while they are read.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// Tells a document of the largest size from a larger one.
const READ_LIMIT: u64 = MAX_DOCUMENT_BYTES as u64 + 1;
/// For one key set, discovery included: below the time that a request has.
const DEADLINE: Duration = Duration::from_secs(8);
/// Where every API server has its keys, whatever its discovery document says.
const CLUSTER_KEYS: &str = "/openid/v1/jwks";

/// Why an issuer's keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The CA file is not PEM certificates.
    #[error("ca_file {} does not hold PEM certificates", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The token file has no token in it.
    #[error("bearer_token_file {} does not hold a token", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
    },
    /// No HTTP client can be made.
    #[error("cannot set up an HTTPS client")]
    Client(#[source] reqwest::Error),
    /// The server could not be asked, or did not answer in time or in order.
    #[error("cannot fetch {url}")]
    Request {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's answer is not 200.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// A cluster's API server did not give its keys.
    #[error("cannot fetch the keys of the cluster's API server")]
    Cluster(#[source] Box<access::Error>),
    /// It took too long in all.
    #[error("the key set was not there within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The document is too large.
    #[error("{from} is larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge {
        /// File or URL.
        from: String,
    },
    /// The discovery document cannot be read.
    #[error("{url} is not an OpenID Connect discovery document")]
    Discovery {
        /// Where it came from.
        url: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The discovery document is another issuer's.
    #[error("{url} is of issuer {found}, not of {expected:?}")]
    DiscoveryIssuer {
        /// Where it came from.
        url: String,
        /// Its `issuer`.
        found: Unverified,
        /// The configured issuer.
        expected: String,
    },
    /// The discovery document's `jwks_uri` may not be followed.
    #[error("{url} has a jwks_uri that is not https: {found}")]
    DiscoveryUri {
        /// Where it came from.
        url: String,
        /// Its `jwks_uri`.
        found: Unverified,
    },
    /// The document is no usable key set.
    #[error("{from} is not a usable key set")]
    Keys {
        /// File or URL.
        from: String,
        /// Why.
        #[source]
        source: KeySetError,
    },
}

/// Whether keys may be fetched from `url`.
pub(crate) fn is_fetchable(url: &Url, allow_http_loopback: bool) -> bool {
    let plain = url.username().is_empty() && url.password().is_none();
    let scheme = match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => allow_http_loopback && is_loopback(host),
        _ => false,
    };
    plain && scheme
}

/// An address and not a name: what `localhost` means is for a resolver to say.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

/// Reads an issuer's key set from where it is kept.
#[derive(Debug)]
pub(super) enum Fetcher {
    File(PathBuf),
    Server(Box<Server>),
    Cluster(Arc<Access>),
}

impl Fetcher {
    pub(super) fn new(config: &JwtConfig) -> Result<Self, Error> {
        let target = match &config.keys {
            KeyLocation::File(path) => return Ok(Self::File(path.clone())),
            KeyLocation::Url(url) => Target::Keys(url.clone()),
            KeyLocation::Discovery(url) => Target::Discovery {
                issuer: config.issuer.clone(),
                url: server::discovery_url(url),
            },
        };
        let server = Server::new(&config.fetch, target)?;
        Ok(Self::Server(Box::new(server)))
    }

    pub(super) async fn fetch(&self) -> Result<KeySet, Error> {
        let fetch = async {
            match self {
                Self::File(path) => parse(path.display().to_string(), &read(path).await?),
                Self::Server(server) => server.fetch().await,
                Self::Cluster(access) => {
                    let keys = access.get(CLUSTER_KEYS, MAX_DOCUMENT_BYTES).await;
                    let keys = keys.map_err(|source| Error::Cluster(Box::new(source)))?;
                    parse(CLUSTER_KEYS.to_owned(), &keys)
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, fetch).await;
        in_time.unwrap_or(Err(Error::Deadline))
    }

    /// Reads a file while nothing else runs yet.
    pub(super) fn fetch_at_start(&self) -> Result<Option<KeySet>, Error> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let failed = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
            .map_err(failed)?;
        let from = path.display().to_string();
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(Error::TooLarge { from });
        }
        parse(from, &bytes).map(Some)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(READ_LIMIT)
        .read_to_end(&mut bytes)
        .await
        .map_err(failed)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let from = path.display().to_string();
        return Err(Error::TooLarge { from });
    }
    Ok(bytes)
}

fn parse(from: String, document: &[u8]) -> Result<KeySet, Error> {
    KeySet::parse(document).map_err(|source| Error::Keys { from, source })
}
