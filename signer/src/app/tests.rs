//! The whole front in this process: real TLS, real gRPC, the stock policy, and a gate of the test.

mod connections;
mod front;
mod legacy;
mod lifecycle;
mod sets;

use std::time::Duration;

use rcgen::KeyPair;
use sealwright_proto::istio::IstioCertificateRequest;
use sealwright_proto::istio::istio_certificate_service_client::IstioCertificateServiceClient;
use sealwright_x509::{CertificateRef, pem};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;

use self::front::Front;
use crate::testing::{Behaviour, DAY, TestPki, end_entity};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const STRANGER: &str = "spiffe://cluster.local/ns/elsewhere/sa/cart";

fn request() -> IstioCertificateRequest {
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names =
        end_entity(&["spiffe://cluster.local/ns/root/sa/admin"], &[]).subject_alt_names;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    IstioCertificateRequest {
        csr: csr.pem().unwrap(),
        validity_duration: 3600,
        metadata: None,
    }
}

fn signer(name: &str) -> Option<prost_types::Struct> {
    metadata("CertSigner", name)
}

fn metadata(key: &str, text: &str) -> Option<prost_types::Struct> {
    let value = prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    Some(prost_types::Struct {
        fields: [(key.to_owned(), value)].into(),
    })
}

/// Compiling the policy is the slow part, so one front serves all that needs it.
#[tokio::test]
async fn requests_are_answered_as_they_should_be() {
    let front = Front::start(|config| config.server.legacy_csr_service = true).await;
    a_certificate_is_issued_over_mutual_tls(&front).await;
    refusals_have_their_codes_and_denials_are_recorded(&front).await;
    a_gate_that_is_away_is_said_to_be(&front).await;
    a_reload_takes_all_or_nothing(&front).await;
    legacy::the_deprecated_service_answers_too(&front).await;
    what_is_in_flight_is_finished_before_the_end(front).await;
}

async fn a_certificate_is_issued_over_mutual_tls(front: &Front) {
    let answer = front.ask(request()).await.unwrap();
    let [leaf, intermediate, root] = &answer.cert_chain[..] else {
        panic!("{:?}", answer.cert_chain);
    };
    assert_eq!(
        *intermediate,
        pem::encode(pem::CERTIFICATE, &front.pki.issuing_der)
    );
    assert_eq!(*root, front.pki.roots_pem());
    let leaf = pem::decode_one(&[pem::CERTIFICATE], leaf).unwrap();
    let leaf = CertificateRef::parse(&leaf).unwrap();
    assert_eq!(leaf.uris().unwrap(), [CART]);
    assert_eq!(leaf.basic_constraints().unwrap(), (false, None));
    assert_eq!(leaf.validity().duration(), Duration::from_secs(3600 + 120));

    let [issue] = &front.gate.issues()[..] else {
        panic!()
    };
    let evidence = issue.evidence.as_ref().unwrap();
    let caller = evidence.caller.as_ref().unwrap();
    assert_eq!(
        (caller.source.as_str(), caller.identities.as_slice()),
        ("client-certificate", &[CART.to_owned()][..])
    );
    assert_eq!(caller.client_chain.len(), 2);
    let facts = evidence.request.as_ref().unwrap();
    assert_eq!(facts.requested_seconds, 3600);
    assert!(facts.method.ends_with("/CreateCertificate"));
    let decision = evidence.decision.as_ref().unwrap();
    assert!(decision.engine_profile.contains("wasmtime") && !decision.input.is_empty());
    let [verdict] = &decision.policies[..] else {
        panic!()
    };
    assert_eq!(
        (verdict.name.as_str(), verdict.verdict.as_str()),
        ("baseline", "allow")
    );
    assert!(verdict.fuel > 0);

    let metrics = front.page("/metrics").await;
    for line in [
        "citadel_server_csr_count 1",
        "citadel_server_success_cert_issuance_count 1",
    ] {
        assert!(
            metrics.lines().any(|l| l.trim_end() == line),
            "no {line} in {metrics}"
        );
    }
    assert!(
        metrics.contains("sealwright_time_to_first_expiry_seconds "),
        "{metrics}"
    );
    assert!(front.page("/bundle").await.contains("BEGIN CERTIFICATE"));
}

async fn refusals_have_their_codes_and_denials_are_recorded(front: &Front) {
    let rows = [
        (
            IstioCertificateRequest {
                validity_duration: -1,
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                validity_duration: i64::try_from(91 * DAY).unwrap(),
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                validity_duration: i64::MAX,
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                csr: String::new(),
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                csr: request().csr.repeat(2),
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                metadata: signer("nobody"),
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                csr: "x".repeat(3 << 20),
                ..request()
            },
            Code::InvalidArgument,
        ),
        (
            IstioCertificateRequest {
                csr: "x".repeat(5 << 20),
                ..request()
            },
            Code::ResourceExhausted,
        ),
    ];
    for (request, code) in rows {
        let status = front.ask(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
    assert!(front.gate.denials().is_empty());

    let mut stranger = front.client(STRANGER).await;
    let status = stranger.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata["policy"], "baseline");
    let without_policy = IstioCertificateRequest {
        metadata: signer("bare"),
        ..request()
    };
    let status = front.ask(without_policy).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let for_another = IstioCertificateRequest {
        metadata: metadata("ImpersonatedIdentity", STRANGER),
        ..request()
    };
    let status = front.ask(for_another).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), crate::service::IMPERSONATION_REFUSED);
    let codes: Vec<String> = front
        .gate
        .denials()
        .into_iter()
        .map(|record| record.denial.unwrap().code)
        .collect();
    assert_eq!(
        codes,
        [info.reason.as_str(), "NO_POLICY", "IMPERSONATION_REFUSED"]
    );
    assert_eq!(front.gate.issues().len(), 1);

    let mut nobody = IstioCertificateServiceClient::new(front.channel(None).await);
    let status = nobody.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), crate::service::UNAUTHENTICATED);
}

async fn a_gate_that_is_away_is_said_to_be(front: &Front) {
    let mut client = front.client(CART).await;
    for (behaviour, code) in [
        (Behaviour::IsAway, Code::Unavailable),
        (Behaviour::IsOverloaded, Code::ResourceExhausted),
    ] {
        front.gate.behave(behaviour);
        let status = client.create_certificate(request()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.get_error_details().retry_info().is_some());
    }
    // A denial that cannot be recorded is not told.
    front.gate.behave(Behaviour::IsAway);
    let mut stranger = front.client(STRANGER).await;
    let status = stranger.create_certificate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    front.gate.behave(Behaviour::Signs);
    client.create_certificate(request()).await.unwrap();
}

async fn what_is_in_flight_is_finished_before_the_end(mut front: Front) {
    front.gate.behave(Behaviour::Waits);
    let mut client = front.client(CART).await;
    let waiting = tokio::spawn(async move { client.create_certificate(request()).await });
    front.gate.asked().await;
    let mut changes = front.readiness.watch();
    drop(front.stop.take());
    while front.readiness.is_ready() {
        changes.changed().await;
    }
    front.gate.release();
    waiting.await.unwrap().unwrap();
    front.running.await.unwrap().unwrap();
    TcpStream::connect(front.bound.grpc).await.unwrap_err();
}

async fn a_reload_takes_all_or_nothing(front: &Front) {
    let roots = front.pki.roots_file();
    let good = std::fs::read(&roots).unwrap();
    std::fs::write(&roots, b"no roots").unwrap();
    front.reloader.reload().await.unwrap_err();
    front.ask(request()).await.unwrap();
    let other = TestPki::new();
    std::fs::write(&roots, [good, other.roots_pem().into_bytes()].concat()).unwrap();
    front.reloader.reload().await.unwrap();
    front.ask(request()).await.unwrap();
    assert_eq!(
        front.page("/bundle").await.matches("BEGIN CERTIFICATE").count(),
        2
    );
}
