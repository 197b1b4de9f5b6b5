//! SIGHUP: everything that files say is read again, and taken whole or not at all.

use std::sync::Arc;

use sealwright_identity::{SharedClock, TrustBundle};
use sealwright_policy_wasm::Engine;
use sealwright_runtime::Chain;
use sealwright_runtime::tls::{ClientRoots, TlsError};
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

use crate::authn::Authenticators;
use crate::catalog::{Catalog, CatalogConfig, CatalogError, SharedCatalog};
use crate::metrics::Metrics;
use crate::sets::Sets;

/// What a reload reads, and where it puts it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: CatalogConfig,
    pub(super) engine: Engine,
    pub(super) catalog: SharedCatalog,
    pub(super) bundle: watch::Sender<TrustBundle>,
    pub(super) roots: ClientRoots,
    pub(super) authenticators: Arc<Authenticators>,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) sets: Sets,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Issuers or policies.
    #[error("issuers and policies cannot be loaded; those before stay")]
    Catalog(#[from] CatalogError),
    /// The new roots cannot verify clients.
    #[error("the trust bundle cannot be used; the one before stays")]
    Roots(#[from] TlsError),
    /// Loading ended without a word.
    #[error("loading was cut off")]
    Interrupted,
}

/// Reloads. Clones share one lock: reloads run one after the other.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    running: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            running: Mutex::new(()),
        }))
    }

    pub(super) fn authenticators(&self) -> Arc<Authenticators> {
        Arc::clone(&self.0.parts.authenticators)
    }

    /// Reads issuers, roots, policies and key sets again. The configuration itself is not read.
    ///
    /// # Errors
    /// When anything but a key set does not serve; nothing has changed then. A key set that does
    /// not serve is logged, and the one before stays.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let _one_at_a_time = self.0.running.lock().await;
        for (name, error) in self.0.parts.authenticators.reload().await {
            warn!(authenticator = name, error = %Chain(&error), "keys could not be reloaded");
        }
        let outcome = self.0.parts.replace().await;
        self.0.parts.metrics.reloaded(outcome.is_ok());
        match &outcome {
            Ok(()) => info!("issuers, roots and policies were reloaded"),
            Err(error) => error!(error = %Chain(error), "the reload failed"),
        }
        outcome
    }
}

impl Parts {
    async fn replace(&self) -> Result<(), ReloadError> {
        let (config, engine) = (self.config.clone(), self.engine.clone());
        let (before, now) = (self.catalog.current(), self.clock.now());
        let loaded = tokio::task::spawn_blocking(move || Catalog::load(&config, &engine, now, Some(&before)));
        let catalog = loaded.await.map_err(|_cut_off| ReloadError::Interrupted)??;
        let roots = catalog.roots();
        self.roots.set(roots.iter().map(Vec::as_slice))?;
        self.metrics.set_expiries(catalog.expiries());
        self.catalog.replace(catalog);
        self.sets.look();
        self.bundle.send_if_modified(|bundle| {
            let next = TrustBundle::from_ders(bundle.generation() + 1, roots);
            let changed = next.digest() != bundle.digest();
            if changed {
                *bundle = next;
            }
            changed
        });
        Ok(())
    }
}
