//! Certificates at the edges of what can be issued, judged by OpenSSL. `make test-istio` shows the
//! same ones to Go and to zlint.

use std::{fs, process::Command};

use sealwright_tests::{
    Client, Csr, Home, Issued,
    edges::{self, LONGEST_ID},
    openssl, shared,
};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

fn asn1(issued: &Issued) -> String {
    let output = Command::new("openssl")
        .args(["asn1parse", "-in"])
        .arg(issued.leaf())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn openssl_takes_every_edge_strictly() {
    let all = edges::all().await;
    assert!(all.iter().any(|edge| edge.id.len() == LONGEST_ID));
    for edge in all {
        for purpose in ["sslserver", "sslclient"] {
            openssl::verify(&edge.issued, purpose, &[])
                .unwrap_or_else(|error| panic!("{}: {error}", edge.name));
        }
        let names = openssl::show(&edge.issued, &["-ext", "subjectAltName"]);
        assert!(
            names.trim_end().ends_with(&format!("URI:{}", edge.id)),
            "{}: {names}",
            edge.name
        );
        let Some(end) = edge.end else { continue };
        let shown = openssl::show(&edge.issued, &["-enddate"]);
        assert_eq!(shown.trim(), format!("notAfter={end}"), "{}", edge.name);
        let form = if end.contains("2049") {
            "UTCTIME           :491231235959Z"
        } else {
            "GENERALIZEDTIME   :205"
        };
        assert!(asn1(&edge.issued).contains(form), "{}", asn1(&edge.issued));
    }
}

#[tokio::test]
async fn a_leaf_ends_with_its_issuer() {
    let home = Home::new();
    let soon = time::OffsetDateTime::now_utc() + std::time::Duration::from_secs(7200);
    edges::Authority::new("Company Root").certify(&home, soon);
    let signer = home.start();
    let issued = Issued::for_seconds(&signer, "web", Csr::ztunnel(WEB), 86_400).await;
    openssl::verify(&issued, "sslserver", &[]).unwrap();
    let end = openssl::show(&issued, &["-enddate"]);
    fs::copy(issued.intermediates(), issued.leaf()).unwrap();
    assert_eq!(end, openssl::show(&issued, &["-enddate"]));
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn serial_numbers_are_positive_and_of_twenty_octets() {
    let client = Client::connect(shared()).await;
    let token = shared().token("default", "web");
    let csr = Csr::ztunnel(WEB);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..32 {
        let chain = client.create(&token, &csr.pem, 60).await.unwrap();
        let issued = Issued::write(&chain, &csr.key.serialize_pem());
        let line = openssl::show(&issued, &["-serial"]);
        let serial = line.trim().strip_prefix("serial=").unwrap().to_owned();
        assert_eq!(serial.len(), 40, "{serial}");
        // No sign bit: the content of the INTEGER has these 20 octets and no more (RFC 5280, section 4.1.2.2).
        assert!(matches!(&serial[..1], "4" | "5" | "6" | "7"), "{serial}");
        assert!(seen.insert(serial));
    }
}
