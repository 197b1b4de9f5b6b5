//! Certificate signing requests as clients make them, and as nobody should.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair, SanType,
};

/// A request with its key.
pub struct Csr {
    /// The workload's key.
    pub key: KeyPair,
    /// The request, in PEM.
    pub pem: String,
}

impl Csr {
    /// As ztunnel makes it: P-256, an empty subject, one URI.
    pub fn ztunnel(id: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        Self::from_params(&params, p256())
    }

    /// As pilot-agent makes it: a subject of one empty organization, one URI.
    pub fn pilot_agent(id: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "");
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        Self::from_params(&params, key)
    }

    /// Asks for everything that it must not get.
    pub fn greedy() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.subject_alt_names = vec![
            SanType::URI("spiffe://evil.example/ns/a/sa/b".try_into().unwrap()),
            SanType::DnsName("kubernetes.default.svc".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
        ];
        let odd = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        params.custom_extensions = vec![odd];
        Self::from_params(&params, p256())
    }

    fn from_params(params: &CertificateParams, key: KeyPair) -> Self {
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        Self { key, pem }
    }
}

/// A P-256 key.
pub fn p256() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// A P-384 key.
pub fn p384() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()
}

/// An Ed25519 key, in the first version of PKCS#8: OpenSSL 3.0 reads no other.
pub fn ed25519() -> KeyPair {
    let key = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    KeyPair::try_from(key.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

/// An RSA key of 2048 bits.
pub fn rsa2048() -> KeyPair {
    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap()
}
