use futures::StreamExt;
use prometheus_client::registry::Registry;
use rcgen::KeyPair;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sealwright_runtime::tls::{ClientRoots, MinVersion, provider, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsConnector, client};
use tonic::transport::server::Connected;

use super::*;
use crate::testing::{TestPki, clock, end_entity};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

struct Server {
    pki: TestPki,
    address: SocketAddr,
    incoming: Incoming,
    registry: Registry,
    stop: CancellationToken,
}

fn pair(
    pki: &TestPki,
    uris: &[&str],
    dns: &[&str],
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let leaf = pki.issue(&end_entity(uris, dns), &key);
    let chain = [leaf, pki.issuing_der.clone()].map(CertificateDer::from).to_vec();
    (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn limits(connections: usize, handshake_timeout: Duration) -> AcceptorLimits {
    AcceptorLimits {
        connections,
        handshakes: 1,
        handshake_timeout,
        authentication_timeout: PATIENT,
        answer_timeout: PATIENT,
    }
}

async fn server(min_version: MinVersion, connections: usize, patience: Duration) -> Server {
    server_with(min_version, limits(connections, patience)).await
}

async fn server_with(min_version: MinVersion, limits: AcceptorLimits) -> Server {
    let pki = TestPki::new();
    let identity = ServerIdentity::new();
    let (chain, key) = pair(&pki, &[], &["localhost"]);
    identity.set(chain, key).unwrap();
    let clients = Arc::new(ClientRoots::new([pki.root_der.as_slice()]).unwrap());
    let config = server_config(min_version, &identity, clients, &[b"h2"], &clock()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::default();
    let stop = CancellationToken::new();
    let incoming = accept(
        listener,
        ServerTls {
            config: Arc::new(config),
            identity,
        },
        limits,
        Metrics::register(&mut registry, clock()),
        stop.clone(),
    );
    Server {
        pki,
        address,
        incoming,
        registry,
        stop,
    }
}

const PATIENT: Duration = Duration::from_secs(60);

impl Server {
    async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        client: Option<&TestPki>,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.pki.root_der.clone().into()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            Some(pki) => {
                let (chain, key) = pair(pki, &[CART], &[]);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn count(&self, line: &str) -> bool {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page.lines().any(|l| l == line)
    }

    /// What is read until the server closes.
    async fn until_closed(mut stream: TcpStream) -> usize {
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes).await;
        bytes.len()
    }
}

const ALL: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn a_session_comes_with_its_peer() {
    for versions in [ALL, OLD] {
        let mut server = server(MinVersion::Tls12, 4, PATIENT).await;
        let without = server.connect(versions, None).await.unwrap();
        assert_eq!(without.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let peer = server.incoming.next().await.unwrap().unwrap().connect_info().peer;
        assert!(peer.tls.as_ref().unwrap().chain.is_empty());
        let with = server.connect(versions, Some(&server.pki)).await.unwrap();
        let peer = server.incoming.next().await.unwrap().unwrap().connect_info().peer;
        assert_eq!(peer.tls.as_ref().unwrap().chain.len(), 2);
        assert_eq!(peer.addr, with.get_ref().0.local_addr().unwrap());
    }
}

#[tokio::test]
async fn foreign_certificates_and_old_versions_end_at_the_handshake() {
    let server = server(MinVersion::Tls13, 4, PATIENT).await;
    server.connect(OLD, None).await.unwrap_err();
    // In TLS 1.3 the client is done before the server has judged its certificate.
    let mut foreign = server.connect(ALL, Some(&TestPki::new())).await.unwrap();
    foreign.read(&mut [0]).await.unwrap_err();
    assert!(server.count("sealwright_tls_handshake_failures_total{reason=\"tls\"} 2"));
}

#[tokio::test]
async fn one_connection_above_the_bound_is_closed() {
    let mut server = server(MinVersion::Tls12, 1, PATIENT).await;
    let first = server.connect(ALL, None).await.unwrap();
    let io = server.incoming.next().await.unwrap().unwrap();
    let second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(Server::until_closed(second).await, 0);
    assert!(server.count("sealwright_connections_refused_total{reason=\"limit\"} 1"));
    assert!(server.count("sealwright_connections 1"));
    drop((first, io));
    assert!(server.count("sealwright_connections 0"));
    server.connect(ALL, None).await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_closed_at_the_deadline() {
    let server = server(MinVersion::Tls12, 4, Duration::from_millis(1)).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(Server::until_closed(silent).await, 0);
    assert!(server.count("sealwright_tls_handshake_failures_total{reason=\"timeout\"} 1"));
}

#[tokio::test]
async fn a_stopped_loop_listens_no_more() {
    let mut server = server(MinVersion::Tls12, 4, PATIENT).await;
    server.stop.cancel();
    assert!(server.incoming.next().await.is_none());
    TcpStream::connect(server.address).await.unwrap_err();
}

/// The first flight of a client that sends nothing after it.
fn hello(server: &Server) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(server.pki.root_der.clone().into()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(ALL)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut flight = Vec::new();
    client.write_tls(&mut flight).unwrap();
    flight
}

#[tokio::test]
async fn who_stalls_a_handshake_holds_up_nobody() {
    // The only turn there is.
    let mut server = server(MinVersion::Tls12, 8, PATIENT).await;
    let flight = hello(&server);
    let mut stalled = Vec::new();
    for sent in [&flight[..1], &flight[..flight.len() - 1], &flight[..]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stalled.push(stream);
    }
    server.connect(ALL, None).await.unwrap();
    server.incoming.next().await.unwrap().unwrap();
    assert!(server.count("sealwright_tls_handshake_failures_total{reason=\"timeout\"} 0"));
}

#[tokio::test]
async fn a_connection_that_stays_a_strangers_ends() {
    let limits = AcceptorLimits {
        authentication_timeout: Duration::from_millis(1),
        ..limits(4, PATIENT)
    };
    let mut server = server_with(MinVersion::Tls12, limits).await;
    let _client = server.connect(ALL, None).await.unwrap();
    let mut io = server.incoming.next().await.unwrap().unwrap();
    let error = io.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    // Nor can a peer that reads nothing hold it open.
    io.write_all(b"late").await.unwrap_err();
    io.shutdown().await.unwrap_err();
    assert!(server.count("sealwright_connections_unauthenticated_total 1"));
}

#[tokio::test]
async fn a_connection_with_an_authenticated_caller_stays() {
    let limits = AcceptorLimits {
        authentication_timeout: Duration::from_millis(1),
        ..limits(4, PATIENT)
    };
    let mut server = server_with(MinVersion::Tls12, limits).await;
    let mut client = server.connect(ALL, None).await.unwrap();
    let mut io = server.incoming.next().await.unwrap().unwrap();
    io.connect_info().standing.vouch(1);
    let mut byte = [0];
    let (read, written) = tokio::join!(io.read(&mut byte), client.write_all(b"x"));
    assert_eq!(read.unwrap(), 1);
    written.unwrap();
    assert!(server.count("sealwright_connections_unauthenticated_total 0"));
}

#[tokio::test]
async fn a_peer_that_takes_none_of_its_answers_is_closed() {
    let limits = AcceptorLimits {
        answer_timeout: Duration::from_millis(20),
        ..limits(4, PATIENT)
    };
    let mut server = server_with(MinVersion::Tls12, limits).await;
    let _client = server.connect(ALL, None).await.unwrap();
    let mut io = server.incoming.next().await.unwrap().unwrap();
    let standing = io.connect_info().standing;
    standing.vouch(1);
    let _unsent = standing.answer();
    let error = io.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    io.write_all(b"late").await.unwrap_err();
    assert!(server.count("sealwright_connections_stalled_total 1"));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed_when_no_more_fits() {
    let limits = AcceptorLimits {
        answer_timeout: Duration::from_millis(50),
        ..limits(4, PATIENT)
    };
    let mut server = server_with(MinVersion::Tls12, limits).await;
    let _client = server.connect(ALL, None).await.unwrap();
    let io = server.incoming.next().await.unwrap().unwrap();
    io.connect_info().standing.vouch(1);
    let (mut reader, mut writer) = tokio::io::split(io);
    let writing = async { while writer.write_all(&[0; 65536]).await.is_ok() {} };
    let (read, ()) = tokio::join!(async { reader.read(&mut [0]).await.unwrap_err() }, writing);
    assert_eq!(read.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_peer_that_takes_its_answers_slowly_stays() {
    let limits = AcceptorLimits {
        answer_timeout: Duration::from_millis(600),
        ..limits(4, PATIENT)
    };
    let mut server = server_with(MinVersion::Tls12, limits).await;
    let mut client = server.connect(ALL, None).await.unwrap();
    let mut io = server.incoming.next().await.unwrap().unwrap();
    let standing = io.connect_info().standing;
    standing.vouch(1);
    let slowly = async {
        // One is always waiting, and each is taken before the next look.
        let mut waiting = standing.answer();
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            waiting = standing.answer();
        }
        drop(waiting);
        client.write_all(b"x").await.unwrap();
    };
    let mut byte = [0];
    let (read, ()) = tokio::join!(io.read(&mut byte), slowly);
    assert_eq!(read.unwrap(), 1);
    assert!(server.count("sealwright_connections_stalled_total 0"));
}
