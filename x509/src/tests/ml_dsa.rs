//! ML-DSA-65 as RFC 9881 writes it, held against a pure-Rust implementation (`ml-dsa`) and rustls-webpki.

use der::{Encode as _, asn1::BitString};
use ml_dsa::{MlDsa65, Seed, Signature, SigningKey, signature::Keypair as _};
use rustls_pki_types::{CertificateDer, UnixTime};
use sealwright_identity::{KeyType, Usage};
use webpki::{EndEntityCert, KeyUsage};

use crate::{
    AuthorityTbs, CsrError, CsrLimits, IssuerChain, LeafTbs, RequestFields, RequestTbs, SignatureAlgorithm,
    SpkiRef, VerifiedCsr,
    name::authority_name,
    spki::SpkiError,
    testing::{NOW, TestKey, authority, ceiling, to_pem},
    verify::{VerifyError, verify_signature},
};

/// AlgorithmIdentifier: id-ml-dsa-65, and no parameters.
const ALGORITHM: &str = "300b0609608648016503040312";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Another implementation's key, and its `SubjectPublicKeyInfo` with nothing of ours in it.
fn other() -> (SigningKey<MlDsa65>, Vec<u8>) {
    let mut seed = Seed::default();
    aws_lc_rs::rand::fill(&mut seed).unwrap();
    let key = SigningKey::<MlDsa65>::from_seed(&seed);
    let public = key.verifying_key().encode();
    let bits = BitString::from_bytes(&public).unwrap().to_der().unwrap();
    let mut spki = crate::testing::unhex("308207b2300b0609608648016503040312");
    spki.extend(bits);
    (key, spki)
}

fn sign(key: &SigningKey<MlDsa65>, message: &[u8], context: &[u8]) -> Vec<u8> {
    let signature: Signature<MlDsa65> = key.expanded_key().sign_deterministic(message, context).unwrap();
    signature.encode().to_vec()
}

#[test]
fn the_algorithm_and_the_key_have_golden_bytes() {
    assert_eq!(hex(SignatureAlgorithm::MlDsa65.identifier_der()), ALGORITHM);
    let spki = TestKey::generate(KeyType::MlDsa65).spki_der();
    assert_eq!(hex(&spki[..22]), format!("308207b2{ALGORITHM}038207a100"));
    assert_eq!(spki.len(), 22 + 1952);
    let read = SpkiRef::parse(&spki).unwrap();
    assert_eq!(read.key_type(), KeyType::MlDsa65);
    assert_eq!(read.key(), &spki[22..]);
    assert_eq!(SpkiRef::parse(&other().1).unwrap().key_type(), KeyType::MlDsa65);

    // A key that is one octet short, and parameters that are there.
    let short = [
        &crate::testing::unhex(&format!("308207b1{ALGORITHM}038207a000"))[..],
        &spki[23..],
    ]
    .concat();
    assert_eq!(SpkiRef::parse(&short), Err(SpkiError::Length));
    let null = "308207b4300d06096086480165030403120500038207a100";
    let null = [&crate::testing::unhex(null)[..], &spki[22..]].concat();
    assert!(matches!(SpkiRef::parse(&null), Err(SpkiError::Malformed(_))));
    // HashML-DSA-65 and ML-DSA-44 are other algorithms.
    for odd in ["608648016503040321", "608648016503040311"] {
        let changed = hex(&spki).replacen("608648016503040312", odd, 1);
        let refused = SpkiRef::parse(&crate::testing::unhex(&changed)).unwrap_err();
        assert!(matches!(refused, SpkiError::Algorithm { .. }), "{refused}");
    }
}

#[test]
fn what_another_implementation_signs_verifies_here() {
    let (key, spki) = other();
    let verify = |message: &[u8], signature: &[u8]| {
        verify_signature(&spki, SignatureAlgorithm::MlDsa65, message, signature)
    };
    let signature = sign(&key, b"message", b"");
    assert_eq!(signature.len(), 3309);
    assert_eq!(verify(b"message", &signature), Ok(()));
    assert_eq!(verify(b"massage", &signature), Err(VerifyError::Signature));
    assert_eq!(
        verify(b"message", &sign(&key, b"message", b"context")),
        Err(VerifyError::Signature)
    );
    assert_eq!(verify(b"message", &signature[1..]), Err(VerifyError::Signature));
    for at in [0, 48, 1600, 3308] {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        assert_eq!(verify(b"message", &changed), Err(VerifyError::Signature), "{at}");
    }
    let mismatch = verify_signature(&spki, SignatureAlgorithm::Ed25519, b"message", &signature);
    assert!(matches!(mismatch, Err(VerifyError::Mismatch { .. })));
}

/// The useful case: a root of ML-DSA-65, an issuing CA of P-256 below it, and leaves of P-256.
#[test]
fn rustls_follows_a_chain_to_an_ml_dsa_root() {
    let root_key = TestKey::generate(KeyType::MlDsa65);
    let root_tbs = authority(&root_key, "Root", None, &root_key, None);
    let root = root_tbs.assemble(&root_key.sign(root_tbs.as_der()));
    let key = TestKey::generate(KeyType::P256);
    let tbs: AuthorityTbs = authority(&key, "Issuing", Some("Root"), &root_key, Some(root_tbs.ski()));
    let issuing = tbs.assemble(&root_key.sign(tbs.as_der()));
    let chain = IssuerChain::load(&to_pem(&issuing), &to_pem(&root), NOW).unwrap();
    assert_eq!(chain.signature_algorithm(), SignatureAlgorithm::EcdsaP256Sha256);
    crate::lint_authority(&issuing, &tbs, &root_key.spki_der()).unwrap();

    let ca = crate::testing::TestCa {
        key,
        root: root.clone(),
        intermediate: issuing.clone(),
        chain,
    };
    let leaf_key = TestKey::generate(KeyType::P256);
    let leaf = LeafTbs::build(&ca.leaf(leaf_key.spki_der())).unwrap();
    crate::lint_leaf(&leaf, &ca.chain).unwrap();
    crate::ceiling::check(leaf.fields(), &ceiling(), &ca.chain, NOW).unwrap();
    let leaf = leaf.assemble(&ca.key.sign(leaf.as_der()));

    let (leaf, issuing, root) = (
        CertificateDer::from(leaf),
        CertificateDer::from(issuing),
        CertificateDer::from(root),
    );
    let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
    let at = u64::try_from(NOW.unix_seconds()).unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
    let validate = |algorithms: &[_]| {
        EndEntityCert::try_from(&leaf)
            .unwrap()
            .verify_for_usage(
                algorithms,
                std::slice::from_ref(&anchor),
                std::slice::from_ref(&issuing),
                at,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map(|_| ())
    };
    validate(webpki::ALL_VERIFICATION_ALGS).unwrap();
    // Who does not know ML-DSA refuses the chain.
    validate(&[webpki::aws_lc_rs::ECDSA_P256_SHA256]).unwrap_err();
    assert!(ca.chain.usages().contains(&Usage::ServerAuth));
}

/// Workloads have no such keys: their requests are refused as those of any unknown algorithm.
#[test]
fn no_leaf_has_an_ml_dsa_key() {
    let key = TestKey::generate(KeyType::MlDsa65);
    let tbs = RequestTbs::build(&RequestFields {
        subject_der: authority_name(None, "web"),
        spki_der: key.spki_der(),
        sans: Vec::new(),
        signature_algorithm: SignatureAlgorithm::MlDsa65,
    })
    .unwrap();
    let request = tbs.assemble(&key.sign(tbs.as_der()));
    let refused = VerifiedCsr::from_der(&request, &CsrLimits { max_bytes: 1 << 16 }).unwrap_err();
    assert!(
        matches!(refused, CsrError::Key(SpkiError::Algorithm { .. })),
        "{refused}"
    );
    let ca = crate::testing::TestCa::new(KeyType::P256);
    LeafTbs::build(&ca.leaf(key.spki_der())).unwrap_err();
}
