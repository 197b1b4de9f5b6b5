//! What a connection may do and for how long: strangers, compressed messages, a replaced bundle.

use bytes::Bytes;
use http_body_util::{Full, StreamBody};
use sealwright_x509::pem;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower::ServiceExt;

use super::front::{Front, without_policies};
use super::{CART, request};
use crate::acceptor::OPEN_CALLS;
use crate::testing::{Behaviour, TestPki};

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let front = Front::start(without_policies).await;
    let mut reflection = ServerReflectionClient::new(front.channel(None).await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::iter([ask])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "istio.v1.auth.IstioCertificateService",
            "sealwright.v1.SigningService"
        ]
    );
    front.stop().await;
}

#[tokio::test]
async fn a_watch_follows_the_gate_and_few_fit_on_a_connection() {
    let front = Front::start(without_policies).await;
    let mut health = HealthClient::new(front.channel(None).await);
    let mut watches = Vec::new();
    for _ in 0..OPEN_CALLS {
        let mut watch = health
            .watch(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner();
        let first = watch.next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    let status = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    // Another connection has places of its own.
    let mut other = HealthClient::new(front.channel(None).await);
    other.check(HealthCheckRequest::default()).await.unwrap();

    front.gate.behave(Behaviour::IsAway);
    for watch in &mut watches {
        let next = watch.next().await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
    drop(watches);
    // Places come back when the server hears of it; until then it refuses.
    while let Err(status) = health.check(HealthCheckRequest::default()).await {
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
    front.stop().await;
}

#[tokio::test]
async fn a_compressed_message_is_refused() {
    let front = Front::start(without_policies).await;
    let channel = front.authenticated_channel(CART).await;
    for (encoding, code) in [(Some("gzip"), Code::Unimplemented), (None, Code::Internal)] {
        let mut request = post(&front);
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let body = Body::new(Full::new(Bytes::from_static(&[1, 0, 0, 0, 2, 0x1f, 0x8b])));
        let request = request.body(body).unwrap();
        assert_eq!(code_of(channel.clone(), request).await, code);
    }
    assert!(front.gate.issues().is_empty());
    front.stop().await;
}

#[tokio::test]
async fn a_message_that_does_not_end_is_given_up() {
    let front = Front::start(|config| {
        without_policies(config);
        config.server.request_timeout = "1s".parse().unwrap();
    })
    .await;
    let begun = futures::stream::iter([Bytes::from_static(&[0, 0, 0, 0, 9, 1])])
        .map(|data| Ok::<_, std::convert::Infallible>(http_body::Frame::data(data)))
        .chain(futures::stream::pending());
    let request = post(&front).body(Body::new(StreamBody::new(begun))).unwrap();
    let channel = front.authenticated_channel(CART).await;
    assert_eq!(code_of(channel, request).await, Code::DeadlineExceeded);
    let page = front.page("/metrics").await;
    assert!(page.contains("sealwright_buffered_bytes 0"), "{page}");
    assert!(page.contains("sealwright_gate_connections_total 1"), "{page}");
    front.stop().await;
}

fn post(front: &Front) -> http::request::Builder {
    http::Request::post(format!(
        "https://{}/istio.v1.auth.IstioCertificateService/CreateCertificate",
        front.bound.grpc
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
}

async fn code_of(channel: Channel, request: http::Request<Body>) -> Code {
    let response = channel.oneshot(request).await.unwrap();
    Code::from_bytes(response.headers()["grpc-status"].as_bytes())
}

/// The handshake was good and is not repeated: each request looks at the bundle of its own time.
#[tokio::test]
async fn a_kept_alive_connection_is_judged_by_the_bundle_of_now() {
    let front = Front::start(without_policies).await;
    let mut client = front.client(CART).await;
    // Who is known hears that no policy allows.
    let status = client.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let other = TestPki::new();
    let chain = pem::encode(pem::CERTIFICATE, &other.issuing_der);
    std::fs::write(front.pki.chain_file(), chain).unwrap();
    std::fs::write(front.pki.roots_file(), other.roots_pem()).unwrap();
    front.reloader.reload().await.unwrap();
    // The connection was not dropped, and its certificate is worth nothing any more.
    let status = client.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(status.message(), crate::service::UNAUTHENTICATED);
    front.stop().await;
}

#[tokio::test]
async fn health_alone_keeps_no_connection() {
    let front = Front::start(|config| {
        without_policies(config);
        config.server.authentication_timeout = "1s".parse().unwrap();
    })
    .await;
    let mut stranger = HealthClient::new(front.channel(None).await);
    let mut known = front.client(CART).await;
    let mut watch = stranger
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.next().await.unwrap().unwrap();
    let status = known.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    watch.next().await.unwrap().unwrap_err();
    let status = known.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let page = front.page("/metrics").await;
    assert!(
        page.contains("sealwright_connections_unauthenticated_total 1"),
        "{page}"
    );
    front.stop().await;
}
