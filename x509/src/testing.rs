//! What the tests of this crate share: keys made at run time, a CA of any kind, fields to start from.

use std::{process::Command, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use sealwright_identity::{Ceiling, CommonName, KeyType, San, SerialNumber, Timestamp, Usage, Validity};

use crate::{
    AuthorityFields, AuthorityTbs, BACKDATING, IssuerChain, LeafFields, LeafKind, SignatureAlgorithm, name,
    pem,
};

/// 2026-11-22T10:00:00Z, the present of every test.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_341_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Every kind of CA key.
pub(crate) const CA_KEYS: [KeyType; 4] = [KeyType::P256, KeyType::P384, KeyType::Rsa(2048), KeyType::Ed25519];

/// A private key made for one test.
pub(crate) enum TestKey {
    Ecdsa(EcdsaKeyPair, KeyType),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, u32),
    MlDsa(PqdsaKeyPair),
}

impl TestKey {
    pub(crate) fn generate(key_type: KeyType) -> Self {
        match key_type {
            KeyType::P256 => Self::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
                key_type,
            ),
            KeyType::P384 => Self::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap(),
                key_type,
            ),
            KeyType::Ed25519 => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            KeyType::MlDsa65 => Self::MlDsa(PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap()),
            KeyType::Rsa(bits) => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    _ => KeySize::Rsa4096,
                };
                Self::Rsa(RsaKeyPair::generate(size).unwrap(), bits)
            }
        }
    }

    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Ecdsa(_, key_type) => *key_type,
            Self::Ed25519(_) => KeyType::Ed25519,
            Self::Rsa(_, bits) => KeyType::Rsa(*bits),
            Self::MlDsa(_) => KeyType::MlDsa65,
        }
    }

    pub(crate) fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::for_ca_key(self.key_type())
    }

    pub(crate) fn spki_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ecdsa(pair, _) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
            Self::Rsa(pair, _) => pair.public_key().as_der(),
            Self::MlDsa(pair) => pair.public_key().as_der(),
        }
        .unwrap();
        der.as_ref().to_vec()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ecdsa(pair, _) => pair
                .sign(&SystemRandom::new(), message)
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair, _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .unwrap();
                signature
            }
            Self::MlDsa(pair) => {
                let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
                pair.sign(message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A root and an intermediate that signs leaves.
pub(crate) struct TestCa {
    pub(crate) key: TestKey,
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    pub(crate) chain: IssuerChain,
}

impl TestCa {
    pub(crate) fn new(key_type: KeyType) -> Self {
        let root_key = TestKey::generate(key_type);
        let root_tbs = authority(&root_key, "Root", None, &root_key, None);
        let root = root_tbs.assemble(&root_key.sign(root_tbs.as_der()));
        let key = TestKey::generate(key_type);
        let tbs = authority(&key, "Issuing", Some("Root"), &root_key, Some(root_tbs.ski()));
        let intermediate = tbs.assemble(&root_key.sign(tbs.as_der()));
        let chain = IssuerChain::load(&to_pem(&intermediate), &to_pem(&root), NOW).unwrap();
        Self {
            key,
            root,
            intermediate,
            chain,
        }
    }

    /// A workload's leaf, of an hour, for a key.
    pub(crate) fn leaf(&self, spki_der: Vec<u8>) -> LeafFields {
        LeafFields {
            serial: SerialNumber::random().unwrap(),
            issuer_der: self.chain.issuer_name_der().to_vec(),
            validity: Validity::new(NOW.saturating_sub(BACKDATING), NOW.saturating_add(HOUR)).unwrap(),
            common_name: None,
            spki_der,
            sans: vec![spiffe("/ns/default/sa/web")],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            aki: self.chain.ski().to_vec(),
            signature_algorithm: self.chain.signature_algorithm(),
            kind: LeafKind::Workload,
        }
    }
}

/// A CA certificate of ten days; `issuer` is the issuer's common name, the subject's own for a root.
pub(crate) fn authority(
    key: &TestKey,
    subject: &str,
    issuer: Option<&str>,
    issuer_key: &TestKey,
    aki: Option<&[u8]>,
) -> AuthorityTbs {
    AuthorityTbs::build(&authority_fields(key, subject, issuer, issuer_key, aki)).unwrap()
}

pub(crate) fn authority_fields(
    key: &TestKey,
    subject: &str,
    issuer: Option<&str>,
    issuer_key: &TestKey,
    aki: Option<&[u8]>,
) -> AuthorityFields {
    AuthorityFields {
        serial: SerialNumber::random().unwrap(),
        subject_der: name::authority_name(Some("Test"), subject),
        issuer_der: name::authority_name(Some("Test"), issuer.unwrap_or(subject)),
        validity: Validity::new(NOW.saturating_sub(DAY), NOW.saturating_add(DAY * 10)).unwrap(),
        spki_der: key.spki_der(),
        path_len: issuer.map(|_| 0),
        aki: aki.map(<[u8]>::to_vec),
        signature_algorithm: issuer_key.algorithm(),
    }
}

pub(crate) fn spiffe(path: &str) -> San {
    format!("URI:spiffe://cluster.local{path}").parse().unwrap()
}

pub(crate) fn to_pem(der: &[u8]) -> Vec<u8> {
    pem::encode(pem::CERTIFICATE, der).into_bytes()
}

/// A ceiling as in the sample configuration.
pub(crate) fn ceiling() -> Ceiling {
    Ceiling {
        trust_domain: "cluster.local".parse().unwrap(),
        dns: vec!["*.svc".parse().unwrap()],
        max_lifetime: DAY * 90,
        default_lifetime: DAY,
        key_types: vec![
            KeyType::P256,
            KeyType::P384,
            KeyType::Ed25519,
            KeyType::Rsa(2048),
            KeyType::Rsa(3072),
            KeyType::Rsa(4096),
        ],
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
        common_name: CommonName::None,
    }
}

/// Runs the openssl command line tool in a folder; its output when it says yes.
pub(crate) fn openssl(folder: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Bytes from hexadecimal digits, white space between them ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Hexadecimal digits, 32 octets a line.
pub(crate) fn hex_lines(bytes: &[u8]) -> String {
    let line = |octets: &[u8]| {
        octets
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
            + "\n"
    };
    bytes.chunks(32).map(line).collect()
}
