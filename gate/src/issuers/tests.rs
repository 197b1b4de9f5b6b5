//! Chains and modules from real files; each fault is named with its key.

use std::fs;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer as Signer, KeyPair, KeyUsagePurpose};
use sealwright_identity::{Clock, Digest, SerialNumber, SystemClock, Validity};
use sealwright_x509::name::authority_name;
use sealwright_x509::{AuthorityFields, AuthorityTbs, SignatureAlgorithm, pem};

use super::*;
use crate::config::{CeilingConfig, GateFile};

struct Files {
    folder: tempfile::TempDir,
    file: GateFile,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let root_key = KeyPair::generate().unwrap();
    let root = authority("Test Root").self_signed(&root_key).unwrap();
    let signer = Signer::new(authority("Test Root"), root_key);
    let key = KeyPair::generate().unwrap();
    let issuing = authority("Test Issuing").signed_by(&key, &signer).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("roots.pem"), root.pem()).unwrap();
    fs::write(path("chain.pem"), issuing.pem()).unwrap();
    fs::write(path("baseline.wasm"), b"code").unwrap();
    let mut file: GateFile = toml::from_str(
        r#"
        trust_domain = "cluster.local"
        default_issuer = "default"
        [[policies]]
        name = "baseline"
        module = "baseline.wasm"
        settings = { b = 1, a = ["x"] }
        [gate]
        home = "gate"
        token = { module = "m.so", label = "t", pin_file = "pin" }
        [[issuers]]
        name = "default"
        key = "pkcs11:object=issuing"
        chain = "chain.pem"
        roots = "roots.pem"
        rehearsal = true
        policies = ["baseline"]
        "#,
    )
    .unwrap();
    file.resolve(folder.path());
    file.validate().unwrap();
    Files { folder, file }
}

fn load(file: &GateFile) -> Result<Issuers, IssuersError> {
    Issuers::load(file, SystemClock.now())
}

#[test]
fn an_issuer_knows_its_policies_by_digest() {
    let files = files();
    let issuers = load(&files.file).unwrap();
    let issuer = issuers.get("").unwrap();
    assert!(Arc::ptr_eq(issuer, issuers.get("default").unwrap()));
    assert!(issuers.get("other").is_none());
    let expected = PolicyIdentity {
        name: "baseline".into(),
        module: Digest::of(b"code"),
        settings: Digest::of(br#"{"a":["x"],"b":1}"#),
    };
    assert_eq!(issuer.policies, [expected]);
    assert_eq!(issuers.policies_of(issuer).count(), 1);
    assert!(issuer.admits("anybody"));
    assert_eq!(
        issuer.ceiling,
        CeilingConfig::default().for_trust_domain(&"cluster.local".parse().unwrap())
    );
}

#[test]
fn a_module_of_another_digest_is_refused() {
    let mut files = files();
    files.file.policies[0].digest = Some(Digest::of(b"other"));
    let error = load(&files.file).unwrap_err();
    assert!(matches!(error, IssuersError::Digest { .. }), "{error}");
}

#[test]
fn missing_and_oversized_files_are_named() {
    let mut files = files();
    files.file.policies[0].module = files.folder.path().join("absent.wasm");
    let error = load(&files.file).unwrap_err().to_string();
    assert!(
        error.starts_with("policies.baseline.module: cannot read"),
        "{error}"
    );

    let mut files = self::files();
    let huge = files.folder.path().join("huge.pem");
    fs::write(&huge, vec![b'\n'; (1 << 20) + 1]).unwrap();
    files.file.issuers[0].chain = huge;
    let error = load(&files.file).unwrap_err().to_string();
    assert!(error.starts_with("issuers.default.chain: "), "{error}");
}

#[test]
fn a_chain_that_ends_elsewhere_is_refused() {
    let files = files();
    let other = authority("Other")
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    fs::write(files.folder.path().join("roots.pem"), other.pem()).unwrap();
    let error = load(&files.file).unwrap_err();
    assert!(matches!(error, IssuersError::Chain { .. }), "{error}");
}

/// A key that no leaf is signed with is refused when the issuer is read, and the key and the way out are named.
#[test]
fn an_issuing_key_of_ml_dsa_is_refused() {
    let files = files();
    let now = SystemClock.now();
    let pair = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let fields = AuthorityFields {
        serial: SerialNumber::random().unwrap(),
        subject_der: authority_name(None, "Root"),
        issuer_der: authority_name(None, "Root"),
        validity: Validity::new(
            now.truncated_to_seconds(),
            now.saturating_add(Duration::from_secs(3600))
                .truncated_to_seconds(),
        )
        .unwrap(),
        spki_der: spki.as_ref().to_vec(),
        path_len: None,
        aki: None,
        signature_algorithm: SignatureAlgorithm::MlDsa65,
    };
    let tbs = AuthorityTbs::build(&fields).unwrap();
    let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
    pair.sign(tbs.as_der(), &mut signature).unwrap();
    let root = pem::encode(pem::CERTIFICATE, &tbs.assemble(&signature));
    for name in ["chain.pem", "roots.pem"] {
        fs::write(files.folder.path().join(name), &root).unwrap();
    }
    let error = load(&files.file).unwrap_err().to_string();
    assert!(error.starts_with("issuers.default.chain: "), "{error}");
    assert!(
        error.contains("ml-dsa-65") && error.contains("take an issuing CA"),
        "{error}"
    );
}
