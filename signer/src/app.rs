//! The front, assembled: what is built, in which order, and how it stops.
//!
//! Everything that a file can get wrong is found before a port is bound. A gate that is away is
//! no such error: HTTP is served, `/readyz` says what is missing, and signing begins when it can.

mod error;
mod grpc;
mod monitor;
mod parts;
mod reload;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::client::{ClientLimits, GateClient, GateStream};
use sealwright_identity::SharedClock;
use sealwright_runtime::drain::Drain;
use sealwright_runtime::http::{self, Pages};
use sealwright_runtime::readiness::Readiness;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use crate::acceptor::{self, AcceptorLimits, ServerTls};
use crate::authn::Authenticators;
use crate::ca::Gate;
use crate::catalog::{CatalogConfig, SharedCatalog};
use crate::config::{ServerConfig, SignerConfig};
use crate::front_shadows::FrontShadows;
use crate::metrics::Metrics;
use crate::policies::{Door, Explainer, Judges, PolicyAdministration, Roles};
use crate::service::{Admission, AdmissionLimits, IdentityRate};
use crate::serving::{self, ServingUpkeep};
use crate::sets::{SetKeeper, Sets};

pub use error::{BuildError, RunError};
pub use reload::{ReloadError, Reloader};

/// Calls to the gate in flight.
const GATE_CALLS: usize = 1024;
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
    /// How long the gate is waited for before a port is bound, so that a configuration that it
    /// refuses is refused before anything is bound. A gate that is away does not stop the front.
    pub gate_first: Duration,
    /// Processes that judge modules, where somebody starts them.
    pub judges: Option<Judges>,
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
    keeper: SetKeeper,
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
            gate_first,
            judges,
        } = plumbing;
        let metrics = registry.register(|r| Metrics::register(r, Arc::clone(&clock)));

        let policies = parts::policy_host(&config.policy_host, &config.server.state)?;
        metrics.watch_policy_queue(&registry, policies.clone());
        let catalog_config = CatalogConfig {
            trust_domain: config.trust.domain.clone(),
            default_issuer: config.default_issuer.clone(),
            issuers: config.issuers.clone(),
            policies: config.policies.clone(),
        };
        let catalog = parts::load(&catalog_config, policies.engine(), &clock).await?;
        metrics.set_expiries(catalog.expiries());
        let (bundle, bundle_changes) = watch::channel(catalog.trust_bundle(1));
        let catalog = SharedCatalog::new(catalog);

        let authenticators = Arc::new(Authenticators::build(
            &config.authenticators,
            config.trust.clone(),
            bundle_changes.clone(),
            Arc::clone(&clock),
        )?);
        parts::check_authenticator_names(&config, &authenticators)?;

        let client = GateClient::new(
            streams,
            ClientLimits {
                in_flight: GATE_CALLS,
                ..ClientLimits::default()
            },
        );
        let roots = parts::client_roots(&bundle.borrow())?;
        let tls = parts::server_tls(&config.server, &roots, &clock)?;
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
        let sets = Sets::new(client.clone(), policies.engine().clone());
        let mut keeper = SetKeeper::new(
            sets.clone(),
            readiness.condition("policies", "the policy set in force is not known yet"),
        );
        parts::first_word(&client, gate_first).await;
        keeper.first(gate_first).await;
        let gate = Gate::new(client.clone(), metrics.clone());
        let rate = config
            .server
            .identity_rate
            .map(|rate| IdentityRate::new(rate, gate, Arc::clone(&clock), metrics.clone()));
        let administrated = client.clone();
        let front_shadows = FrontShadows::new(
            config.policy_host.front_shadows,
            Arc::clone(&clock),
            metrics.clone(),
        );
        let deciding = parts::Deciding {
            catalog: &catalog,
            sets: &sets,
            policies: &policies,
            front_shadows: &front_shadows,
        };
        let service = parts::certificate_service(&config, deciding, client, &clock, &metrics);
        let admission = Admission::new(
            Arc::clone(&authenticators),
            AdmissionLimits {
                message_bytes: config.server.max_message_bytes,
                csr_bytes: config.server.max_csr_bytes,
                buffered_bytes: config.server.max_buffered_bytes,
                // What is let in finds room in the next queue.
                in_work: config.server.max_in_work.min(config.policy_host.queue),
                request_timeout: config.server.request_timeout.get(),
            },
            rate,
            metrics.clone(),
        );
        metrics.watch_load(&registry, admission.clone());
        let signing = service.signing(&config.server, Arc::clone(&clock));
        let roles = Roles::new(&config.policy_roles)?;
        let explainer = Explainer::new(
            sets.clone(),
            policies.clone(),
            catalog.clone(),
            Arc::clone(&clock),
            config.server.max_csr_bytes,
        );
        let administration = (!roles.is_empty()).then(|| {
            let door = Door::new(Arc::clone(&authenticators), roles);
            (
                door,
                PolicyAdministration::new(administrated, sets.clone(), judges, front_shadows, explainer),
            )
        });
        let server = grpc::Server::new(
            service,
            signing,
            administration,
            admission,
            &config.server,
            readiness.clone(),
        )?;
        let reloader = Reloader::new(reload::Parts {
            config: catalog_config,
            engine: policies.engine().clone(),
            catalog: catalog.clone(),
            bundle,
            roots,
            authenticators,
            clock,
            metrics: metrics.clone(),
            sets,
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
            keeper,
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
        background.spawn(self.keeper.run());
        let authenticators = self.reloader.authenticators();
        background.spawn(async move { authenticators.warm_up().await });

        let limits = AcceptorLimits {
            connections: self.settings.max_connections,
            handshakes: parts::handshakes(),
            handshake_timeout: self.settings.handshake_timeout.get(),
            authentication_timeout: self.settings.authentication_timeout.get(),
            answer_timeout: self.settings.request_timeout.get(),
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

#[cfg(test)]
mod tests;
