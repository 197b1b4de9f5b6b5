//! Issued certificates in the hands of OpenSSL: mutual TLS among workloads, and our own port.

use sealwright_tests::{
    Csr, Issued, Signer, csr,
    openssl::{self, Server, Tls},
    shared,
};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
const API: &str = "spiffe://cluster.local/ns/default/sa/api";

/// Sent to `s_server -rev`, which answers `olleh` and closes.
const HELLO: &[u8] = b"hello\nCLOSE\n";

#[tokio::test]
async fn openssl_peers_accept_each_other_and_resume() {
    let server = Issued::of(shared(), "api", Csr::pilot_agent(API, csr::rsa2048())).await;
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    let listening = Server::start(&server);
    for version in Tls::BOTH {
        let file = web.folder().join("session");
        let file = file.to_str().unwrap();
        let connect = |option| {
            let more = [option, file];
            openssl::client(listening.address(), version, Some(&web), &web, &more, HELLO)
        };
        let first = connect("-sess_out");
        assert!(!first.resumed());
        assert!(first.said.contains("olleh"), "{}", first.said);
        assert!(first.said.contains(version.name()), "{}", first.said);
        let second = connect("-sess_in");
        assert!(second.resumed(), "{}", second.said);
        assert!(second.said.contains("olleh"), "{}", second.said);
    }
    assert!(
        listening.log().contains("Verification: OK"),
        "{}",
        listening.log()
    );
}

#[tokio::test]
async fn openssl_peers_of_every_kind_of_key_shake_hands() {
    let web = Issued::of(shared(), "web", Csr::pilot_agent(WEB, csr::ed25519())).await;
    for key in [csr::p256(), csr::p384(), csr::ed25519(), csr::rsa2048()] {
        let server = Server::start(&Issued::of(shared(), "api", Csr::pilot_agent(API, key)).await);
        for version in Tls::BOTH {
            let session = openssl::client(server.address(), version, Some(&web), &web, &[], HELLO);
            assert!(session.good && session.said.contains("olleh"), "{}", session.said);
        }
    }
}

#[tokio::test]
async fn openssl_peers_refuse_strangers() {
    let stranger = Signer::dev(&[]);
    let foreign = Issued::of(&stranger, "web", Csr::ztunnel(WEB)).await;
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    let server = Server::start(&Issued::of(shared(), "api", Csr::ztunnel(API)).await);
    for version in Tls::BOTH {
        for own in [None, Some(&foreign)] {
            let session = openssl::client(server.address(), version, own, &web, &[], HELLO);
            assert!(!session.said.contains("olleh"), "{}", session.said);
        }
        let session = openssl::client(server.address(), version, Some(&web), &foreign, &[], HELLO);
        assert!(!session.good, "{}", session.said);
    }
    // And the right one still gets through.
    let session = openssl::client(server.address(), Tls::V13, Some(&web), &web, &[], HELLO);
    assert!(session.said.contains("olleh"), "{}", session.said);
    assert_eq!(stranger.stop(), 0);
}

/// HTTP/2's preface, empty settings, and goodbye: the server answers, and closes in order.
const GOODBYE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

#[tokio::test]
async fn openssl_connects_to_our_port_and_resumes() {
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    for version in Tls::BOTH {
        for own in [None, Some(&web)] {
            let file = web.folder().join("session");
            let connect = |option| {
                let more = [
                    "-verify_hostname",
                    "localhost",
                    "-alpn",
                    "h2",
                    option,
                    file.to_str().unwrap(),
                ];
                openssl::client(shared().grpc(), version, own, &web, &more, GOODBYE)
            };
            let first = connect("-sess_out");
            assert!(!first.resumed());
            assert!(first.said.contains("ALPN protocol: h2"), "{}", first.said);
            assert!(connect("-sess_in").resumed(), "{version:?}");
        }
    }
}
