//! Certification requests, whole or signed here.
//!
//! An input that begins as DER or PEM does is read as it is. Otherwise its first octet says which part of a
//! request the rest is (`S` subject, `A` attributes, `X` extensions, `N` alternative names); the request around
//! it is made and signed here, so that what lies behind the signature is reached too.
//!
//! Claims: what is taken is minimal DER on the way down to the key, and is one octet string (PEM gives the same
//! value, reading again gives the same value); every change of one octet of it is refused; its key is of a kind
//! that we certify and is the request's; `x509-cert`, where it reads the request at all, reads the same octets
//! (sets may be in any order) and the same facts;
//! facts are not much larger than the request; a request above the limit is refused as such.
#![no_main]

use std::{net::IpAddr, sync::LazyLock};

use der::{Decode as _, Encode as _};
use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::{keys::Key, seeds, tlv};
use sealwright_identity::{Digest, KeyType};
use sealwright_x509::{CsrError, CsrFacts, CsrLimits, SpkiRef, VerifiedCsr, pem};
use x509_cert::{
    ext::{
        Extension, Extensions,
        pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
    },
    request::CertReq,
};

const LIMITS: CsrLimits = CsrLimits { max_bytes: 16_384 };
const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
const EXTENSION_REQUEST: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x0e];
const SAN_OID: [u8; 5] = [6, 3, 0x55, 0x1d, 0x11];

static KEY: LazyLock<Key> = LazyLock::new(|| Key::of(1));

fuzz_target!(
    init: { seeds::write(first()) },
    |input: &[u8]| {
        let made = make(input);
        let bytes = made.as_deref().unwrap_or(input);
        match VerifiedCsr::from_pem_or_der(bytes, &LIMITS) {
            Ok(csr) => taken(&csr, input),
            Err(error) => refused(&error, bytes),
        }
    }
);

/// The request around a part of it.
fn make(input: &[u8]) -> Option<Vec<u8>> {
    let (kind, part) = input.split_first()?;
    let attribute = |list: &[u8]| {
        let extensions = tlv::write(0x30, &[list]);
        tlv::write(0x30, &[&EXTENSION_REQUEST, &tlv::write(0x31, &[&extensions])])
    };
    match kind {
        b'S' => Some(request(part, &[])),
        b'A' => Some(request(&[], part)),
        b'X' => Some(request(&[], &attribute(part))),
        b'N' => {
            let names = tlv::write(4, &[&tlv::write(0x30, &[part])]);
            Some(request(&[], &attribute(&tlv::write(0x30, &[&SAN_OID, &names]))))
        }
        _ => None,
    }
}

fn request(subject: &[u8], attributes: &[u8]) -> Vec<u8> {
    let (subject, attributes) = (tlv::write(0x30, &[subject]), tlv::write(0xa0, &[attributes]));
    let info = tlv::write(0x30, &[&[2, 1, 0], &subject, KEY.spki(), &attributes]);
    let signature = tlv::write(3, &[&[0], &KEY.sign(&info)]);
    tlv::write(0x30, &[&info, &ED25519, &signature])
}

fn refused(error: &CsrError, bytes: &[u8]) {
    assert!(error.code().starts_with("csr_"));
    assert_eq!(matches!(error, CsrError::Empty), bytes.is_empty());
    assert_eq!(
        matches!(error, CsrError::TooLarge { .. }),
        bytes.len() > LIMITS.max_bytes
    );
}

fn taken(csr: &VerifiedCsr, input: &[u8]) {
    let der = csr.der();
    assert_eq!(VerifiedCsr::from_der(der, &LIMITS).as_ref(), Ok(csr));
    let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
    let roomy = CsrLimits {
        max_bytes: text.len(),
    };
    assert_eq!(
        VerifiedCsr::from_pem_or_der(text.as_bytes(), &roomy).as_ref(),
        Ok(csr)
    );
    let tight = CsrLimits {
        max_bytes: der.len() - 1,
    };
    assert!(matches!(
        VerifiedCsr::from_der(der, &tight),
        Err(CsrError::TooLarge { .. })
    ));

    structure(csr);
    altered(der, input);
    facts_are_bounded(csr.facts(), der.len());
    if let Ok(other) = CertReq::from_der(der) {
        compare(csr, &other);
    }
}

/// Down to the key by a reader that shares nothing with the product's.
fn structure(csr: &VerifiedCsr) {
    let (whole, rest) = tlv::next(csr.der()).expect("minimal DER");
    assert!(rest.is_empty() && whole.tag == 0x30);
    let parts = tlv::all(whole.contents).expect("minimal DER");
    assert_eq!(
        parts.iter().map(|part| part.tag).collect::<Vec<_>>(),
        [0x30, 0x30, 3]
    );
    let info = tlv::all(parts[0].contents).expect("minimal DER");
    assert!(matches!(info.len(), 3 | 4));
    assert_eq!(info[0].whole, [2, 1, 0]);
    assert_eq!(info[2].whole, csr.spki_der());
    assert!(tlv::all(info[1].contents).is_some_and(|sets| sets.iter().all(|set| set.tag == 0x31)));
    if let Some(attributes) = info.get(3) {
        assert_eq!(attributes.tag, 0xa0);
        assert!(tlv::all(attributes.contents).is_some_and(|list| list.iter().all(|one| one.tag == 0x30)));
    }

    let spki = SpkiRef::parse(csr.spki_der()).expect("the key was taken");
    assert_eq!(spki.key_type(), csr.key_type());
    assert_eq!(csr.facts().spki_digest, Digest::of(csr.spki_der()));
    match csr.key_type() {
        KeyType::P256 | KeyType::P384 | KeyType::Ed25519 => {}
        KeyType::Rsa(bits) => assert!((2048..=8192).contains(&bits)),
        KeyType::MlDsa65 => panic!("no leaf has such a key"),
    }
}

/// No other octets at one place are a request: not of this key, not of this signature. The place is the input's.
fn altered(der: &[u8], input: &[u8]) {
    let seed = input.iter().fold(0_usize, |sum, octet| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*octet))
    });
    let mut other = der.to_vec();
    let place = seed % other.len();
    other[place] ^= 1 << (seed / other.len() % 8);
    let found = VerifiedCsr::from_der(&other, &LIMITS);
    assert!(found.is_err(), "octet {place} of {} does not matter", der.len());
}

/// Facts go into a record, which is bounded: no small request may make large ones.
fn facts_are_bounded(facts: &CsrFacts, octets: usize) {
    let lists = [
        &facts.uris,
        &facts.dns,
        &facts.ips,
        &facts.emails,
        &facts.organizations,
        &facts.extensions,
    ];
    let texts: usize = lists.iter().flat_map(|list| list.iter()).map(String::len).sum();
    let name = facts.common_name.as_ref().map_or(0, String::len);
    assert!(texts + name <= 4 * octets, "{texts} + {name} of {octets}");
    let json = serde_json::to_vec(facts).expect("facts have a JSON form");
    assert_eq!(
        serde_json::from_slice::<CsrFacts>(&json).ok().as_ref(),
        Some(facts)
    );
}

fn compare(csr: &VerifiedCsr, other: &CertReq) {
    let facts = csr.facts();
    // It writes sets in DER's order; the order in which a request had them is nobody's concern here.
    let sorted = |mut octets: Vec<u8>| {
        octets.sort_unstable();
        octets
    };
    let again = other.to_der().expect("it was read from DER");
    assert_eq!(sorted(again), sorted(csr.der().to_vec()));
    assert_eq!(
        other.info.public_key.to_der().expect("it was read from DER"),
        csr.spki_der()
    );
    let wanted = const_oid();
    let mut lists = other
        .info
        .attributes
        .iter()
        .filter(|attribute| attribute.oid == wanted);
    let Some(attribute) = lists.next() else {
        assert!(facts.extensions.is_empty() && facts.dns.is_empty() && facts.uris.is_empty() && !facts.is_ca);
        return;
    };
    assert!(lists.next().is_none(), "extensions are asked for twice");
    assert_eq!(attribute.values.len(), 1);
    let Some(Ok(extensions)) = attribute
        .values
        .iter()
        .next()
        .map(|value| value.decode_as::<Extensions>())
    else {
        return;
    };
    let oids: Vec<String> = extensions.iter().map(|one| one.extn_id.to_string()).collect();
    assert_eq!(facts.extensions, oids);
    extensions.iter().for_each(|extension| one(facts, extension));
}

fn one(facts: &CsrFacts, extension: &Extension) {
    let value = extension.extn_value.as_bytes();
    match extension.extn_id.to_string().as_str() {
        "2.5.29.19" => {
            if let Ok(basic) = BasicConstraints::from_der(value) {
                assert_eq!(basic.ca, facts.is_ca);
            }
        }
        "2.5.29.17" => {
            if let Ok(names) = SubjectAltName::from_der(value) {
                names_agree(facts, &names);
            }
        }
        _ => {}
    }
}

fn names_agree(facts: &CsrFacts, names: &SubjectAltName) {
    let (mut uris, mut dns, mut emails, mut ips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in &names.0 {
        match name {
            GeneralName::UniformResourceIdentifier(text) => uris.push(text.as_str().to_owned()),
            GeneralName::DnsName(text) => dns.push(text.as_str().to_owned()),
            GeneralName::Rfc822Name(text) => emails.push(text.as_str().to_owned()),
            GeneralName::IpAddress(octets) => ips.push(octets.as_bytes().to_vec()),
            _ => {}
        }
    }
    assert_eq!((&facts.uris, &facts.dns, &facts.emails), (&uris, &dns, &emails));
    let found = facts
        .ips
        .iter()
        .map(|text| match text.parse().expect("a fact is an address") {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
    assert_eq!(found.collect::<Vec<_>>(), ips);
}

fn const_oid() -> der::asn1::ObjectIdentifier {
    der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14")
}

fn first() -> Vec<(&'static str, Vec<u8>)> {
    let uri = b"spiffe://cluster.local/ns/a/sa/b";
    let names = [
        tlv::write(0x86, &[uri]),
        tlv::write(0x82, &[b"a.svc"]),
        tlv::write(0x87, &[&[127, 0, 0, 1]]),
    ]
    .concat();
    let basic = [
        &[6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff, 4, 5][..],
        &[0x30, 3, 1, 1, 0xff],
    ]
    .concat();
    let attribute = |oid: u8, kind: u8, text: &[u8]| {
        let pair = tlv::write(0x30, &[&[6, 3, 0x55, 4, oid], &tlv::write(kind, &[text])]);
        tlv::write(0x31, &[&pair])
    };
    let subject = [
        attribute(3, 12, b"web"),
        attribute(10, 0x13, b""),
        attribute(10, 0x1e, &[0, 97]),
    ]
    .concat();
    let challenge = tlv::write(
        0x30,
        &[
            &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7],
            &tlv::write(0x31, &[&tlv::write(12, &[b"pw"])]),
        ],
    );
    let with = |kind: &[u8], part: &[u8]| [kind, part].concat();
    let whole = make(&with(b"N", &names)).expect("a request");
    vec![
        ("names", with(b"N", &names)),
        ("extension", with(b"X", &tlv::write(0x30, &[&basic]))),
        ("subject", with(b"S", &subject)),
        ("challenge", with(b"A", &challenge)),
        ("pem", pem::encode(pem::CERTIFICATE_REQUEST, &whole).into_bytes()),
        ("der", whole),
    ]
}
