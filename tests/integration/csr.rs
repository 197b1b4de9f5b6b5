//! Requests that must be refused: each with its code, and nothing signed for it.

use rcgen::{CertificateParams, KeyPair};
use sealwright_tests::{Client, Csr, client::request, csr, shared};
use tonic::Code;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

async fn refused(csr: &str, seconds: i64) -> tonic::Status {
    let client = Client::connect(shared()).await;
    client
        .create(&shared().token("default", "web"), csr, seconds)
        .await
        .unwrap_err()
}

/// A good request with one byte changed, counted from its DER's end: inside the signature.
fn altered(pem: &str, from_end: usize) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut der = STANDARD.decode(body).unwrap();
    let index = der.len() - from_end;
    der[index] ^= 1;
    wrap(&STANDARD.encode(der))
}

fn wrap(body: &str) -> String {
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

#[tokio::test]
async fn a_request_that_is_none_is_an_invalid_argument() {
    let good = Csr::ztunnel(WEB).pem;
    let truncated: String = good.chars().take(good.len() / 2).collect();
    let table = [
        ("empty", String::new()),
        ("text", "hello".to_owned()),
        ("truncated", truncated),
        ("two", format!("{good}{good}")),
        (
            "another label",
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        ),
        ("broken base64", wrap("!!!!")),
        ("broken DER", wrap("AAAA")),
        ("bad signature", altered(&good, 3)),
        ("trailing text", format!("{good}trailing")),
        ("large", wrap(&"A".repeat(20_000))),
    ];
    for (name, csr) in table {
        let status = refused(&csr, 3600).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
        assert!(
            status.message().starts_with("CSR signing error ("),
            "{name}: {status}"
        );
    }
}

#[tokio::test]
async fn weak_and_unknown_keys_are_refused() {
    for (name, arguments) in [
        ("RSA-1024", vec!["-newkey", "rsa:1024"]),
        (
            "secp256k1",
            vec!["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        ),
        (
            "P-521",
            vec!["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        ),
        ("SHA-1", vec!["-newkey", "rsa:2048", "-sha1"]),
        ("MD5", vec!["-newkey", "rsa:2048", "-md5"]),
    ] {
        let output = std::process::Command::new("openssl")
            .args(["req", "-new", "-nodes", "-subj", "/O=x", "-keyout", "/dev/null"])
            .args(arguments)
            .output()
            .unwrap();
        let csr = String::from_utf8(output.stdout).unwrap();
        assert!(csr.contains("BEGIN CERTIFICATE REQUEST"), "{name}");
        let status = refused(&csr, 3600).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
    }
}

#[tokio::test]
async fn lifetimes_are_refused_above_the_maximum_and_below_zero() {
    let csr = Csr::ztunnel(WEB).pem;
    for seconds in [-1, i64::MIN, 91 * 86_400, 9_300_000_000, i64::MAX] {
        let status = refused(&csr, seconds).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{seconds}: {status}");
    }
}

#[tokio::test]
async fn lifetime_zero_is_the_default() {
    use der::Decode as _;
    let client = Client::connect(shared()).await;
    let csr = Csr::ztunnel(WEB).pem;
    let chain = client
        .create(&shared().token("default", "web"), &csr, 0)
        .await
        .unwrap();
    let (_, der) = der::pem::decode_vec(chain[0].as_bytes()).unwrap();
    let certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let validity = certificate.tbs_certificate().validity();
    let seconds = validity.not_after.to_unix_duration() - validity.not_before.to_unix_duration();
    assert_eq!(seconds.as_secs(), 24 * 3600 + 120);
}

#[tokio::test]
async fn a_message_over_four_mebibytes_is_refused_by_its_size() {
    let client = Client::connect(shared()).await;
    let token = format!("Bearer {}", shared().token("default", "web"));
    let message = request(&"A".repeat(5 * 1024 * 1024), 0);
    let status = client
        .create_with(&[("authorization", &token)], message)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
}

#[tokio::test]
async fn pilot_agents_and_ztunnels_subjects_are_both_accepted() {
    let client = Client::connect(shared()).await;
    let token = shared().token("default", "web");
    for csr in [Csr::ztunnel(WEB), Csr::pilot_agent(WEB, csr::p256())] {
        client.create(&token, &csr.pem, 3600).await.unwrap();
    }
    let key = KeyPair::generate().unwrap();
    let plain = CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    client.create(&token, &plain, 3600).await.unwrap();
}
