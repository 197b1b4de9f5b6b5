//! Properties: whatever is decoded is what its fields build, and nothing that is sent makes it panic.

use std::sync::LazyLock;

use proptest::prelude::*;
use sealwright_identity::{KeyType, SerialNumber, Timestamp, Validity};

use super::super::*;
use crate::testing::{TestCa, TestKey};

static KEYS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let kinds = [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa(2048)];
    kinds
        .into_iter()
        .map(|kind| TestKey::generate(kind).spki_der())
        .collect()
});

fn serial() -> impl Strategy<Value = SerialNumber> {
    prop::collection::vec(any::<u8>(), 1..=20).prop_filter_map("a serial number", |octets| {
        SerialNumber::from_der_content(&octets).ok()
    })
}

fn validity() -> impl Strategy<Value = Validity> {
    // From 1970 to 9999, so that both forms of times and both in one certificate occur.
    (0i64..253_402_300_000, 1i64..4_000_000_000).prop_filter_map("a validity", |(from, seconds)| {
        let to = (from + seconds).min(253_402_300_799);
        Validity::new(
            Timestamp::from_unix_seconds(from),
            Timestamp::from_unix_seconds(to),
        )
        .ok()
    })
}

fn leaf() -> impl Strategy<Value = LeafFields> {
    let id = "spiffe://[a-z0-9._-]{1,20}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}){1,30}";
    let dns = prop::collection::btree_set("[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){0,3}", 0..5);
    let usages = prop_oneof![
        Just(vec![Usage::ServerAuth]),
        Just(vec![Usage::ClientAuth]),
        Just(vec![Usage::ServerAuth, Usage::ClientAuth]),
    ];
    let aki = prop::collection::vec(any::<u8>(), 1..=64);
    let rest = (0usize..4, 0usize..4, any::<bool>(), any::<bool>());
    (serial(), validity(), id, dns, usages, aki, rest).prop_map(
        |(serial, validity, id, dns, usages, aki, (key, algorithm, dual_use, id_last))| {
            let mut sans: Vec<_> = dns
                .iter()
                .map(|name| format!("DNS:{name}").parse().unwrap())
                .collect();
            let position = if id_last { sans.len() } else { 0 };
            sans.insert(position, format!("URI:{id}").parse().unwrap());
            LeafFields {
                serial,
                issuer_der: crate::name::authority_name(Some("Test"), "Issuing"),
                validity,
                common_name: if dual_use { common_name_of(&sans[0]) } else { None },
                spki_der: KEYS[key].clone(),
                sans,
                usages,
                aki,
                signature_algorithm: SignatureAlgorithm::ALL[algorithm],
                kind: LeafKind::Workload,
            }
        },
    )
}

proptest! {
    #[test]
    fn fields_come_back(fields in leaf()) {
        let built = LeafTbs::build(&fields).unwrap();
        let decoded = LeafTbs::decode(built.as_der()).unwrap();
        prop_assert_eq!(decoded.fields(), &fields);
        prop_assert_eq!(decoded.as_der(), built.as_der());
        // Another implementation reads the same.
        let theirs = <x509_cert::TbsCertificate as der::Decode>::from_der(built.as_der()).unwrap();
        prop_assert_eq!(theirs.serial_number().as_bytes(), fields.serial.as_bytes());
        prop_assert_eq!(der::Encode::to_der(&theirs).unwrap(), built.as_der());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = LeafTbs::decode(&bytes);
    }

    #[test]
    fn a_certificate_holds_the_bytes_that_were_signed(fields in leaf(), signature in prop::collection::vec(any::<u8>(), 0..600)) {
        let built = LeafTbs::build(&fields).unwrap();
        let whole = built.assemble(&signature);
        let certificate = crate::CertificateRef::parse(&whole).unwrap();
        prop_assert_eq!(certificate.tbs_der(), built.as_der());
        prop_assert_eq!(certificate.signature(), signature.as_slice());
        prop_assert_eq!(certificate.serial(), &fields.serial);
        prop_assert_eq!(certificate.validity(), fields.validity);
    }
}

/// Every change of one octet is refused, or is a leaf of the profile whose bytes are these.
#[test]
fn a_changed_octet_is_refused_or_means_what_it_says() {
    let ca = TestCa::new(KeyType::P256);
    let mut fields = ca.leaf(KEYS[0].clone());
    fields.sans.push("DNS:a.svc".parse().unwrap());
    fields.common_name = common_name_of(&fields.sans[0]);
    let good = LeafTbs::build(&fields).unwrap().as_der().to_vec();
    let mut accepted = 0;
    for position in 0..good.len() {
        for difference in (0..8).map(|bit| 1_u8 << bit).chain([0xff, 0x03, 0x80 | 1]) {
            let mut bytes = good.clone();
            bytes[position] ^= difference;
            if let Ok(leaf) = LeafTbs::decode(&bytes) {
                assert_eq!(leaf.as_der(), bytes);
                assert_ne!(
                    leaf.fields(),
                    &fields,
                    "octet {position} is not part of any field"
                );
                accepted += 1;
            }
        }
    }
    // Serial, dates, names and the like; if none were accepted, this test would prove nothing.
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn cut_off_or_lengthened_bytes_are_refused() {
    let ca = TestCa::new(KeyType::P256);
    let good = LeafTbs::build(&ca.leaf(KEYS[0].clone()))
        .unwrap()
        .as_der()
        .to_vec();
    for end in 0..good.len() {
        assert!(LeafTbs::decode(&good[..end]).is_err(), "{end}");
    }
    for position in 0..=good.len() {
        let mut bytes = good.clone();
        bytes.insert(position, 0);
        if let Ok(leaf) = LeafTbs::decode(&bytes) {
            panic!("{position}: {:?}", leaf.fields());
        }
    }
}
