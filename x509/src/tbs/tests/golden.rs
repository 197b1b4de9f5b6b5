//! The exact bytes of every profile, from fixed fields. `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;

use sealwright_identity::{KeyType, SerialNumber, Timestamp, Validity};

use super::super::*;
use crate::{
    AuthorityFields, AuthorityTbs, name,
    spki::SpkiRef,
    testing::{hex_lines, spiffe, unhex},
};

/// Public keys with known values: the curves' generators, and an odd number of 2048 bits.
fn public_key(key_type: KeyType) -> Vec<u8> {
    match key_type {
        KeyType::P256 => unhex(
            "3059301306072a8648ce3d020106082a8648ce3d030107034200\
             046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
             4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        ),
        KeyType::P384 => unhex(
            "3076301006072a8648ce3d020106052b81040022036200\
             04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
             3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        ),
        KeyType::Ed25519 => unhex(
            "302a300506032b6570032100\
             5866666666666666666666666666666666666666666666666666666666666666",
        ),
        KeyType::Rsa(_) => unhex(&format!(
            "30820122300d06092a864886f70d01010105000382010f003082010a0282010100{}0203010001",
            "c5".repeat(256)
        )),
        KeyType::MlDsa65 => panic!("no leaf has such a key"),
    }
}

fn fields(issuer: KeyType, leaf: KeyType) -> LeafFields {
    LeafFields {
        serial: "4a0102030405060708090a0b0c0d0e0f10111213"
            .parse::<SerialNumber>()
            .unwrap(),
        issuer_der: name::authority_name(Some("Sealwright"), "Issuing CA"),
        validity: Validity::new(
            Timestamp::from_unix_seconds(1_795_341_480),
            Timestamp::from_unix_seconds(1_795_428_000),
        )
        .unwrap(),
        common_name: None,
        spki_der: public_key(leaf),
        sans: vec![spiffe("/ns/default/sa/web")],
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
        aki: (1..=20).collect(),
        signature_algorithm: SignatureAlgorithm::for_ca_key(issuer),
        kind: LeafKind::Workload,
    }
}

fn check(file: &str, der: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    if update {
        std::fs::write(&path, hex_lines(der)).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(hex_lines(der), golden, "{file}: the profile's bytes have changed");
}

#[test]
fn leaves() {
    let kinds = [KeyType::P256, KeyType::P384, KeyType::Rsa(2048), KeyType::Ed25519];
    // Every issuer with one kind of leaf key, and every leaf key with one issuer: neither depends on the other.
    let by_issuer = kinds.map(|issuer| (issuer, KeyType::P256));
    let by_leaf = kinds.map(|leaf| (KeyType::P256, leaf));
    for (issuer, leaf) in by_issuer.into_iter().chain(by_leaf) {
        let workload = fields(issuer, leaf);

        let mut dual_use = workload.clone();
        dual_use.sans.push("DNS:web.default.svc".parse().unwrap());
        dual_use.common_name = common_name_of(&dual_use.sans[0]);
        dual_use.usages = vec![Usage::ClientAuth];

        let mut serving = workload.clone();
        serving.kind = LeafKind::Serving;
        serving.usages = vec![Usage::ServerAuth];
        let names = [
            "DNS:localhost",
            "DNS:istiod.istio-system.svc",
            "IP:127.0.0.1",
            "IP:::1",
        ];
        serving.sans = names.iter().map(|name| name.parse().unwrap()).collect();

        for (profile, fields) in [
            ("workload", workload),
            ("dual-use", dual_use),
            ("serving", serving),
        ] {
            let built = LeafTbs::build(&fields).unwrap();
            check(&format!("{profile}-{leaf}-by-{issuer}.hex"), built.as_der());
            assert_eq!(LeafTbs::decode(built.as_der()).unwrap().fields(), &fields);
        }
    }
}

#[test]
fn authorities() {
    for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa(2048), KeyType::Ed25519] {
        let validity = Validity::new(
            Timestamp::from_unix_seconds(1_795_341_480),
            // 2056: after the year in which the form of times changes.
            Timestamp::from_unix_seconds(2_741_426_280),
        );
        let root = AuthorityFields {
            serial: "5a".parse().unwrap(),
            subject_der: name::authority_name(Some("Sealwright"), "Root CA"),
            issuer_der: name::authority_name(Some("Sealwright"), "Root CA"),
            validity: validity.unwrap(),
            spki_der: public_key(key_type),
            path_len: None,
            aki: None,
            signature_algorithm: SignatureAlgorithm::for_ca_key(key_type),
        };
        let intermediate = AuthorityFields {
            subject_der: name::authority_name(Some("Sealwright"), "Issuing CA"),
            path_len: Some(0),
            aki: Some((1..=20).collect()),
            ..root.clone()
        };
        for (profile, fields) in [("root", root), ("intermediate", intermediate)] {
            let built = AuthorityTbs::build(&fields).unwrap();
            check(&format!("{profile}-{key_type}.hex"), built.as_der());
            assert!(LeafTbs::decode(built.as_der()).is_err(), "a CA is not a leaf");
        }
    }
}

#[test]
fn key_identifiers_are_those_of_rfc_7093() {
    let key = public_key(KeyType::P256);
    let whole = sealwright_identity::Digest::of(&key[26..]);
    let spki = SpkiRef::parse(&key).unwrap();
    assert_eq!(spki.key_identifier(), whole.as_bytes()[..20]);
}
