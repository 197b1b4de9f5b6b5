//! From fields to a verified certificate, judged by other implementations: openssl, x509-cert, p384.

mod ml_dsa;

use std::fs;

use sealwright_identity::{Clock as _, KeyType, San, SystemClock, Timestamp, Usage};

use crate::{
    LeafFields, LeafKind, LeafTbs, SignatureAlgorithm, SpkiRef, ceiling, lint_leaf,
    testing::{CA_KEYS, DAY, NOW, TestCa, TestKey, ceiling as ceiling_of, openssl, spiffe, to_pem},
    verify::{VerifyError, verify_signature},
};

fn profiles(ca: &TestCa, spki_der: &[u8]) -> Vec<(&'static str, LeafFields)> {
    let workload = ca.leaf(spki_der.to_vec());
    let mut dual_use = ca.leaf(spki_der.to_vec());
    dual_use.common_name = crate::tbs::common_name_of(&dual_use.sans[0]);
    dual_use.sans.push("DNS:web.svc".parse().unwrap());
    let mut longest = ca.leaf(spki_der.to_vec());
    longest.sans = vec![spiffe(&format!("/{}", "a".repeat(2048 - 23)))];
    let mut serving = ca.leaf(spki_der.to_vec());
    serving.kind = LeafKind::Serving;
    serving.usages = vec![Usage::ServerAuth];
    serving.sans = serving_names();
    vec![
        ("workload", workload),
        ("dual use", dual_use),
        ("the longest ID", longest),
        ("serving", serving),
    ]
}

fn serving_names() -> Vec<San> {
    let names = [
        "DNS:localhost",
        "DNS:istiod.istio-system.svc",
        "IP:127.0.0.1",
        "IP:::1",
    ];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Every CA key and every leaf key: linted, inside the ceiling, signed, verified by us and by openssl.
#[test]
fn openssl_takes_every_profile_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, der: &[u8]| fs::write(folder.path().join(file), to_pem(der)).unwrap();
    let at = NOW.unix_seconds().to_string();
    let leaf_keys = CA_KEYS.map(TestKey::generate);
    let mut limits = ceiling_of();
    limits.common_name = sealwright_identity::CommonName::FirstName;
    for key_type in CA_KEYS {
        let ca = TestCa::new(key_type);
        write("root.pem", &ca.root);
        write("intermediate.pem", &ca.intermediate);
        for (leaf_key, (profile, fields)) in leaf_keys
            .iter()
            .flat_map(|key| profiles(&ca, &key.spki_der()).into_iter().map(move |p| (key, p)))
        {
            let what = format!("{profile} of {} by {key_type}", leaf_key.key_type());
            let tbs = LeafTbs::build(&fields).unwrap();
            lint_leaf(&tbs, &ca.chain).unwrap_or_else(|found| panic!("{what}: {found:?}"));
            let decoded = LeafTbs::decode(tbs.as_der()).unwrap();
            let inside = match fields.kind {
                LeafKind::Workload => ceiling::check(decoded.fields(), &limits, &ca.chain, NOW),
                LeafKind::Serving => {
                    ceiling::check_serving(decoded.fields(), &serving_names(), &limits, &ca.chain, NOW)
                }
            };
            inside.unwrap_or_else(|error| panic!("{what}: {error}"));
            let signature = ca.key.sign(tbs.as_der());
            ca.chain.verify(tbs.as_der(), &signature).unwrap();
            write("leaf.pem", &tbs.assemble(&signature));
            let verify = [
                "verify",
                "-x509_strict",
                "-attime",
                &at,
                "-purpose",
                "sslserver",
                "-CAfile",
                "root.pem",
                "-untrusted",
                "intermediate.pem",
                "leaf.pem",
            ];
            let output = openssl(folder.path(), &verify);
            assert_eq!(output, "leaf.pem: OK\n", "{what}");
        }
    }
}

#[test]
fn openssl_prints_the_profile_as_we_mean_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new(KeyType::P384);
    let tbs = LeafTbs::build(&ca.leaf(TestKey::generate(KeyType::P256).spki_der())).unwrap();
    let certificate = tbs.assemble(&ca.key.sign(tbs.as_der()));
    fs::write(folder.path().join("leaf.pem"), to_pem(&certificate)).unwrap();
    let text = openssl(folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
    for line in [
        "Signature Algorithm: ecdsa-with-SHA384",
        "Subject: \n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name: critical\n                URI:spiffe://cluster.local/ns/default/sa/web",
        "Not Before: Nov 22 09:58:00 2026 GMT",
        "Not After : Nov 22 11:00:00 2026 GMT",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

/// The independent verifier: an implementation that shares no code with the one in use.
#[test]
fn another_p384_verifies_what_ours_verifies() {
    use p384::{
        ecdsa::{DerSignature, VerifyingKey, signature::Verifier as _},
        pkcs8::DecodePublicKey as _,
    };
    let ca = TestCa::new(KeyType::P384);
    let tbs = LeafTbs::build(&ca.leaf(TestKey::generate(KeyType::P256).spki_der())).unwrap();
    let signature = ca.key.sign(tbs.as_der());
    let key = VerifyingKey::from_public_key_der(ca.chain.spki_der()).unwrap();
    let parsed = DerSignature::from_bytes(&signature).unwrap();
    key.verify(tbs.as_der(), &parsed).unwrap();
    ca.chain.verify(tbs.as_der(), &signature).unwrap();
    assert!(key.verify(&tbs.as_der()[1..], &parsed).is_err());
}

#[test]
fn signatures_are_of_one_key_one_algorithm_and_one_message() {
    let keys = CA_KEYS.map(TestKey::generate);
    for key in &keys {
        let signature = key.sign(b"message");
        let spki = key.spki_der();
        assert_eq!(
            verify_signature(&spki, key.algorithm(), b"message", &signature),
            Ok(())
        );
        assert_eq!(
            verify_signature(&spki, key.algorithm(), b"massage", &signature),
            Err(VerifyError::Signature)
        );
        let other = TestKey::generate(key.key_type()).spki_der();
        assert_eq!(
            verify_signature(&other, key.algorithm(), b"message", &signature),
            Err(VerifyError::Signature)
        );
        for algorithm in SignatureAlgorithm::ALL {
            let outcome = verify_signature(&spki, algorithm, b"message", &signature);
            assert_eq!(outcome.is_ok(), algorithm == key.algorithm(), "{algorithm}");
        }
        assert!(verify_signature(&[], key.algorithm(), b"message", &signature).is_err());
        assert_eq!(SpkiRef::parse(&spki).unwrap().key_type(), key.key_type());
    }
}

#[test]
fn the_lint_finds_a_leaf_of_another_issuer() {
    let (ca, other) = (TestCa::new(KeyType::P256), TestCa::new(KeyType::P384));
    let leaf = LeafTbs::build(&ca.leaf(TestKey::generate(KeyType::P256).spki_der())).unwrap();
    let codes = |leaf: &LeafTbs, chain| -> Vec<&str> {
        let findings = lint_leaf(leaf, chain).unwrap_err();
        findings.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(
        codes(&leaf, &other.chain),
        ["algorithm", "authority-key-identifier"]
    );
    let mut long = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    let end = NOW.saturating_add(DAY * 20);
    long.validity = sealwright_identity::Validity::new(NOW, end).unwrap();
    long.issuer_der = crate::name::authority_name(None, "Other");
    let leaf = LeafTbs::build(&long).unwrap();
    assert_eq!(codes(&leaf, &ca.chain), ["issuer", "validity"]);
}

#[test]
fn the_ceiling_bounds_keys_usages_and_lifetimes() {
    let ca = TestCa::new(KeyType::P256);
    let fields = ca.leaf(TestKey::generate(KeyType::Rsa(2048)).spki_der());
    let check = |fields: &LeafFields, change: &dyn Fn(&mut sealwright_identity::Ceiling), now: Timestamp| {
        let mut limits = ceiling_of();
        change(&mut limits);
        ceiling::check(fields, &limits, &ca.chain, now).map_err(|violation| violation.code())
    };
    let hour = crate::testing::HOUR;
    let second = std::time::Duration::from_secs(1);
    assert_eq!(check(&fields, &|_| {}, NOW), Ok(()));
    assert_eq!(
        check(&fields, &|c| c.key_types = vec![KeyType::Rsa(3072)], NOW),
        Err("CEILING_KEY")
    );
    assert_eq!(
        check(&fields, &|c| c.usages = vec![Usage::ServerAuth], NOW),
        Err("CEILING_USAGE")
    );
    // Exactly the maximum: two minutes of backdating do not count.
    assert_eq!(check(&fields, &|c| c.max_lifetime = hour, NOW), Ok(()));
    assert_eq!(
        check(&fields, &|c| c.max_lifetime = hour - second, NOW),
        Err("CEILING_LIFETIME")
    );
    // The window of notBefore: 5 minutes back, 1 minute ahead.
    let minute = second * 60;
    for (clock, expected) in [
        (NOW.saturating_add(minute * 3), Ok(())),
        (NOW.saturating_add(minute * 3 + second), Err("CEILING_NOT_BEFORE")),
        (NOW.saturating_sub(minute * 3), Ok(())),
        (NOW.saturating_sub(minute * 3 + second), Err("CEILING_NOT_BEFORE")),
    ] {
        assert_eq!(check(&fields, &|_| {}, clock), expected, "{clock}");
    }
    // Exactly the issuer's end.
    let mut longest = fields.clone();
    longest.validity = sealwright_identity::Validity::new(NOW, ca.chain.not_after()).unwrap();
    assert_eq!(check(&longest, &|_| {}, NOW), Ok(()));
    // Names of a serving certificate are exactly the configured ones.
    let mut serving = profiles(&ca, &fields.spki_der).pop().unwrap().1;
    let outcome = |fields: &LeafFields| {
        ceiling::check_serving(fields, &serving_names(), &ceiling_of(), &ca.chain, NOW)
            .map_err(|violation| violation.code())
    };
    assert_eq!(outcome(&serving), Ok(()));
    assert_eq!(outcome(&fields), Err("CEILING_KIND"));
    serving.sans.push("DNS:example.com".parse().unwrap());
    assert_eq!(outcome(&serving), Err("CEILING_NAME"));
}

#[test]
#[ignore = "prints durations; run it by hand in a release build"]
fn how_long_the_hot_path_takes() {
    let ca = TestCa::new(KeyType::P384);
    let spki = TestKey::generate(KeyType::P256).spki_der();
    let fields = ca.leaf(spki);
    let tbs = LeafTbs::build(&fields).unwrap();
    let signature = ca.key.sign(tbs.as_der());
    let key = TestKey::generate(KeyType::P256);
    let request = crate::RequestTbs::build(&crate::RequestFields {
        subject_der: crate::request::EMPTY_NAME.to_vec(),
        spki_der: key.spki_der(),
        sans: vec![spiffe("/ns/a/sa/b")],
        signature_algorithm: key.algorithm(),
    })
    .unwrap();
    let csr = request.assemble(&key.sign(request.as_der()));
    let pem = crate::pem::encode(crate::pem::CERTIFICATE_REQUEST, &csr);
    let time = |what: &str, work: &dyn Fn()| {
        let start = SystemClock.now();
        (0..2000).for_each(|_| work());
        println!("{what}: {:?}", SystemClock.now().saturating_since(start) / 2000);
    };
    let limits = crate::CsrLimits::default();
    time("verify a P-256 request in PEM", &|| {
        crate::VerifiedCsr::from_pem_or_der(pem.as_bytes(), &limits).unwrap();
    });
    time("build", &|| drop(LeafTbs::build(&fields).unwrap()));
    time("decode and rebuild", &|| {
        drop(LeafTbs::decode(tbs.as_der()).unwrap())
    });
    time("lint", &|| lint_leaf(&tbs, &ca.chain).unwrap());
    time("ceiling", &|| {
        ceiling::check(tbs.fields(), &ceiling_of(), &ca.chain, NOW).unwrap()
    });
    time("verify a P-384 signature", &|| {
        ca.chain.verify(tbs.as_der(), &signature).unwrap()
    });
    time("assemble", &|| drop(tbs.assemble(&signature)));
}
