//! Requests as clients and as attackers send them. Most are made by other tools, at run time.

use std::{fs, path::Path};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType, string::Ia5String};
use sealwright_identity::{Digest, KeyType};

use super::*;
use crate::{
    RequestFields, RequestTbs,
    asn1::Writer,
    asn1::tag,
    name, request,
    testing::{TestKey, openssl, spiffe},
};

const LIMITS: CsrLimits = CsrLimits { max_bytes: 16_384 };

fn parse(bytes: &[u8]) -> Result<VerifiedCsr, CsrError> {
    VerifiedCsr::from_pem_or_der(bytes, &LIMITS)
}

fn code(bytes: &[u8]) -> &'static str {
    parse(bytes).expect_err("a refusal").code()
}

fn own(key: &TestKey, subject_der: &[u8]) -> Vec<u8> {
    let request = RequestTbs::build(&RequestFields {
        subject_der: subject_der.to_vec(),
        spki_der: key.spki_der(),
        sans: vec![spiffe("/ns/a/sa/b")],
        signature_algorithm: key.algorithm(),
    })
    .unwrap();
    request.assemble(&key.sign(request.as_der()))
}

/// A request by openssl, in PEM.
fn by_openssl(key: &[&str], more: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let base = [
        "req", "-new", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-newkey",
    ];
    openssl(folder.path(), &[&base[..], key, more].concat());
    fs::read(folder.path().join("csr.pem")).unwrap()
}

#[test]
fn takes_every_kind_of_key() {
    for key_type in [
        KeyType::P256,
        KeyType::P384,
        KeyType::Ed25519,
        KeyType::Rsa(2048),
        KeyType::Rsa(3072),
    ] {
        let key = TestKey::generate(key_type);
        let der = own(&key, request::EMPTY_NAME);
        let csr = VerifiedCsr::from_der(&der, &LIMITS).unwrap();
        assert_eq!(csr.key_type(), key_type);
        assert_eq!(csr.spki_der(), key.spki_der());
        assert_eq!(csr.der(), der);
        assert_eq!(csr.facts().spki_digest, Digest::of(&key.spki_der()));
        assert_eq!(csr.facts().uris, ["spiffe://cluster.local/ns/a/sa/b"]);
        assert_eq!(csr.facts().extensions, ["2.5.29.17"]);
        for label in [pem::CERTIFICATE_REQUEST, pem::NEW_CERTIFICATE_REQUEST] {
            assert_eq!(parse(pem::encode(label, &der).as_bytes()).unwrap(), csr);
        }
    }
}

#[test]
fn takes_what_openssl_and_rcgen_make() {
    let subject = ["-subj", "/"];
    for key in [
        &["rsa:2048"][..],
        &["rsa:3072", "-sha384"],
        &["rsa:2048", "-sha512"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha512"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha256"],
        &["ed25519"],
    ] {
        parse(&by_openssl(key, &subject)).unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
    }
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        parse(request.der()).unwrap();
        parse(request.pem().unwrap().as_bytes()).unwrap();
    }
}

#[test]
fn the_subjects_of_istio_clients_are_good() {
    let key = TestKey::generate(KeyType::P256);
    // ztunnel: no attribute at all.
    let ztunnel = parse(&own(&key, request::EMPTY_NAME)).unwrap();
    assert!(ztunnel.facts().organizations.is_empty() && ztunnel.facts().common_name.is_none());
    // pilot-agent: one organization, which is an empty PrintableString.
    let empty = [0x30, 11, 0x31, 9, 0x30, 7, 6, 3, 0x55, 4, 0x0a, 0x13, 0];
    let agent = parse(&own(&key, &empty)).unwrap();
    assert_eq!(agent.facts().organizations, [""]);
}

#[test]
fn what_is_asked_for_beside_the_key_is_a_fact_and_no_more() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "admin");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    params.subject_alt_names = vec![
        SanType::DnsName("example.com".try_into().unwrap()),
        SanType::URI(Ia5String::try_from("spiffe://other/x,spiffe://other/y").unwrap()),
        SanType::IpAddress("::1".parse().unwrap()),
        SanType::Rfc822Name("root@example.com".try_into().unwrap()),
    ];
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
        &[1, 2, 3, 4],
        vec![5, 0],
    )];
    let key = KeyPair::generate().unwrap();
    let csr = parse(params.serialize_request(&key).unwrap().der()).unwrap();
    let facts = csr.facts();
    assert!(facts.is_ca);
    assert_eq!(facts.common_name.as_deref(), Some("admin"));
    assert_eq!(facts.organizations, ["system:masters"]);
    assert_eq!(facts.dns, ["example.com"]);
    // A comma does not make two names of one.
    assert_eq!(facts.uris, ["spiffe://other/x,spiffe://other/y"]);
    assert_eq!(facts.ips, ["::1"]);
    assert_eq!(facts.emails, ["root@example.com"]);
    for oid in ["2.5.29.17", "2.5.29.19", "2.5.29.15", "2.5.29.37", "1.2.3.4"] {
        assert!(facts.extensions.iter().any(|found| found == oid), "{oid}");
    }
    assert_eq!(facts.signature_algorithm, "ecdsa-with-SHA256");
}

#[test]
fn what_is_not_one_request_is_refused() {
    let key = TestKey::generate(KeyType::P256);
    let der = own(&key, request::EMPTY_NAME);
    let text = pem::encode(pem::CERTIFICATE_REQUEST, &der);
    let trailing = [der.as_slice(), &[0]].concat();
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("empty", Vec::new(), "csr_empty"),
        ("huge", vec![b'A'; 16_385], "csr_too_large"),
        ("not PEM", b"hello".to_vec(), "csr_not_pem"),
        ("blank", b"\n\n".to_vec(), "csr_not_pem"),
        ("two blocks", text.repeat(2).into_bytes(), "csr_not_pem"),
        ("text after", format!("{text}x").into_bytes(), "csr_not_pem"),
        ("text before", format!("x\n{text}").into_bytes(), "csr_not_pem"),
        (
            "cut off in PEM",
            text.as_bytes()[..text.len() / 2].to_vec(),
            "csr_not_pem",
        ),
        (
            "a certificate's label",
            pem::encode(pem::CERTIFICATE, &der).into_bytes(),
            "csr_not_pem",
        ),
        (
            "a key's label",
            pem::encode("PRIVATE KEY", &der).into_bytes(),
            "csr_not_pem",
        ),
        ("bytes after in DER", trailing.clone(), "csr_trailing_bytes"),
        (
            "bytes after in PEM",
            pem::encode(pem::CERTIFICATE_REQUEST, &trailing).into_bytes(),
            "csr_trailing_bytes",
        ),
        ("an empty SEQUENCE", vec![0x30, 0], "csr_malformed"),
        ("an endless length", vec![0x30, 0x80, 0, 0], "csr_malformed"),
        (
            "a huge length",
            vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            "csr_malformed",
        ),
        (
            "version 2",
            change(&der, &[2, 1, 0, 0x30], &[2, 1, 1, 0x30]),
            "csr_malformed",
        ),
    ];
    for (what, bytes, expected) in table {
        assert_eq!(code(bytes), *expected, "{what}");
    }
    for end in 1..der.len() {
        assert_eq!(code(&der[..end]), "csr_malformed", "cut off after {end}");
    }
}

#[test]
fn a_signature_of_another_key_or_over_other_bytes_is_refused() {
    let (key, other) = (TestKey::generate(KeyType::P256), TestKey::generate(KeyType::P256));
    let build = |key: &TestKey| {
        RequestTbs::build(&RequestFields {
            subject_der: request::EMPTY_NAME.to_vec(),
            spki_der: key.spki_der(),
            sans: Vec::new(),
            signature_algorithm: key.algorithm(),
        })
        .unwrap()
    };
    let request = build(&key);
    assert_eq!(
        code(&request.assemble(&other.sign(request.as_der()))),
        "csr_signature"
    );
    assert_eq!(code(&request.assemble(&[])), "csr_signature");
    let good = request.assemble(&key.sign(request.as_der()));
    parse(&good).unwrap();
    // Every octet counts: the request's are signed, and the signature's are the signature.
    for position in 0..good.len() {
        let mut changed = good.clone();
        changed[position] ^= 1;
        assert!(parse(&changed).is_err(), "{position}");
    }
}

#[test]
fn weak_and_unknown_keys_are_refused_by_name() {
    let rsa = by_openssl(&["rsa:1024"], &["-subj", "/"]);
    assert_eq!(
        parse(&rsa),
        Err(CsrError::Key(SpkiError::RsaModulus { bits: 1024 }))
    );
    let small_exponent = by_openssl(&["rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"], &["-subj", "/"]);
    assert_eq!(parse(&small_exponent), Err(CsrError::Key(SpkiError::RsaExponent)));
    for curve in ["P-521", "secp256k1", "P-224"] {
        let option = format!("ec_paramgen_curve:{curve}");
        let request = by_openssl(&["ec", "-pkeyopt", &option], &["-subj", "/"]);
        assert!(
            matches!(parse(&request), Err(CsrError::Key(SpkiError::Curve { .. }))),
            "{curve}"
        );
    }
    let explicit = [
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-pkeyopt",
        "ec_param_enc:explicit",
    ];
    assert_eq!(code(&by_openssl(&explicit, &["-subj", "/"])), "csr_key");
    let ed448 = by_openssl(&["ed448"], &["-subj", "/"]);
    assert!(matches!(
        parse(&ed448),
        Err(CsrError::Key(SpkiError::Algorithm { .. }))
    ));
    let key = TestKey::generate(KeyType::P256);
    let off_curve = {
        let mut spki = key.spki_der();
        let last = spki.len() - 1;
        spki[last] ^= 1;
        signed(
            &key,
            &info(&spki, request::EMPTY_NAME, &[]),
            key.algorithm().identifier_der(),
        )
    };
    assert!(parse(&off_curve).is_err());
}

#[test]
fn weak_and_unfitting_signatures_are_refused_by_name() {
    for (options, algorithm) in [
        (&["rsa:2048", "-sha1"][..], "sha1WithRSAEncryption"),
        (&["rsa:2048", "-md5"], "md5WithRSAEncryption"),
        (
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha1"],
            "ecdsa-with-SHA1",
        ),
    ] {
        let request = by_openssl(options, &["-subj", "/"]);
        assert_eq!(
            parse(&request),
            Err(CsrError::Algorithm(VerifyError::Weak { algorithm }))
        );
    }
    let pss = by_openssl(&["rsa:2048", "-sigopt", "rsa_padding_mode:pss"], &["-subj", "/"]);
    assert!(matches!(
        parse(&pss),
        Err(CsrError::Algorithm(VerifyError::Unsupported { .. }))
    ));
    // An algorithm of another kind of key.
    let key = TestKey::generate(KeyType::P256);
    let info = info(&key.spki_der(), request::EMPTY_NAME, &[]);
    let unfitting = signed(&key, &info, crate::SignatureAlgorithm::Ed25519.identifier_der());
    assert!(matches!(
        parse(&unfitting),
        Err(CsrError::Algorithm(VerifyError::Mismatch { .. }))
    ));
}

#[test]
fn extensions_are_asked_for_once_or_not_at_all() {
    let key = TestKey::generate(KeyType::P256);
    let algorithm = key.algorithm().identifier_der();
    let attribute = |value: &[u8]| {
        let mut w = Writer::with_capacity(0);
        w.nest(tag::SEQUENCE, |w| {
            w.value(tag::OID, crate::oids::EXTENSION_REQUEST);
            w.value(tag::SET, value);
        });
        w.into_bytes()
    };
    let request = |attributes: &[u8]| {
        let info = info(&key.spki_der(), request::EMPTY_NAME, attributes);
        parse(&signed(&key, &info, algorithm)).map_err(|error| error.code())
    };
    let none = attribute(&[0x30, 0]);
    let (san, bad_san) = ([0x55, 0x1d, 0x11], [6, 3, 0x55, 0x1d, 0x11, 4, 1, 0]);
    let extension = [&[0x30, 9, 6, 3], &san[..], &[4, 2, 0x30, 0]].concat();
    let once = [&[0x30, 11], extension.as_slice()].concat();
    let twice = [&[0x30, 22], extension.as_slice(), extension.as_slice()].concat();
    let unreadable = [&[0x30, 10, 0x30, 8], &bad_san[..]].concat();
    assert!(request(&[]).is_ok());
    assert!(request(&none).is_ok());
    assert!(request(&attribute(&once)).is_ok());
    assert_eq!(request(&attribute(&twice)), Err("csr_malformed"));
    assert_eq!(request(&attribute(&unreadable)), Err("csr_malformed"));
    assert_eq!(
        request(&[none.clone(), none.clone()].concat()),
        Err("csr_malformed")
    );
    assert_eq!(request(&attribute(&[0x30, 0, 0x30, 0])), Err("csr_malformed"));
    // A challenge password is passed over.
    let challenge = [
        0x30, 17, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7, 0x31, 4, 0x0c, 2, b'p', b'w',
    ];
    assert!(request(&challenge).is_ok());
    // Some writers leave the whole field out.
    let mut w = Writer::with_capacity(0);
    w.nest(tag::SEQUENCE, |w| {
        w.value(tag::INTEGER, &[0]);
        w.raw(request::EMPTY_NAME);
        w.raw(&key.spki_der());
    });
    assert!(parse(&signed(&key, &w.into_bytes(), algorithm)).is_ok());
}

#[test]
fn openssl_takes_the_requests_that_we_make() {
    let folder = tempfile::tempdir().unwrap();
    for key_type in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa(2048)] {
        let der = own(
            &TestKey::generate(key_type),
            &name::authority_name(Some("Test"), "Client"),
        );
        fs::write(folder.path().join("csr.der"), der).unwrap();
        let text = openssl(
            Path::new(folder.path()),
            &[
                "req", "-in", "csr.der", "-inform", "DER", "-verify", "-noout", "-text",
            ],
        );
        assert!(text.contains("URI:spiffe://cluster.local/ns/a/sa/b"), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
        let mut sequence = bytes;
        sequence.insert(0, 0x30);
        let _ = parse(&sequence);
    }

    #[test]
    fn arbitrary_attributes_and_subjects_never_panic(
        subject in prop::collection::vec(any::<u8>(), 0..100),
        attributes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let key = TestKey::generate(KeyType::P256);
        let mut w = Writer::with_capacity(0);
        w.value(tag::SEQUENCE, &subject);
        let info = info(&key.spki_der(), &w.into_bytes(), &attributes);
        let _ = parse(&signed(&key, &info, key.algorithm().identifier_der()));
    }
}

/// A `CertificationRequestInfo` of any parts.
fn info(spki: &[u8], subject: &[u8], attributes: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(0);
    w.nest(tag::SEQUENCE, |w| {
        w.value(tag::INTEGER, &[0]);
        w.raw(subject);
        w.raw(spki);
        w.value(tag::context_constructed(0), attributes);
    });
    w.into_bytes()
}

/// A request of any parts, rightly signed.
fn signed(key: &TestKey, info: &[u8], algorithm: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(0);
    w.nest(tag::SEQUENCE, |w| {
        w.raw(info);
        w.raw(algorithm);
        w.bits(&key.sign(info));
    });
    w.into_bytes()
}

fn change(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let position = bytes
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    [&bytes[..position], to, &bytes[position + from.len()..]].concat()
}
