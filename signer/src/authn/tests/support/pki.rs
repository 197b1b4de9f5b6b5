//! Certificate authorities and client certificates, made at run time.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::NOW;

pub(in crate::authn) const HOUR: i64 = 3600;

/// A certificate authority.
pub(in crate::authn) struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(in crate::authn) der: Vec<u8>,
}

impl TestCa {
    pub(in crate::authn) fn root(name: &str) -> Self {
        Self::root_until(name, NOW + 1000 * HOUR)
    }

    pub(in crate::authn) fn root_until(name: &str, not_after: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, not_after);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    pub(in crate::authn) fn intermediate(&self, name: &str, not_after: i64) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, not_after);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let issuer = Issuer::new(params, key);
        Self { issuer, der }
    }

    pub(in crate::authn) fn issue(&self, leaf: TestLeaf) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.0.signed_by(&key, &self.issuer).unwrap();
        leaf.der().to_vec()
    }
}

/// A client certificate before it is issued: an hour for `clientAuth`.
pub(in crate::authn) struct TestLeaf(CertificateParams);

impl TestLeaf {
    pub(in crate::authn) fn new(uris: &[&str]) -> Self {
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(uri).collect();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = at(NOW - 60);
        params.not_after = at(NOW + HOUR);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Self(params)
    }

    pub(in crate::authn) fn valid(mut self, not_before: i64, not_after: i64) -> Self {
        self.0.not_before = at(not_before);
        self.0.not_after = at(not_after);
        self
    }

    pub(in crate::authn) fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.0.extended_key_usages = usages.to_vec();
        self
    }

    pub(in crate::authn) fn dns(mut self, name: &str) -> Self {
        let name = SanType::DnsName(name.try_into().unwrap());
        self.0.subject_alt_names.push(name);
        self
    }

    pub(in crate::authn) fn ca(mut self) -> Self {
        self.0.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }
}

fn ca_params(name: &str, not_after: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = at(NOW - HOUR);
    params.not_after = at(not_after);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn at(unix: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix).unwrap()
}
