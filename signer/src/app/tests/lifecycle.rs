//! What works without any policy: start, stop, and what strangers may ask.

use std::sync::Arc;
use std::time::Duration;

use sealwright_runtime::readiness::Readiness;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::front::{Front, config, without_policies};
use crate::app::{App, BuildError, Plumbing};
use crate::testing::{FakeGate, TestPki, clock};

#[tokio::test]
async fn health_and_reflection_need_no_credentials() {
    let front = Front::start(without_policies).await;
    let channel = front.channel(None).await;
    let service = "istio.v1.auth.IstioCertificateService".to_owned();
    let mut health = HealthClient::new(channel.clone());
    for service in [String::new(), service.clone()] {
        let answer = health.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(service)),
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
        panic!("{answer:?}");
    };
    assert!(!files.file_descriptor_proto.is_empty());
    front.stop().await;
}

#[tokio::test]
async fn without_a_gate_there_is_http_and_the_reason() {
    let front = Front::start_without_gate(without_policies).await;
    let page = front.page("/readyz").await;
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    assert!(page.contains("serving certificate"), "{page}");
    assert!(front.page("/livez").await.starts_with("HTTP/1.1 200"));
    let mut stream = TcpStream::connect(front.bound.grpc).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    front.stop().await;
}

#[tokio::test]
async fn a_stored_serving_certificate_serves_without_a_gate() {
    let front = Front::start(without_policies).await;
    let folder = front.pki.path().join("front");
    let chain = std::fs::read_to_string(folder.join("serving.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN").count(), 2);
    let roots = front.pki.roots_pem();
    let (chain_file, roots_file) = (front.pki.chain_file(), front.pki.roots_file());
    let issuing = std::fs::read(&chain_file).unwrap();
    let again = Front::start_without_gate(|config| {
        without_policies(config);
        config.server.state = folder;
        for issuer in &mut config.issuers {
            std::fs::write(&issuer.chain, &issuing).unwrap();
            std::fs::write(&issuer.roots, &roots).unwrap();
        }
    })
    .await;
    assert!(roots_file.exists());
    let mut changes = again.readiness.watch();
    while again
        .readiness
        .reasons()
        .iter()
        .any(|reason| reason.starts_with("serving"))
    {
        changes.changed().await;
    }
    assert!(!again.readiness.is_ready());
    again.stop().await;
    front.stop().await;
}

#[tokio::test]
async fn plaintext_is_closed_and_counted() {
    let front = Front::start(without_policies).await;
    let mut stream = TcpStream::connect(front.bound.grpc).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // The bytes that nobody read may turn the close into a reset.
    let _reset = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    let page = front.page("/metrics").await;
    assert!(
        page.contains("sealwright_plaintext_connections_total 1"),
        "{page}"
    );
    front.stop().await;
}

#[tokio::test]
async fn an_issuer_cannot_admit_an_authenticator_that_is_not_there() {
    let pki = Arc::new(TestPki::new());
    let (_gate, streams) = FakeGate::new(Arc::clone(&pki));
    let mut config = config(&pki);
    if let Some(issuer) = config.issuers.first_mut() {
        issuer.authenticators = vec!["kubernetes".to_owned()];
    }
    let plumbing = Plumbing {
        clock: clock(),
        metrics: Default::default(),
        readiness: Readiness::new(),
        gate_first: Duration::ZERO,
        judges: None,
    };
    let error = App::build(config, streams, plumbing).await.unwrap_err();
    assert!(
        matches!(error, BuildError::UnknownAuthenticator { .. }),
        "{error:?}"
    );
}
