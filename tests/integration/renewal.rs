//! Renewal with the certificate just issued.

use rcgen::{CertificateParams, DistinguishedName, Issuer, KeyPair, SanType};
use sealwright_tests::{Client, Csr, client::request, shared};
use tonic::Code;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

#[tokio::test]
async fn a_certificate_renews_itself_without_a_token() {
    let first = Csr::ztunnel(WEB);
    let chain = Client::connect(shared())
        .await
        .create(&shared().token("default", "web"), &first.pem, 3600)
        .await
        .unwrap();
    let presented = chain[..chain.len() - 1].concat();
    let client = Client::connect_with(shared(), &presented, &first.key.serialize_pem())
        .await
        .unwrap();
    let renewed = client
        .create_with(&[], request(&Csr::ztunnel(WEB).pem, 3600))
        .await
        .unwrap();
    assert_ne!(renewed[0], chain[0]);
    let rows = shared().log_list(&["--identity", WEB]);
    assert!(rows.len() >= 2);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(root, key);
    let leaf_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.subject_alt_names = vec![SanType::URI(WEB.try_into().unwrap())];
    let pem = leaf.signed_by(&leaf_key, &issuer).unwrap().pem();
    // Refused in the handshake, or the request is: never served.
    let Ok(client) = Client::connect_with(shared(), &pem, &leaf_key.serialize_pem()).await else {
        return;
    };
    let status = client
        .create_with(&[], request(&Csr::ztunnel(WEB).pem, 60))
        .await
        .unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::Unauthenticated | Code::Unavailable | Code::Unknown | Code::Cancelled
        ),
        "{status}"
    );
}
