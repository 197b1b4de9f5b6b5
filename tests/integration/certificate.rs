//! What is issued, looked at with another implementation.

use std::process::Command;

use sealwright_tests::{Client, Csr, Signer, csr, shared};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// Issues one certificate and gives its chain's elements.
async fn issue(signer: &Signer, csr: &Csr) -> Vec<String> {
    let client = Client::connect(signer).await;
    client
        .create(&signer.token("default", "web"), &csr.pem, 3600)
        .await
        .unwrap()
}

/// What `openssl x509 -text` says of a certificate.
fn text(pem: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leaf.pem");
    std::fs::write(&file, pem).unwrap();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// `openssl verify -x509_strict` of a leaf for a purpose.
fn verify(chain: &[String], purpose: &str) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (leaf, rest) = chain.split_first().unwrap();
    let (roots, intermediates) = rest.split_last().unwrap();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
        .arg(write("roots.pem", roots))
        .arg("-untrusted")
        .arg(write("intermediates.pem", &intermediates.concat()))
        .arg(write("leaf.pem", leaf))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn openssl_accepts_every_kind_of_key_strictly() {
    for key in [csr::p256(), csr::p384(), csr::ed25519(), csr::rsa2048()] {
        let chain = issue(shared(), &Csr::pilot_agent(WEB, key)).await;
        verify(&chain, "sslserver");
        verify(&chain, "sslclient");
    }
}

#[tokio::test]
async fn the_chain_is_leaf_intermediates_and_the_whole_bundle_last() {
    let chain = issue(shared(), &Csr::ztunnel(WEB)).await;
    assert!(chain.len() >= 2);
    let (bundle, others) = chain.split_last().unwrap();
    assert!(chain.iter().all(|element| element.ends_with('\n')));
    assert!(
        others
            .iter()
            .all(|element| element.matches("BEGIN CERTIFICATE").count() == 1)
    );
    assert_eq!(bundle, &std::fs::read_to_string(shared().trust_bundle()).unwrap());
}

#[tokio::test]
async fn the_profile_is_ours_whatever_the_request_says() {
    let leaf = text(&issue(shared(), &Csr::greedy()).await[0]);
    let squeezed = leaf.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in [
        "X509v3 Subject Alternative Name: critical URI:spiffe://cluster.local/ns/default/sa/web",
        "X509v3 Basic Constraints: critical CA:FALSE",
        "X509v3 Key Usage: critical Digital Signature X509v3 Extended Key Usage",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(squeezed.contains(wanted), "{wanted}: {leaf}");
    }
    for unwanted in [
        "evil",
        "kubernetes",
        "system:masters",
        "10.0.0.1",
        "1.3.6.1.4.1.99999",
        "CA:TRUE",
    ] {
        assert!(!leaf.contains(unwanted), "{unwanted}: {leaf}");
    }
    assert!(leaf.lines().any(|line| line.trim() == "Subject:"), "{leaf}");
}

#[tokio::test]
async fn only_rsa_keys_may_encipher() {
    let rsa = text(&issue(shared(), &Csr::pilot_agent(WEB, csr::rsa2048())).await[0]);
    assert!(rsa.contains("Digital Signature, Key Encipherment"));
    let ec = text(&issue(shared(), &Csr::pilot_agent(WEB, csr::p384())).await[0]);
    assert!(!ec.contains("Key Encipherment"));
}

#[tokio::test]
async fn every_algorithm_of_a_development_ca_signs() {
    for algorithm in ["p256", "p384", "rsa3072"] {
        let signer = Signer::dev(&["--algorithm", algorithm]);
        let chain = issue(&signer, &Csr::ztunnel(WEB)).await;
        verify(&chain, "sslserver");
        let wanted = match algorithm {
            "p256" => "ecdsa-with-SHA256",
            "p384" => "ecdsa-with-SHA384",
            _ => "sha256WithRSAEncryption",
        };
        assert!(text(&chain[0]).contains(wanted), "{algorithm}");
        assert_eq!(signer.stop(), 0);
    }
}
