//! Why a signer ended a connection: asked again, by hand.
//!
//! With TLS 1.3 a client has finished its handshake before its certificate is judged, so the alert
//! arrives when the request is under way, and the HTTP client reports no more than an end. This makes
//! the handshake once more and reads what comes: the alert.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How long an alert is waited for.
const WAIT: Duration = Duration::from_secs(3);

/// The alert that the signer answers a client certificate with; `None` when it takes it, or for any
/// other trouble.
pub(super) async fn alert(
    server: &str,
    host: &str,
    roots: &[u8],
    chain: &[u8],
    key: &[u8],
) -> Option<rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        store.add(root.ok()?).ok()?;
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .ok()?;
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    let mut config = ClientConfig::builder_with_provider(sealwright_runtime::tls::provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(store)
        .with_client_auth_cert(chain, key)
        .ok()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let judged = async {
        let stream = TcpStream::connect(server).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // A server that takes the certificate speaks next: HTTP/2 begins with its settings.
        stream.read_u8().await
    };
    let error = timeout(WAIT, judged).await.ok()?.err()?;
    let alert = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(alert, rustls::Error::AlertReceived(_)).then(|| alert.clone())
}
