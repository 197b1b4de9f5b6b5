//! The protocol beside its main call: metadata, health, reflection, plain connections.

use prost_types::{Struct, Value, value::Kind};
use sealwright_tests::{Client, Csr, client::request, shared};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

async fn with_metadata(key: &str, value: &str) -> Result<Vec<String>, Status> {
    let client = Client::connect(shared()).await;
    let bearer = format!("Bearer {}", shared().token("default", "web"));
    let mut message = request(&Csr::ztunnel(WEB).pem, 3600);
    let value = Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    };
    message.metadata = Some(Struct {
        fields: [(key.to_owned(), value)].into(),
    });
    client.create_with(&[("authorization", &bearer)], message).await
}

#[tokio::test]
async fn an_empty_signer_is_the_default_and_an_unknown_one_is_refused() {
    assert!(with_metadata("CertSigner", "").await.is_ok());
    assert!(with_metadata("CertSigner", "default").await.is_ok());
    let status = with_metadata("CertSigner", "nobody").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn impersonation_is_refused_while_nobody_is_trusted_with_it() {
    let status = with_metadata("ImpersonatedIdentity", WEB).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn unknown_metadata_is_ignored() {
    assert!(with_metadata("WorkloadName", "web-1").await.is_ok());
}

#[tokio::test]
async fn health_mirrors_readiness() {
    let client = Client::connect(shared()).await;
    let mut health = HealthClient::new(client.channel());
    let answer = health
        .check(HealthCheckRequest {
            service: String::new(),
        })
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status, 1);
    assert_eq!(shared().http("/readyz").await.0, 200);
    assert_eq!(shared().http("/livez").await.0, 200);
}

#[tokio::test]
async fn the_bundle_is_served_as_it_is_on_disk() {
    let (code, text) = shared().http("/bundle").await;
    assert_eq!(code, 200);
    assert_eq!(text, std::fs::read_to_string(shared().trust_bundle()).unwrap());
}

#[tokio::test]
async fn metrics_have_istios_names() {
    let client = Client::connect(shared()).await;
    client
        .create(&shared().token("default", "web"), &Csr::ztunnel(WEB).pem, 60)
        .await
        .unwrap();
    let (code, text) = shared().http("/metrics").await;
    assert_eq!(code, 200);
    for name in [
        "citadel_server_csr_count",
        "citadel_server_authentication_failure_count",
        "citadel_server_success_cert_issuance_count",
        "citadel_server_root_cert_expiry_timestamp",
        "citadel_server_cert_chain_expiry_seconds",
    ] {
        let found = text
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{")));
        assert!(found, "{name}:\n{text}");
    }
}

#[tokio::test]
async fn a_plain_connection_is_closed() {
    let mut stream = tokio::net::TcpStream::connect(shared().grpc()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // Closed, or reset: either way, never served.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 64, "{answer:?}");
}
