//! TLS for servers: one provider, a certificate and client roots that can be replaced while serving.
//!
//! What a client certificate proves is checked here once, at the handshake; rustls does not check
//! again on a resumed session or a kept-alive connection, so whoever authenticates requests must.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sealwright_identity::SharedClock;
use serde::Deserialize;

/// The cryptography of every TLS endpoint: aws-lc-rs. Also set as the process's default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    let install = || {
        // An error means that one is set already: at most one crate of the process does this.
        let _earlier = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let default = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        CryptoProvider::get_default().map_or_else(default, Arc::clone)
    };
    Arc::clone(PROVIDER.get_or_init(install))
}

/// `tls.min_version`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        static NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &NEWEST,
        }
    }
}

/// A server's settings over replaceable parts.
///
/// # Errors
/// When the provider lacks a version, or the system its random generator.
pub fn server_config(
    min_version: MinVersion,
    identity: &ServerIdentity,
    clients: Arc<dyn ClientCertVerifier>,
    alpn: &[&[u8]],
    clock: &SharedClock,
) -> Result<ServerConfig, TlsError> {
    let time: Arc<dyn TimeProvider> = Arc::new(ClockTime(Arc::clone(clock)));
    let mut config = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(min_version.versions())
        .map_err(|source| TlsError::Config { source })?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(identity.clone()));
    // Tickets, not sessions kept here: they cost no memory, however many clients there are, and in
    // TLS 1.2 many clients, Go's among them, know nothing else.
    config.ticketer =
        rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|source| TlsError::Config { source })?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// rustls's view of our clock.
#[derive(Debug)]
struct ClockTime(SharedClock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}

/// The server's own certificate and key. Clones share them; without one, handshakes fail.
#[derive(Clone, Default)]
pub struct ServerIdentity(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl ServerIdentity {
    /// No certificate yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a chain (leaf first) and its key in the place of those before. Connections go on.
    ///
    /// # Errors
    /// When the key cannot be used or is not the leaf's. What was there before stays.
    pub fn set(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), TlsError> {
        if chain.is_empty() {
            return Err(TlsError::EmptyChain);
        }
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|source| TlsError::Identity { source })?;
        *self.0.write() = Some(Arc::new(certified));
        Ok(())
    }

    /// Takes the certificate away.
    pub fn clear(&self) {
        *self.0.write() = None;
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.read().is_some()
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerIdentity").field(&self.is_set()).finish()
    }
}

/// Verifies a client's certificate, if it sends one, against roots that can be replaced.
#[derive(Clone, Debug)]
pub struct ClientRoots(Arc<RwLock<Arc<dyn ClientCertVerifier>>>);

impl ClientRoots {
    /// Trusts these roots (DER).
    ///
    /// # Errors
    /// When a root is no certificate or there is none.
    pub fn new<'a>(roots: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(verifier(roots)?))))
    }

    /// Trusts these roots instead, from the next handshake on.
    ///
    /// # Errors
    /// As [`Self::new`]. What was there before stays.
    pub fn set<'a>(&self, roots: impl IntoIterator<Item = &'a [u8]>) -> Result<(), TlsError> {
        *self.0.write() = verifier(roots)?;
        Ok(())
    }

    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.read())
    }
}

fn verifier<'a>(roots: impl IntoIterator<Item = &'a [u8]>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(CertificateDer::from(root))
            .map_err(|source| TlsError::Root { source })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|source| TlsError::Verifier { source })
}

impl ClientCertVerifier for ClientRoots {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: the hint cannot be replaced, and clients of ours hold one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

/// Why TLS cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No settings.
    #[error("TLS cannot be configured")]
    Config {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No certificate where one is needed.
    #[error("the serving chain has no certificate")]
    EmptyChain,
    /// The certificate and the key are no pair.
    #[error("the serving certificate and key cannot be used together")]
    Identity {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A root is no certificate.
    #[error("a certificate of the trust bundle cannot be used as a root")]
    Root {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The bundle is empty.
    #[error("client certificates cannot be verified with this trust bundle")]
    Verifier {
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (
            certificate.der().clone(),
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
    }

    #[test]
    fn keeps_the_good_certificate_when_the_next_does_not_fit() {
        let identity = ServerIdentity::new();
        assert!(!identity.is_set());
        let (certificate, key) = pair("a.example");
        identity.set(vec![certificate.clone()], key).unwrap();
        let (_, other_key) = pair("b.example");
        let refused = identity.set(vec![certificate], other_key);
        assert!(matches!(refused, Err(TlsError::Identity { .. })));
        assert!(identity.is_set());
        assert!(matches!(
            identity.set(vec![], pair("c.example").1),
            Err(TlsError::EmptyChain)
        ));
    }

    #[test]
    fn keeps_the_good_roots_when_the_next_are_none() {
        let (root, _) = pair("root.example");
        let roots = ClientRoots::new([root.as_ref()]).unwrap();
        assert!(roots.set([&b"nonsense"[..]]).is_err());
        assert!(roots.set([]).is_err());
        assert!(!roots.client_auth_mandatory());
    }
}
