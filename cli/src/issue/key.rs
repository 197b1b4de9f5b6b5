//! A workload's new key, and the request that proves its possession.

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use zeroize::Zeroizing;

use crate::{
    args::LeafKey,
    failure::{Class, Failure, OrFail},
};

pub(crate) struct WorkloadKey {
    pair: KeyPair,
    spki: Vec<u8>,
}

impl WorkloadKey {
    pub(crate) fn generate(kind: LeafKey) -> Result<Self, Failure> {
        let pair = match kind {
            LeafKey::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            LeafKey::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            LeafKey::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = pair.or_fail_doing(Class::Internal, "cannot make a key")?;
        let spki = pair.subject_public_key_info();
        Ok(Self { pair, spki })
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key as PKCS#8 PEM.
    pub(crate) fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// A request without a name: the signer knows who asks.
    pub(crate) fn csr_pem(&self) -> Result<String, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .serialize_request(&self.pair)
            .and_then(|request| request.pem())
            .or_fail_doing(Class::Internal, "cannot make a certificate request")
    }
}
