//! The front's own certificate: asked of the gate, kept with its key, rotated before it ends.
//!
//! The gate alone decides its names and its life. The key is made here and never leaves: the state
//! folder keeps both, so that a front that starts while the token is away can serve with what it
//! has. Without a certificate there is HTTP and no gRPC, and `/readyz` says why.

mod store;

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use sealwright_gate::client::{ClientError, GateClient};
use sealwright_identity::{SharedClock, Timestamp, TrustBundle, Validity};
use sealwright_proto::gate::Issued;
use sealwright_runtime::Chain;
use sealwright_runtime::readiness::Condition;
use sealwright_runtime::tls::{ServerIdentity, TlsError};
use sealwright_x509::CertificateRef;
use sealwright_x509::certificate::CertificateError;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use store::StoreError;

/// One attempt at the gate.
const ATTEMPT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest sleep: a clock that was set, or a machine that slept, is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A serving certificate with its key.
#[derive(Debug)]
struct Serving {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    validity: Validity,
}

/// Why there is no serving certificate, or not a new one.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The key or the request could not be made.
    #[error("no key could be made for the serving certificate")]
    Key(#[source] rcgen::Error),
    /// The gate gave none.
    #[error("the gate issued no serving certificate")]
    Gate(#[from] ClientError),
    /// It cannot be read.
    #[error("the serving certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// It is not of this trust bundle, or not valid now.
    #[error("the serving certificate does not verify against the trust bundle")]
    Untrusted(#[source] rustls::Error),
    /// Key and certificate do not belong together.
    #[error("the serving certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The state folder.
    #[error("the state folder failed")]
    Store(#[from] StoreError),
}

/// Keeps a valid serving certificate in a [`ServerIdentity`].
#[derive(Debug)]
pub struct ServingUpkeep {
    folder: PathBuf,
    gate: GateClient,
    identity: ServerIdentity,
    bundle: watch::Receiver<TrustBundle>,
    clock: SharedClock,
    condition: Condition,
    /// Of the certificate in use.
    current: Option<Validity>,
}

impl ServingUpkeep {
    /// An upkeep that has not begun.
    pub fn new(
        folder: PathBuf,
        gate: GateClient,
        identity: ServerIdentity,
        bundle: watch::Receiver<TrustBundle>,
        clock: SharedClock,
        condition: Condition,
    ) -> Self {
        Self {
            folder,
            gate,
            identity,
            bundle,
            clock,
            condition,
            current: None,
        }
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        self.restore();
        loop {
            match self.current {
                Some(current) if !self.is_due(current) => {
                    if self.rest(current).await {
                        // What is served may not be of the new bundle any more.
                        self.restore();
                    }
                }
                Some(_) | None => self.renew().await,
            }
        }
    }

    /// Puts the stored certificate in use, if it still serves.
    fn restore(&mut self) {
        let bundle = self.bundle.borrow_and_update().clone();
        let restored = match store::load(&self.folder) {
            Ok(None) => return,
            Ok(Some((chain, key))) => {
                check(chain, key, &bundle, self.clock.now()).and_then(|serving| self.serve(&serving))
            }
            Err(error) => Err(error.into()),
        };
        match restored {
            Ok(()) => info!("the stored serving certificate is in use"),
            Err(error) => {
                warn!(error = %Chain(&error), "the stored serving certificate is of no use");
                self.current = None;
                self.lapse("there is no serving certificate yet");
            }
        }
    }

    fn serve(&mut self, serving: &Serving) -> Result<(), ServingError> {
        self.identity
            .set(serving.chain.clone(), serving.key.clone_key())?;
        self.current = Some(serving.validity);
        self.condition.ready();
        Ok(())
    }

    /// Asks until there is a new certificate. The old one serves meanwhile, as long as it is valid.
    async fn renew(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut connection = self.gate.state();
        loop {
            connection.mark_unchanged();
            if self.gate.is_connected() {
                match self.obtain().await {
                    Ok(()) => return,
                    Err(error) => {
                        warn!(error = %Chain(&error), "no new serving certificate");
                        self.lapse(Chain(&error).to_string());
                    }
                }
            } else {
                self.lapse("the gate is not running");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                // A gate that has just come back is worth an attempt at once.
                Ok(()) = connection.changed() => pause = FIRST_PAUSE,
            }
        }
    }

    async fn obtain(&mut self) -> Result<(), ServingError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(ServingError::Key)?;
        let request = CertificateParams::default()
            .serialize_request(&pair)
            .map_err(ServingError::Key)?;
        let deadline = Instant::now() + ATTEMPT;
        let issued = self.gate.serving(request.der().to_vec(), deadline).await?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let bundle = self.bundle.borrow().clone();
        let serving = check(chain(issued), key, &bundle, self.clock.now())?;
        self.serve(&serving)?;
        info!(not_after = %serving.validity.not_after(), "a new serving certificate is in use");
        if let Err(error) = store::save(&self.folder, &serving.chain, &serving.key) {
            // It serves all the same; after a restart there will be none.
            warn!(error = %Chain(&error), "the serving certificate could not be kept");
        }
        Ok(())
    }

    /// Stops serving with a certificate that has ended, and says why there is no other.
    fn lapse(&mut self, reason: impl Into<String>) {
        let now = self.clock.now();
        if self.current.is_some_and(|current| now < current.not_after()) {
            return;
        }
        self.current = None;
        self.identity.clear();
        self.condition.not_ready(reason);
    }

    /// Sleeps a while; `true` when the bundle changed meanwhile.
    async fn rest(&mut self, current: Validity) -> bool {
        let left = due(current).saturating_since(self.clock.now());
        let sleep = left.min(LONGEST_SLEEP);
        tokio::select! {
            () = tokio::time::sleep(sleep) => false,
            changed = self.bundle.changed() => {
                if changed.is_err() {
                    // Nobody replaces the bundle any more: the front is stopping.
                    tokio::time::sleep(sleep).await;
                }
                changed.is_ok()
            }
        }
    }

    fn is_due(&self, current: Validity) -> bool {
        due(current) <= self.clock.now()
    }
}

/// Two thirds of its life are over.
fn due(validity: Validity) -> Timestamp {
    validity.not_before().saturating_add(validity.duration() / 3 * 2)
}

fn chain(issued: Issued) -> Vec<CertificateDer<'static>> {
    std::iter::once(issued.certificate)
        .chain(issued.intermediates)
        .map(|der| CertificateDer::from(der.to_vec()))
        .collect()
}

/// Whether this certificate can be served with: it verifies against the bundle, now.
fn check(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    bundle: &TrustBundle,
    now: Timestamp,
) -> Result<Serving, ServingError> {
    let (leaf, intermediates) = chain.split_first().ok_or(TlsError::EmptyChain)?;
    let parsed = ParsedCertificate::try_from(leaf).map_err(ServingError::Untrusted)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        bundle
            .roots()
            .iter()
            .map(|der| CertificateDer::from(der.as_slice())),
    );
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or_default();
    let algorithms = sealwright_runtime::tls::provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        algorithms.all,
    )
    .map_err(ServingError::Untrusted)?;
    let validity = CertificateRef::parse(leaf)?.validity();
    Ok(Serving { chain, key, validity })
}

/// A shared reason for readiness to name.
pub(crate) const CONDITION: &str = "serving certificate";

#[cfg(test)]
mod tests;
