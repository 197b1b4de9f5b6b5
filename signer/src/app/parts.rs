//! The parts of the front, each made from its section of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealwright_gate::client::GateClient;
use sealwright_identity::{SharedClock, TrustBundle};
use sealwright_policy_wasm::{CodeOrigins, Engine, EngineSettings, HostConfig, PolicyHost};
use sealwright_runtime::tls::{ClientRoots, ServerIdentity, server_config};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::BuildError;
use crate::acceptor::ServerTls;
use crate::authn::Authenticators;
use crate::authz::{Authorizer, NodeAuthorizer};
use crate::ca::{CertificateAuthority, Gate};
use crate::catalog::{Catalog, CatalogConfig, SharedCatalog};
use crate::config::{PolicyHostConfig, ServerConfig, SignerConfig};
use crate::csr::CsrVerifier;
use crate::front_shadows::FrontShadows;
use crate::metrics::Metrics;
use crate::service::{CertificateService, Steps};
use crate::sets::Sets;

/// Instance slots beyond one for each policy thread, for instances on their way out.
const SPARE_SLOTS: u32 = 8;
/// Of the compiled code, in the front's state folder.
const CODE_FOLDER: &str = "code";

/// Waits until the gate has answered once, or for `limit`. Whether it is ready is no matter: a gate
/// that answers has looked at its configuration, and one that refuses it ends this process.
pub(super) async fn first_word(client: &GateClient, limit: Duration) {
    if limit.is_zero() {
        return;
    }
    let deadline = Instant::now() + limit;
    let mut connection = client.state();
    let heard = async {
        while client.status(deadline).await.is_err() {
            if connection.changed().await.is_err() {
                return;
            }
        }
    };
    if timeout_at(deadline, heard).await.is_err() {
        info!("the gate has not answered yet, serving what needs none");
    }
}

pub(super) fn policy_host(config: &PolicyHostConfig, state: &Path) -> Result<PolicyHost, BuildError> {
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
        code_folder: config.keep_code.then(|| state.join(CODE_FOLDER)),
        ..EngineSettings::default()
    })?;
    let queue = config.queue;
    Ok(PolicyHost::start(engine, HostConfig { threads, queue })?)
}

/// Compiling takes seconds of CPU: not on an async worker.
pub(super) async fn load(
    config: &CatalogConfig,
    engine: &Engine,
    clock: &SharedClock,
) -> Result<Catalog, BuildError> {
    let (config, now) = (config.clone(), clock.now());
    let compiler = engine.clone();
    let started = Instant::now();
    let loaded = tokio::task::spawn_blocking(move || Catalog::load(&config, &compiler, now, None));
    let catalog = loaded.await.map_err(|_cut_off| BuildError::Interrupted)??;
    let CodeOrigins {
        kept,
        compiled,
        refused,
    } = engine.code_origins();
    let took_ms = started.elapsed().as_millis();
    info!(
        kept,
        compiled, refused, took_ms, "issuers and policies are loaded"
    );
    Ok(catalog)
}

pub(super) fn check_authenticator_names(
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

pub(super) fn client_roots(bundle: &TrustBundle) -> Result<ClientRoots, BuildError> {
    let roots = bundle.roots().iter().map(Vec::as_slice);
    Ok(ClientRoots::new(roots)?)
}

pub(super) fn server_tls(
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

/// What a request is decided with.
pub(super) struct Deciding<'a> {
    pub(super) catalog: &'a SharedCatalog,
    pub(super) sets: &'a Sets,
    pub(super) policies: &'a PolicyHost,
    pub(super) front_shadows: &'a FrontShadows,
}

pub(super) fn certificate_service(
    config: &SignerConfig,
    deciding: Deciding<'_>,
    client: GateClient,
    clock: &SharedClock,
    metrics: &Metrics,
) -> CertificateService {
    let Deciding {
        catalog,
        sets,
        policies,
        front_shadows,
    } = deciding;
    let gate = Gate::new(client, metrics.clone());
    CertificateService::new(Steps {
        csr: CsrVerifier::new(config.server.max_csr_bytes, metrics.clone()),
        authorizer: Authorizer::new(
            catalog.clone(),
            sets.clone(),
            policies.clone(),
            gate.clone(),
            Arc::clone(clock),
            metrics.clone(),
        )
        .with_nodes(NodeAuthorizer::watch(
            &config.authenticators,
            &config.trust.domain,
            clock,
        ))
        .with_front_shadows(front_shadows.clone()),
        sets: sets.clone(),
        issuer: CertificateAuthority::new(Arc::clone(clock), metrics.clone()),
        gate,
        metrics: metrics.clone(),
    })
}

/// A handshake is some milliseconds of CPU: more at once than this only makes each slower.
pub(super) fn handshakes() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from) * 32
}
