//! A root, an issuing certificate, and what they sign.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SigningKey,
};
use sealwright_gate::config::IssuerConfig;
use sealwright_gate::issuers::Issuer;
use sealwright_identity::{Ceiling, SerialNumber, TrustBundle, Usage, Validity};
use sealwright_x509::csr::{CsrLimits, VerifiedCsr};
use sealwright_x509::issuer::IssuerChain;
use sealwright_x509::tbs::{LeafFields, LeafKind, LeafTbs};
use sealwright_x509::{BACKDATING, pem};
use tempfile::TempDir;
use time::OffsetDateTime;

use super::{DAY, clock};

/// An authority with a root and one intermediate, in files too.
pub(crate) struct TestPki {
    issuing: rcgen::Issuer<'static, KeyPair>,
    pub(crate) issuing_der: Vec<u8>,
    pub(crate) root_der: Vec<u8>,
    pub(crate) folder: TempDir,
}

impl TestPki {
    pub(crate) fn new() -> Self {
        Self::ending_in(Duration::from_secs(3650 * DAY))
    }

    /// With an issuing certificate that ends then.
    pub(crate) fn ending_in(life: Duration) -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root_params = authority("root", Duration::from_secs(3650 * DAY));
        let root_der = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root = rcgen::Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let params = authority("issuing", life);
        let issuing_der = params.signed_by(&key, &root).unwrap().der().to_vec();
        let pki = Self {
            issuing: rcgen::Issuer::new(params, key),
            issuing_der,
            root_der,
            folder: tempfile::tempdir().unwrap(),
        };
        let write = |path: PathBuf, der: &[u8]| {
            std::fs::write(path, pem::encode(pem::CERTIFICATE, der)).unwrap();
        };
        write(pki.chain_file(), &pki.issuing_der);
        write(pki.roots_file(), &pki.root_der);
        pki
    }

    pub(crate) fn chain_file(&self) -> PathBuf {
        self.folder.path().join("chain.pem")
    }

    pub(crate) fn roots_file(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn roots_pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.root_der)
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        TrustBundle::from_ders(1, [self.root_der.clone()])
    }

    /// The signature of the issuing key.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.issuing.key().sign(message).unwrap()
    }

    /// A certificate of the issuing key for this key.
    pub(crate) fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuing).unwrap().der().to_vec()
    }

    /// A serving certificate for `localhost` and the key of a request (DER).
    pub(crate) fn issue_serving(&self, csr: &[u8]) -> Vec<u8> {
        let csr = VerifiedCsr::from_der(csr, &CsrLimits::default()).unwrap();
        let chain = self.chain();
        let now = clock().now().truncated_to_seconds();
        let fields = LeafFields {
            serial: SerialNumber::random().unwrap(),
            issuer_der: chain.issuer_name_der().to_vec(),
            validity: Validity::new(
                now.saturating_sub(BACKDATING),
                now.saturating_add(Duration::from_secs(DAY)),
            )
            .unwrap(),
            common_name: None,
            spki_der: csr.spki_der().to_vec(),
            sans: vec!["DNS:localhost".parse().unwrap()],
            usages: vec![Usage::ServerAuth],
            aki: chain.ski().to_vec(),
            signature_algorithm: chain.signature_algorithm(),
            kind: LeafKind::Serving,
        };
        let leaf = LeafTbs::build(&fields).unwrap();
        leaf.assemble(&self.sign(leaf.as_der()))
    }

    fn chain(&self) -> IssuerChain {
        IssuerChain::from_ders(
            vec![self.issuing_der.clone()],
            vec![self.root_der.clone()],
            clock().now(),
        )
        .unwrap()
    }

    pub(crate) fn issuer(&self, ceiling: Ceiling) -> Arc<Issuer> {
        Arc::new(Issuer {
            name: "default".into(),
            key: "pkcs11:object=issuing".to_owned(),
            chain: Arc::new(self.chain()),
            intermediates: vec![self.issuing_der.clone().into()],
            roots_pem: self.roots_pem().into(),
            ceiling,
            policies: Vec::new(),
            authenticators: Vec::new(),
            max_renewal_age: None,
            ceremony: None,
            rehearsal: true,
        })
    }

    pub(crate) fn issuer_config(&self, name: &str, policies: &[&str]) -> IssuerConfig {
        IssuerConfig {
            name: name.to_owned(),
            key: "pkcs11:object=issuing".to_owned(),
            chain: self.chain_file(),
            roots: self.roots_file(),
            authenticators: Vec::new(),
            ceremony: None,
            rehearsal: true,
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            max_renewal_age: None,
            ceiling: Default::default(),
        }
    }
}

fn authority(name: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(3600);
    params.not_after = OffsetDateTime::now_utc() + life;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

/// An hour for these names.
pub(crate) fn end_entity(uris: &[&str], dns: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    let dns = dns
        .iter()
        .map(|name| SanType::DnsName((*name).try_into().unwrap()));
    params.subject_alt_names = uris.chain(dns).collect();
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(120);
    params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A verified CSR that asks for DNS names, and for a common name if there is one.
pub(crate) fn csr_with(dns: &[&str], common_name: Option<&str>) -> VerifiedCsr {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let dns = dns
        .iter()
        .map(|name| SanType::DnsName((*name).try_into().unwrap()));
    params.subject_alt_names = dns.collect();
    let der = params.serialize_request(&key).unwrap().der().to_vec();
    VerifiedCsr::from_der(&der, &CsrLimits::default()).unwrap()
}
