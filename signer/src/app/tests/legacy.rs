//! `HandleCSR`: its answer, and its status codes.

use std::time::Duration;

use rcgen::KeyPair;
use sealwright_proto::istio::CsrRequest;
use sealwright_proto::istio::istio_ca_service_client::IstioCaServiceClient;
use sealwright_x509::{CertificateRef, pem};
use tonic::Code;

use super::front::Front;
use super::{CART, STRANGER, request};
use crate::testing::Behaviour;

/// Istio answers INTERNAL to every error of signing; the codes here are those of `CreateCertificate`.
pub(super) async fn the_deprecated_service_answers_too(front: &Front) {
    let mut client = IstioCaServiceClient::new(front.authenticated_channel(CART).await);
    let ask = |csr: String| CsrRequest {
        csr_pem: csr.into_bytes(),
        requested_ttl_minutes: 10,
        ..CsrRequest::default()
    };
    let answer = client.handle_csr(ask(request().csr)).await.unwrap().into_inner();
    assert!(answer.is_approved && !answer.cert_chain.is_empty());
    let leaf = pem::decode_one(&[pem::CERTIFICATE], &answer.signed_cert).unwrap();
    let validity = CertificateRef::parse(&leaf).unwrap().validity();
    assert_eq!(validity.duration(), Duration::from_secs(600 + 120));
    let mut nameless = rcgen::CertificateParams::default();
    nameless.subject_alt_names.clear();
    let csr = nameless.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let minutes = |requested_ttl_minutes| CsrRequest {
        requested_ttl_minutes,
        ..ask(request().csr)
    };
    for refused in [
        ask(csr.pem().unwrap()),
        ask(String::new()),
        ask(request().csr.replace("A", "B")),
        minutes(-1),
        minutes(i32::MIN),
        minutes(i32::MAX),
    ] {
        let status = client.handle_csr(refused).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    for (caller, code) in [
        (
            front.authenticated_channel(STRANGER).await,
            Code::PermissionDenied,
        ),
        (front.channel(None).await, Code::Unauthenticated),
    ] {
        let mut client = IstioCaServiceClient::new(caller);
        let status = client.handle_csr(ask(request().csr)).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
    front.gate.behave(Behaviour::IsAway);
    let status = client.handle_csr(ask(request().csr)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    front.gate.behave(Behaviour::Signs);
}
