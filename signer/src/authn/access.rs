//! The way to one cluster's API server: a `kube` client out of a kubeconfig file or a pod's own token.
//!
//! A kubeconfig is read again when its content changes, and on SIGHUP; one that cannot be used
//! leaves the client before in place. In a cluster, `kube` itself follows the rotation of the
//! pod's token and CA. What would weaken the answer is refused: programs run for a credential,
//! unverified TLS, a proxy, plain HTTP.
//!
//! The credentials in the file are in no error and no log line: where `kube` would quote the
//! file, its words are left out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{InClusterError, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use parking_lot::Mutex;
use sealwright_identity::{Digest, SharedClock, Timestamp};
use tower::{BoxError, ServiceBuilder};

use super::config::{ClusterAccess, ClusterConfig};
use super::failure::Causes;
use super::jwt::is_fetchable;

/// How often a kubeconfig is looked at, while somebody asks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// No kubeconfig is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why an API server cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read kubeconfig {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("kubeconfig {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a kubeconfig. It may hold credentials, so it is not quoted.
    #[error("{} is not a kubeconfig", path.display())]
    NotKubeconfig {
        /// The file.
        path: PathBuf,
    },
    /// The current context does not lead to a server and a user.
    #[error("the current context of kubeconfig {} cannot be used", path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The process does not run in a pod, or has no token there.
    #[error("in_cluster = true needs a pod with a service account token")]
    InCluster(#[source] Box<InClusterError>),
    /// The file asks for something that is not done here.
    #[error("{what} is not supported: {fix}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// What to do instead.
        fix: &'static str,
    },
    /// Certificates or credentials do not make a client.
    #[error("no client can be made")]
    Client(#[source] Box<kube::Error>),
    /// The server could not be reached, or hung up.
    #[error("the API server cannot be reached")]
    Send(#[source] Box<kube::Error>),
    /// The server's answer is not 200.
    #[error("the API server answered {status}")]
    Status {
        /// The answer.
        status: StatusCode,
    },
    /// The answer broke off, or is too large.
    #[error("the API server's answer broke off or is larger than {limit} bytes")]
    Body {
        /// The limit.
        limit: usize,
    },
    /// Reading was cut off by the end of the process.
    #[error("reading was cut off")]
    Interrupted,
}

/// What was read, and of what.
struct Loaded {
    config: Config,
    /// Of the file; none in a cluster, where there is nothing to compare.
    content: Option<Digest>,
}

/// The way to one API server.
pub(crate) struct Access {
    place: Place,
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Clone)]
struct Place {
    access: ClusterAccess,
    allow_http_loopback: bool,
}

struct State {
    loaded: Loaded,
    /// Made on first use: a client lives on an executor, and a configuration is checked without.
    client: Option<Client>,
    looked: Timestamp,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("access", &self.place.access)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the configuration now; asks nobody.
    ///
    /// # Errors
    /// When the file, or the pod's own token, cannot be used.
    pub(crate) fn new(cluster: &ClusterConfig, clock: SharedClock) -> Result<Self, Error> {
        let place = Place {
            access: cluster.access.clone(),
            allow_http_loopback: cluster.allow_http_loopback,
        };
        let state = Mutex::new(State {
            loaded: place.load()?,
            client: None,
            looked: clock.now(),
        });
        Ok(Self { place, clock, state })
    }

    /// The client for short calls. It has no deadline and no retry of its own, and logs nothing.
    ///
    /// # Errors
    /// When credentials that were good at the start no longer make a client.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        if self.is_time_to_look()
            && let Err(error) = self.reload().await
        {
            tracing::warn!(access = ?self.place.access, error = %Causes(&error), "the kubeconfig before stays");
        }
        let mut state = self.state.lock();
        if let Some(client) = &state.client {
            return Ok(client.clone());
        }
        let client = short_calls(&state.loaded.config)?;
        state.client = Some(client.clone());
        Ok(client)
    }

    /// What is at a path, at most so many bytes. The caller has the deadline.
    ///
    /// # Errors
    /// When the server does not answer, or with anything but 200 and so many bytes.
    pub(crate) async fn get(&self, path: &'static str, limit: usize) -> Result<Bytes, Error> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(path);
        let response = self.client().await?.send(request).await;
        let response = response.map_err(|source| Error::Send(Box::new(source)))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(Error::Status { status });
        }
        let body = Limited::new(response.into_body(), limit).collect().await;
        Ok(body.map_err(|_error| Error::Body { limit })?.to_bytes())
    }

    /// A client for watches. A server that is silent for longer than [`READ_TIMEOUT`] is given
    /// up, so no watch may last as long.
    ///
    /// # Errors
    /// When no client can be made.
    pub(crate) fn watch_client(&self) -> Result<Client, Error> {
        let mut config = self.state.lock().loaded.config.clone();
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(ClientBuilder::try_from(config).map_err(failed)?.build())
    }

    /// Reads the configuration again, and says whether it differs.
    ///
    /// # Errors
    /// When it cannot be used; the one before stays.
    pub(crate) async fn reload(&self) -> Result<bool, Error> {
        self.state.lock().looked = self.clock.now();
        let place = self.place.clone();
        let loaded = tokio::task::spawn_blocking(move || place.load());
        let loaded = loaded.await.map_err(|_cut_off| Error::Interrupted)??;
        let mut state = self.state.lock();
        let differs = loaded.content != state.loaded.content;
        if differs {
            state.loaded = loaded;
            state.client = None;
            drop(state);
            tracing::info!(access = ?self.place.access, "kubeconfig read again");
        }
        Ok(differs)
    }

    fn is_time_to_look(&self) -> bool {
        if matches!(self.place.access, ClusterAccess::InCluster(_)) {
            return false;
        }
        let now = self.clock.now();
        let looked = self.state.lock().looked;
        // A clock that was set back does not stop it.
        now < looked || now.saturating_since(looked) >= LOOK_EVERY
    }
}

impl Place {
    fn load(&self) -> Result<Loaded, Error> {
        let loaded = match &self.access {
            ClusterAccess::Kubeconfig(path) => from_file(path)?,
            ClusterAccess::InCluster(_) => Loaded {
                config: Config::incluster()
                    .or_else(|_no_environment| Config::incluster_dns())
                    .map_err(|source| Error::InCluster(Box::new(source)))?,
                content: None,
            },
        };
        self.refuse_weak(&loaded.config)?;
        // Certificates and credentials, without a client: that one needs an executor.
        connector(&loaded.config)?;
        loaded.config.auth_layer().map_err(failed)?;
        Ok(loaded)
    }

    fn refuse_weak(&self, config: &Config) -> Result<(), Error> {
        let unsupported = |what, fix| Err(Error::Unsupported { what, fix });
        if config.auth_info.exec.is_some() {
            return unsupported(
                "a user with `exec`",
                "give the user a token, a tokenFile or a certificate",
            );
        }
        if config.auth_info.auth_provider.is_some() {
            return unsupported(
                "a user with `auth-provider`",
                "give the user a token, a tokenFile or a certificate",
            );
        }
        if config.accept_invalid_certs {
            return unsupported(
                "`insecure-skip-tls-verify`",
                "name the server's CA in certificate-authority-data",
            );
        }
        if config.proxy_url.is_some() {
            return unsupported("`proxy-url`", "name an address that is reached directly");
        }
        let url = config.cluster_url.to_string();
        let fetchable =
            reqwest::Url::parse(&url).is_ok_and(|url| is_fetchable(&url, self.allow_http_loopback));
        if !fetchable {
            return unsupported(
                "an API server without TLS",
                "write https://HOST as the cluster's server",
            );
        }
        Ok(())
    }
}

fn from_file(path: &Path) -> Result<Loaded, Error> {
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
        return Err(Error::TooLarge {
            path: path.to_owned(),
        });
    }
    let content = Digest::of(&std::fs::read(path).map_err(read)?);
    // Reads the file itself, in order to resolve the paths in it against its folder. Should it
    // be replaced in between, the next look finds other bytes than these and reads it again.
    let kubeconfig = Kubeconfig::read_from(path).map_err(|_would_quote_the_file| Error::NotKubeconfig {
        path: path.to_owned(),
    })?;
    let config = Config::try_from(kubeconfig).map_err(|source| Error::Context {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Loaded {
        config,
        content: Some(content),
    })
}

/// As `kube` makes it, less its retries and its error line for each failed call: a stranger's
/// token must not make either.
fn short_calls(config: &Config) -> Result<Client, Error> {
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector(config)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(failed)?)
        .layer(config.extra_headers_layer().map_err(failed)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn connector(config: &Config) -> Result<impl Connect + Clone + Send + Sync + 'static, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    config.rustls_https_connector_with_connector(http).map_err(failed)
}

fn failed(source: kube::Error) -> Error {
    Error::Client(Box::new(source))
}
