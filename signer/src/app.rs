//! The front, assembled: what is built, in which order, and how it stops.
//!
//! Everything that a file can get wrong is found before a port is bound. A gate that is away is
//! no such error: HTTP is served, `/readyz` says what is missing, and signing begins when it can.

mod grpc;
mod monitor;
mod reload;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::client::{ClientLimits, GateClient, GateStream};
use sealwright_identity::{SharedClock, TrustBundle};
use sealwright_policy_wasm::{Engine, EngineError, EngineSettings, HostConfig, HostError, PolicyHost};
use sealwright_runtime::drain::Drain;
use sealwright_runtime::http::{self, HttpError, Pages};
use sealwright_runtime::readiness::Readiness;
use sealwright_runtime::tls::{ClientRoots, ServerIdentity, TlsError, server_config};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use crate::acceptor::{self, AcceptorLimits, ServerTls};
use crate::authn::{Authenticators, BuildError as AuthenticatorError};
use crate::authz::Authorizer;
use crate::ca::{CertificateAuthority, Gate};
use crate::catalog::{Catalog, CatalogConfig, CatalogError, SharedCatalog};
use crate::config::{ConfigError, PolicyHostConfig, ServerConfig, SignerConfig};
use crate::csr::CsrVerifier;
use crate::metrics::Metrics;
use crate::service::{Admission, AdmissionLimits, CertificateService, Steps};
use crate::serving::{self, ServingUpkeep};

pub use reload::{ReloadError, Reloader};

/// Calls to the gate in flight.
const GATE_CALLS: usize = 1024;
/// Instance slots beyond one for each policy thread, for instances on their way out.
const SPARE_SLOTS: u32 = 8;

/// Where the front can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// gRPC over TLS.
    pub grpc: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`, `/bundle`.
    pub http: SocketAddr,
}

/// What the process lends to the front.
#[derive(Clone, Debug)]
pub struct Plumbing {
    /// The time.
    pub clock: SharedClock,
    /// The metrics of the process.
    pub metrics: sealwright_runtime::metrics::Metrics,
    /// The readiness of the process.
    pub readiness: Readiness,
}

/// Why the front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting that does not fit another.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The policy engine.
    #[error("the policy engine did not start")]
    Engine(#[from] EngineError),
    /// The policy threads.
    #[error("the policy host did not start")]
    Host(#[from] HostError),
    /// Issuers or policies.
    #[error("issuers and policies cannot be loaded")]
    Catalog(#[from] CatalogError),
    /// Loading ended without a word.
    #[error("loading issuers and policies was cut off")]
    Interrupted,
    /// An authenticator.
    #[error("the authenticators cannot be built")]
    Authenticators(#[from] AuthenticatorError),
    /// An issuer admits callers of an authenticator that is not there.
    #[error(
        "issuers.{issuer}.authenticators: no authenticator is called {authenticator:?}; correct the name, or add it to [[authenticators]]"
    )]
    UnknownAuthenticator {
        /// The issuer.
        issuer: String,
        /// The missing authenticator.
        authenticator: String,
    },
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The gRPC port.
    #[error("cannot listen for gRPC on {address}; choose another server.listen")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP port.
    #[error("the HTTP port cannot be served")]
    Http(#[from] HttpError),
    /// Reflection cannot read our own descriptors.
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Why the front ended other than by being told.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The gRPC server.
    #[error("the gRPC server failed")]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP server.
    #[error("the HTTP server failed")]
    Http(#[from] HttpError),
}

/// The front, bound and not yet serving.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    listener: TcpListener,
    http: http::Bound,
    pages: Pages,
    tls: ServerTls,
    server: grpc::Server,
    upkeep: ServingUpkeep,
    monitor: monitor::Monitor,
    reloader: Reloader,
    settings: ServerConfig,
    metrics: Metrics,
}

impl App {
    /// Reads and verifies everything, starts the policy threads, and binds both ports.
    ///
    /// `streams` yields connections to the gate, one after the other, whenever there is a new one.
    ///
    /// # Errors
    /// On the first thing that cannot work; the text names the key, the file and the fix.
    pub async fn build<S>(
        config: SignerConfig,
        streams: mpsc::Receiver<S>,
        plumbing: Plumbing,
    ) -> Result<Self, BuildError>
    where
        S: Into<GateStream> + Send + 'static,
    {
        config.server.validate()?;
        config.policy_host.validate()?;
        let Plumbing {
            clock,
            metrics: registry,
            readiness,
        } = plumbing;
        let metrics = registry.register(|r| Metrics::register(r, Arc::clone(&clock)));

        let policies = policy_host(&config.policy_host)?;
        metrics.watch_policy_queue(&registry, policies.clone());
        let catalog_config = CatalogConfig {
            trust_domain: config.trust.domain.clone(),
            default_issuer: config.default_issuer.clone(),
            issuers: config.issuers.clone(),
            policies: config.policies.clone(),
        };
        let catalog = load(&catalog_config, policies.engine(), &clock).await?;
        metrics.set_expiries(catalog.expiries());
        let (bundle, bundle_changes) = watch::channel(catalog.trust_bundle(1));
        let catalog = SharedCatalog::new(catalog);

        let authenticators = Arc::new(Authenticators::build(
            &config.authenticators,
            config.trust.clone(),
            bundle_changes.clone(),
            Arc::clone(&clock),
        )?);
        check_authenticator_names(&config, &authenticators)?;

        let client = GateClient::new(
            streams,
            ClientLimits {
                in_flight: GATE_CALLS,
                ..ClientLimits::default()
            },
        );
        let roots = client_roots(&bundle.borrow())?;
        let tls = server_tls(&config.server, &roots, &clock)?;
        let upkeep = ServingUpkeep::new(
            config.server.state.clone(),
            client.clone(),
            tls.identity.clone(),
            bundle_changes,
            Arc::clone(&clock),
            readiness.condition(serving::CONDITION, "there is no serving certificate yet"),
        );
        let monitor = monitor::Monitor::new(
            client.clone(),
            catalog.clone(),
            &readiness,
            Arc::clone(&clock),
            &registry,
        );
        let service = certificate_service(&config, &catalog, &policies, client, &clock, &metrics);
        let admission = Admission::new(
            Arc::clone(&authenticators),
            AdmissionLimits {
                message_bytes: config.server.max_message_bytes,
                buffered_bytes: config.server.max_buffered_bytes,
                request_timeout: config.server.request_timeout.get(),
            },
            metrics.clone(),
        );
        let server = grpc::Server::new(service, admission, &config.server, readiness.clone())?;
        let reloader = Reloader::new(reload::Parts {
            config: catalog_config,
            engine: policies.engine().clone(),
            catalog: catalog.clone(),
            bundle,
            roots,
            authenticators,
            clock,
            metrics: metrics.clone(),
        });

        let address = config.server.listen;
        let bind = |source| BuildError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let http = http::bind(config.http).await?;
        let bound = Bound {
            grpc: listener.local_addr().map_err(bind)?,
            http: http.address(),
        };
        let pages = Pages {
            readiness,
            metrics: registry,
            bundle: Arc::new(move || Some(catalog.current().bundle_pem().into())),
        };
        Ok(Self {
            bound,
            listener,
            http,
            pages,
            tls,
            server,
            upkeep,
            monitor,
            reloader,
            settings: config.server,
            metrics,
        })
    }

    /// The real addresses.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// The readiness of the process, which mirrors whether signing works.
    pub fn readiness(&self) -> &Readiness {
        &self.pages.readiness
    }

    /// Reads issuers, roots, policies and key sets again, for whoever hears SIGHUP.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stop` completes; then finishes what is in flight, within the drain's deadline.
    ///
    /// # Errors
    /// When a server fails by itself.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        info!(grpc = %self.bound.grpc, http = %self.bound.http, "listening");
        let drain = Drain::new();
        let draining = self.pages.readiness.clone();
        let deadline = self.settings.drain_timeout.get();

        // Dropped at the end, which ends these tasks with the front.
        let mut background = JoinSet::new();
        background.spawn(self.upkeep.run());
        background.spawn(self.monitor.run());
        let authenticators = self.reloader.authenticators();
        background.spawn(async move { authenticators.warm_up().await });

        let limits = AcceptorLimits {
            connections: self.settings.max_connections,
            handshakes: handshakes(),
            handshake_timeout: self.settings.handshake_timeout.get(),
        };
        let watcher = drain.watcher();
        let incoming = acceptor::accept(self.listener, self.tls, limits, self.metrics, watcher.token());
        let mut servers: JoinSet<Result<(), RunError>> = JoinSet::new();
        servers.spawn(self.server.serve(incoming, watcher));
        let http = self.http.serve(self.pages, drain.watcher());
        servers.spawn(async move { Ok(http.await?) });

        tokio::pin!(stop);
        tokio::select! {
            () = &mut stop => {}
            // A server that ends unasked without an error was cut off: stop with it.
            ended = servers.join_next() => if let Some(Ok(Err(error))) = ended {
                return Err(error);
            },
        }
        let _condition = draining.condition("server", "it is stopping");
        drain.drain(deadline).await;
        Ok(())
    }
}

fn policy_host(config: &PolicyHostConfig) -> Result<PolicyHost, BuildError> {
    let threads = match config.threads {
        0 => HostConfig::default().threads,
        threads => threads,
    };
    let slots = u32::try_from(threads)
        .unwrap_or(u32::MAX)
        .saturating_add(SPARE_SLOTS);
    let engine = Engine::new(EngineSettings {
        slots,
        epoch_deadline: config.epoch_deadline.get(),
        ..EngineSettings::default()
    })?;
    let queue = config.queue;
    Ok(PolicyHost::start(engine, HostConfig { threads, queue })?)
}

/// Compiling takes seconds of CPU: not on an async worker.
async fn load(config: &CatalogConfig, engine: &Engine, clock: &SharedClock) -> Result<Catalog, BuildError> {
    let (config, engine, now) = (config.clone(), engine.clone(), clock.now());
    let loaded = tokio::task::spawn_blocking(move || Catalog::load(&config, &engine, now, None));
    Ok(loaded.await.map_err(|_cut_off| BuildError::Interrupted)??)
}

fn check_authenticator_names(
    config: &SignerConfig,
    authenticators: &Authenticators,
) -> Result<(), BuildError> {
    for issuer in &config.issuers {
        for name in &issuer.authenticators {
            if !authenticators.names().any(|known| known == name) {
                return Err(BuildError::UnknownAuthenticator {
                    issuer: issuer.name.clone(),
                    authenticator: name.clone(),
                });
            }
        }
    }
    Ok(())
}

fn client_roots(bundle: &TrustBundle) -> Result<ClientRoots, BuildError> {
    let roots = bundle.roots().iter().map(Vec::as_slice);
    Ok(ClientRoots::new(roots)?)
}

fn server_tls(
    config: &ServerConfig,
    roots: &ClientRoots,
    clock: &SharedClock,
) -> Result<ServerTls, BuildError> {
    let identity = ServerIdentity::new();
    let clients = Arc::new(roots.clone());
    let config = server_config(config.tls.min_version, &identity, clients, &[b"h2"], clock)?;
    Ok(ServerTls {
        config: Arc::new(config),
        identity,
    })
}

fn certificate_service(
    config: &SignerConfig,
    catalog: &SharedCatalog,
    policies: &PolicyHost,
    client: GateClient,
    clock: &SharedClock,
    metrics: &Metrics,
) -> CertificateService {
    let gate = Gate::new(client, metrics.clone());
    CertificateService::new(Steps {
        csr: CsrVerifier::new(config.server.max_csr_bytes, metrics.clone()),
        authorizer: Authorizer::new(
            catalog.clone(),
            policies.clone(),
            gate.clone(),
            Arc::clone(clock),
            metrics.clone(),
        ),
        issuer: CertificateAuthority::new(Arc::clone(clock), metrics.clone()),
        gate,
        metrics: metrics.clone(),
    })
}

/// A handshake is some milliseconds of CPU: more at once than this only makes each slower.
fn handshakes() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from) * 32
}

/// The least time between two looks at the gate.
const LOOK: Duration = Duration::from_secs(2);
