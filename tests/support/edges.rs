//! Certificates at the edges of what a signer can issue, and what it takes to get them.
//!
//! The issuing key is certified by an authority of the test's own, as by somebody's company root, so
//! that its certificate can end when the test wants.

use std::{fs, process::Command, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};

use time::OffsetDateTime;

use crate::{Client, Csr, Home, Issued, client::request, csr};

/// The longest SPIFFE ID that there is (its specification, section 2.3).
pub const LONGEST_ID: usize = 2048;

/// One certificate, and what is special in it.
pub struct Edge {
    /// For messages.
    pub name: &'static str,
    /// The certificate.
    pub issued: Issued,
    /// The SPIFFE ID in it.
    pub id: String,
    /// What openssl prints of its end, where it is known before.
    pub end: Option<&'static str>,
}

/// Issues one of each.
pub async fn all() -> Vec<Edge> {
    let newyear = date_time_ymd(2050, 1, 1);
    let second = Duration::from_secs(1);
    vec![
        ends(
            "the last second of UTCTime",
            newyear - second,
            "Dec 31 23:59:59 2049 GMT",
        )
        .await,
        ends(
            "the first second of GeneralizedTime",
            newyear,
            "Jan  1 00:00:00 2050 GMT",
        )
        .await,
        ends(
            "long after 2050",
            date_time_ymd(2059, 7, 1),
            "Jul  1 00:00:00 2059 GMT",
        )
        .await,
        longest_id().await,
        many_roots(200).await,
    ]
}

/// Clamped to the issuer's end, given with what openssl makes of it.
async fn ends(name: &'static str, until: OffsetDateTime, printed: &'static str) -> Edge {
    let home = Home::new();
    Authority::new("Company Root").certify(&home, until);
    home.replace(
        "policies = [\"baseline\"]",
        "policies = [\"baseline\"]\n[issuers.ceiling]\nmax_lifetime = \"20000d\"",
    );
    let signer = home.start();
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web");
    let issued = Issued::for_seconds(&signer, "web", csr, 20_000 * 86_400).await;
    assert_eq!(signer.stop(), 0);
    Edge {
        name,
        issued,
        id: "spiffe://cluster.local/ns/default/sa/web".to_owned(),
        end: Some(printed),
    }
}

/// Renewed by a workload that another authority of the bundle gave the longest SPIFFE ID.
async fn longest_id() -> Edge {
    let home = Home::new();
    let authority = Authority::new("Other Authority");
    authority.trust(&home);
    let start = "spiffe://cluster.local/ns/default/sa/";
    let id = format!("{start}{}", "a".repeat(LONGEST_ID - start.len()));
    let (chain, key) = authority.workload(&id);
    let signer = home.start();
    let csr = Csr::pilot_agent("spiffe://cluster.local/ns/default/sa/web", csr::p384());
    let client = Client::connect_with(&signer, &chain, &key).await.unwrap();
    let answer = client.create_with(&[], request(&csr.pem, 3600)).await.unwrap();
    assert_eq!(signer.stop(), 0);
    Edge {
        name: "the longest SPIFFE ID",
        issued: Issued::write(&answer, &csr.key.serialize_pem()),
        id,
        end: None,
    }
}

/// With many roots beside the right one, which is the last.
async fn many_roots(count: usize) -> Edge {
    let home = Home::new();
    let bundle = fs::read_to_string(home.file("roots.pem")).unwrap();
    fs::write(home.file("roots.pem"), roots(count) + &bundle).unwrap();
    let signer = home.start();
    let id = "spiffe://cluster.local/ns/default/sa/web";
    let issued = Issued::of(&signer, "web", Csr::ztunnel(id)).await;
    assert_eq!(signer.stop(), 0);
    Edge {
        name: "many roots",
        issued,
        id: id.to_owned(),
        end: None,
    }
}

/// So many roots that signed nothing, in PEM.
pub fn roots(count: usize) -> String {
    (0..count)
        .map(|number| Authority::new(&format!("Root {number}")).pem)
        .collect()
}

/// A root of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes one that lives until 2060.
    pub fn new(name: &str) -> Self {
        let key = csr::p256();
        let params = authority_params(name, date_time_ymd(2060, 1, 1), BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Puts this root into a home's bundle.
    pub fn trust(&self, home: &Home) {
        let bundle = fs::read_to_string(home.file("roots.pem")).unwrap();
        fs::write(home.file("roots.pem"), bundle + &self.pem).unwrap();
    }

    /// Certifies a home's issuing key until a time, and makes that its chain and this its only root.
    pub fn certify(&self, home: &Home, until: OffsetDateTime) {
        let key = IssuingKey::of(home);
        let mut params = authority_params("Company Issuing CA", until, BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(home.file("issuer-chain.pem"), chain).unwrap();
        fs::write(home.file("roots.pem"), &self.pem).unwrap();
    }

    /// A workload's certificate and key, in PEM.
    fn workload(&self, id: &str) -> (String, String) {
        let key = csr::p256();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        (pem, key.serialize_pem())
    }
}

fn authority_params(name: &str, until: OffsetDateTime, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = until;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The public half of a development home's issuing key, of the default kind.
struct IssuingKey(Vec<u8>);

/// The length of an uncompressed point of P-256, which ends its `SubjectPublicKeyInfo`.
const POINT: usize = 65;

impl IssuingKey {
    fn of(home: &Home) -> Self {
        let output = Command::new("sh")
            .args([
                "-c",
                "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform DER",
            ])
            .arg(home.file("issuer-chain.pem"))
            .output()
            .unwrap();
        let spki = output.stdout;
        assert!(output.status.success() && spki.len() > POINT);
        Self(spki[spki.len() - POINT..].to_vec())
    }
}

impl PublicKeyData for IssuingKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
