//! Go's `crypto/tls`, `crypto/x509` and `net/http`: chains, mutual TLS among issued certificates with
//! Go and OpenSSL on either side, and our own port.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use sealwright_tests::{
    Csr, Issued, Outcome, Signer, csr,
    openssl::{self, Server, Tls},
    shared,
};
use serde_json::Value;

use crate::{edges::verified, program};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
const API: &str = "spiffe://cluster.local/ns/default/sa/api";
const HELLO: &[u8] = b"hello\nCLOSE\n";

fn number(version: Tls) -> &'static str {
    match version {
        Tls::V12 => "1.2",
        Tls::V13 => "1.3",
    }
}

/// The version as Go prints it.
fn spelled(version: Tls) -> String {
    format!("TLS {}", number(version))
}

/// `peer serve`, ended when it is dropped.
struct GoServer {
    child: Child,
    address: String,
}

impl GoServer {
    fn start(own: &Issued, client: &str) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program::path("peer"))
            .args(["serve", "-id", client, "-folder"])
            .arg(own.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            address: told["address"].as_str().unwrap().to_owned(),
        }
    }
}

impl Drop for GoServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `peer dial`, twice with one cache of sessions.
fn dial(address: &str, own: &Issued, server: &str, version: Tls) -> Outcome {
    let folder = own.folder().to_str().unwrap();
    let arguments = ["dial", "-times", "2", "-address", address, "-id", server];
    let more = ["-version", number(version), "-folder", folder];
    program::run("peer", [&arguments[..], &more].concat())
}

/// The first of two connections began a session, the second went on with it.
fn resumed(told: &[Value], version: Tls) {
    assert_eq!(told.len(), 2);
    assert!(
        told.iter().all(|line| line["version"] == spelled(version)),
        "{told:?}"
    );
    assert_eq!(told[0]["resumed"], false, "{told:?}");
    assert_eq!(told[1]["resumed"], true, "{told:?}");
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_verifies_every_chain_for_its_usages_alone() {
    for algorithm in ["p256", "p384", "rsa3072"] {
        let signer = Signer::dev(&["--algorithm", algorithm]);
        for (key, name) in [
            (csr::p256(), "ECDSA"),
            (csr::p384(), "ECDSA"),
            (csr::ed25519(), "Ed25519"),
            (csr::rsa2048(), "RSA"),
        ] {
            let issued = Issued::of(&signer, "web", Csr::pilot_agent(WEB, key)).await;
            let found = verified(&issued, WEB);
            assert_eq!(found["key"], name);
            assert_eq!(found["encipher"], name == "RSA", "{found}");
            let folder = issued.folder().to_str().unwrap();
            let other = program::run("peer", ["verify", "-folder", folder, "-id", API]);
            assert!(other.stderr.contains("not spiffe://"), "{}", other.stderr);
        }
        assert_eq!(signer.stop(), 0);
    }
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_peers_accept_each_other_and_resume() {
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    for key in [csr::p256(), csr::p384(), csr::ed25519(), csr::rsa2048()] {
        let api = Issued::of(shared(), "api", Csr::pilot_agent(API, key)).await;
        let server = GoServer::start(&api, WEB);
        for version in Tls::BOTH {
            let told = dial(&server.address, &web, API, version).json_lines();
            resumed(&told, version);
            assert_eq!(told[1]["peer"], API);
        }
    }
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_peers_hold_to_the_names() {
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    let api = Issued::of(shared(), "api", Csr::ztunnel(API)).await;
    let server = GoServer::start(&api, WEB);
    for version in Tls::BOTH {
        // The client wants another server, then the server another client.
        assert_ne!(dial(&server.address, &web, WEB, version).code, 0);
        assert_ne!(dial(&server.address, &api, API, version).code, 0);
        assert_eq!(dial(&server.address, &web, API, version).code, 0);
    }
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_and_openssl_accept_each_other() {
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    let api = Issued::of(shared(), "api", Csr::pilot_agent(API, csr::rsa2048())).await;
    let (go, other) = (GoServer::start(&api, WEB), Server::start(&api));
    for version in Tls::BOTH {
        resumed(&dial(other.address(), &web, API, version).json_lines(), version);
        let file = web.folder().join("session");
        for (option, again) in [("-sess_out", false), ("-sess_in", true)] {
            let more = [option, file.to_str().unwrap()];
            let session = openssl::client(&go.address, version, Some(&web), &web, &more, HELLO);
            assert_eq!(session.resumed(), again, "{}", session.said);
            assert!(session.said.contains("olleh"), "{}", session.said);
        }
    }
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn go_calls_our_port_and_resumes() {
    let web = Issued::of(shared(), "web", Csr::ztunnel(WEB)).await;
    let token = web.folder().join("token");
    fs::write(&token, shared().token("default", "web")).unwrap();
    let folder = web.folder().to_str().unwrap();
    for version in Tls::BOTH {
        // With the token; then with the certificate, which a resumed session still stands for.
        let with_token = ["-token", token.to_str().unwrap()];
        for (credential, authenticator) in [(&with_token[..], "kubernetes"), (&[], "mtls")] {
            let arguments = [
                "request",
                "-times",
                "2",
                "-address",
                shared().grpc(),
                "-folder",
                folder,
            ];
            let more = ["-version", number(version)];
            let told = program::run("peer", [&arguments[..], &more, credential].concat()).json_lines();
            resumed(&told, version);
            for line in told {
                let record = program::record(shared(), line["serial"].as_str().unwrap());
                let caller = &record["evidence"]["caller"];
                assert_eq!(caller["authenticator"], authenticator);
                assert_eq!(caller["identities"][0], WEB);
            }
        }
    }
}
