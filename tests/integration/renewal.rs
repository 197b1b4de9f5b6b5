//! Renewal with the certificate just issued.

use rcgen::{CertificateParams, DistinguishedName, Issuer, KeyPair, SanType};
use sealwright_tests::{Client, Csr, Home, Signer, client::request, run, shared};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

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

/// A certificate with its key, as a workload holds them.
struct Held {
    chain: Vec<String>,
    key: String,
}

impl Held {
    async fn first(signer: &Signer) -> Self {
        let csr = Csr::ztunnel(WEB);
        let token = signer.token("default", "web");
        let client = Client::connect(signer).await;
        Self {
            chain: client.create(&token, &csr.pem, 3600).await.unwrap(),
            key: csr.key.serialize_pem(),
        }
    }

    async fn renew(&self, signer: &Signer) -> Result<Self, Status> {
        let presented = self.chain[..self.chain.len() - 1].concat();
        let client = Client::connect_with(signer, &presented, &self.key).await.unwrap();
        let csr = Csr::ztunnel(WEB);
        Ok(Self {
            chain: client.create_with(&[], request(&csr.pem, 3600)).await?,
            key: csr.key.serialize_pem(),
        })
    }
}

/// The newest record, whole.
fn newest(signer: &Signer) -> Value {
    let rows = signer.log_list(&["--identity", WEB]);
    let serial = rows.last().unwrap()["serial"].as_str().unwrap().to_owned();
    let home = signer.home().to_str().unwrap();
    run(["log", "show", &serial, "--home", home, "--output", "json"]).json()
}

fn assert_refused(status: &Status, code: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, code, "{status}");
    assert!(info.metadata["hint"].contains("token"), "{info:?}");
}

#[tokio::test]
async fn each_renewal_names_the_one_before_and_the_first() {
    let home = Home::new();
    let signer = home.start();
    let mut held = Held::first(&signer).await;
    let mut row = newest(&signer);
    let began = row["recorded_at"].clone();
    assert_eq!(row["previous_serial"], Value::Null);
    assert_eq!(row["first_authenticated_at"], began);
    for _ in 0..3 {
        let previous = row["serial"].clone();
        held = held.renew(&signer).await.unwrap();
        row = newest(&signer);
        assert_eq!(row["outcome"], "issued");
        assert_eq!(row["previous_serial"], previous);
        assert_eq!(row["first_authenticated_at"], began);
        // What the policies were told is in the record as well.
        let text = row["evidence"].to_string();
        assert!(text.contains(previous.as_str().unwrap()), "{text}");
    }
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn renewal_ends_where_the_issuer_says() {
    let home = Home::new();
    home.replace(
        "policies = [\"baseline\"]",
        "policies = [\"baseline\"]\nmax_renewal_age = \"3s\"",
    );
    let signer = home.start();
    let held = Held::first(&signer).await;
    // Two seconds are long for a renewal, and not for ever: whatever comes first.
    let refused = async {
        loop {
            match held.renew(&signer).await {
                Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                // The end came between the front's look and the gate's.
                Err(status) if status.message().contains("the gate refused") => {}
                Err(status) => return status,
            }
        }
    };
    let bound = std::time::Duration::from_secs(60);
    let status = tokio::time::timeout(bound, refused).await.unwrap();
    assert_refused(&status, "RENEWAL_TOO_OLD");
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(rows.last().unwrap()["outcome"], "denied");
    // A token begins anew.
    Held::first(&signer).await;
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn a_serial_that_no_record_has_is_not_renewed() {
    let home = Home::new();
    let signer = home.start();
    let held = Held::first(&signer).await;
    assert_eq!(signer.stop(), 0);
    // As after the loss of the ledger.
    std::fs::remove_dir_all(home.file("gate")).unwrap();
    let signer = home.start();
    let status = held.renew(&signer).await.err().unwrap();
    assert_refused(&status, "CERTIFICATE_NOT_RELEASED");
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(rows.last().unwrap()["outcome"], "denied");
    assert_eq!(rows.last().unwrap()["serial"], json!(null));
    let fresh = Held::first(&signer).await;
    fresh.renew(&signer).await.unwrap();
    assert_eq!(signer.stop(), 0);
}
