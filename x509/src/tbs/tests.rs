//! Tests of the leaf profile.

mod golden;
mod hostile;
mod properties;

use sealwright_identity::{KeyType, San, Usage};

use super::*;
use crate::testing::{TestCa, TestKey, spiffe};

#[test]
fn reads_back_what_it_builds() {
    let ca = TestCa::new(KeyType::P256);
    for key_type in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa(2048)] {
        let fields = ca.leaf(TestKey::generate(key_type).spki_der());
        let built = LeafTbs::build(&fields).unwrap();
        assert_eq!(built.key_type(), key_type);
        assert_eq!(built.fields(), &fields);
        assert_eq!(LeafTbs::decode(built.as_der()).unwrap(), built);
    }
}

#[test]
fn names_are_a_list_and_never_joined() {
    let ca = TestCa::new(KeyType::P256);
    let mut fields = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    let names: Vec<San> = vec![
        spiffe("/ns/a/sa/b"),
        "DNS:one.svc".parse().unwrap(),
        "DNS:two.svc".parse().unwrap(),
    ];
    fields.sans.clone_from(&names);
    let built = LeafTbs::build(&fields).unwrap();
    let parsed = <x509_cert::TbsCertificate as der::Decode>::from_der(built.as_der()).unwrap();
    let (critical, list) = parsed
        .get_extension::<x509_cert::ext::pkix::SubjectAltName>()
        .unwrap()
        .unwrap();
    assert!(critical);
    assert_eq!(list.0.len(), names.len());
    assert_eq!(LeafTbs::decode(built.as_der()).unwrap().fields().sans, names);
}

#[test]
fn a_common_name_is_the_first_name_or_none() {
    let ca = TestCa::new(KeyType::P256);
    let mut fields = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    fields.common_name = common_name_of(&fields.sans[0]);
    assert_eq!(
        fields.common_name.as_deref(),
        Some("spiffe://cluster.local/ns/default/sa/web")
    );
    let built = LeafTbs::build(&fields).unwrap();
    assert_eq!(LeafTbs::decode(built.as_der()).unwrap().fields(), &fields);

    let long = spiffe(&format!("/{}", "a".repeat(64)));
    assert_eq!(common_name_of(&long), None);
    let exactly = format!("/{}", "a".repeat(64 - "spiffe://cluster.local/".len()));
    assert_eq!(common_name_of(&spiffe(&exactly)).unwrap().len(), 64);
}

#[test]
fn refuses_fields_that_are_not_the_profile() {
    let ca = TestCa::new(KeyType::P256);
    let good = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    let refuses = |what: &str, change: &dyn Fn(&mut LeafFields)| {
        let mut fields = good.clone();
        change(&mut fields);
        LeafTbs::build(&fields).expect_err(what).code()
    };
    let dns: San = "DNS:a.svc".parse().unwrap();
    let ip: San = "IP:127.0.0.1".parse().unwrap();
    assert_eq!(refuses("no names", &|f| f.sans.clear()), "tbs_sans");
    assert_eq!(
        refuses("twice", &|f| f.sans = vec![f.sans[0].clone(); 2]),
        "tbs_sans"
    );
    let many = || {
        (0..=MAX_SANS)
            .map(|n| format!("DNS:a{n}.svc").parse().unwrap())
            .collect()
    };
    assert_eq!(refuses("many", &|f| f.sans = many()), "tbs_sans");
    assert_eq!(refuses("two IDs", &|f| f.sans.push(spiffe("/b"))), "tbs_kind");
    assert_eq!(refuses("no ID", &|f| f.sans = vec![dns.clone()]), "tbs_kind");
    assert_eq!(refuses("address", &|f| f.sans.push(ip.clone())), "tbs_kind");
    assert_eq!(
        refuses("serving with an ID", &|f| f.kind = LeafKind::Serving),
        "tbs_kind"
    );
    let serving_client = |f: &mut LeafFields| {
        f.kind = LeafKind::Serving;
        f.sans = vec![dns.clone()];
    };
    assert_eq!(refuses("serving clients", &serving_client), "tbs_kind");
    assert_eq!(refuses("no usage", &|f| f.usages.clear()), "tbs_usages");
    let reversed = |f: &mut LeafFields| f.usages = vec![Usage::ClientAuth, Usage::ServerAuth];
    assert_eq!(refuses("usages reversed", &reversed), "tbs_usages");
    assert_eq!(
        refuses("no aki", &|f| f.aki.clear()),
        "tbs_authority_key_identifier"
    );
    assert_eq!(
        refuses("long aki", &|f| f.aki = vec![1; 65]),
        "tbs_authority_key_identifier"
    );
    assert_eq!(
        refuses("no issuer", &|f| f.issuer_der = vec![0x30, 0]),
        "tbs_issuer"
    );
    assert_eq!(
        refuses("two issuers", &|f| f.issuer_der.extend([0x30, 0])),
        "tbs_issuer"
    );
    // Found by the fuzz target `gate_frame`: a SEQUENCE, and no name in it.
    assert_eq!(
        refuses("no name", &|f| f.issuer_der = vec![0x30, 4, 0x31, 2, 0x46, 0]),
        "tbs_issuer"
    );
    assert_eq!(
        refuses("no attribute", &|f| f.issuer_der = vec![0x30, 2, 0x31, 0]),
        "tbs_issuer"
    );
    let foreign = |f: &mut LeafFields| f.common_name = Some("admin".to_owned());
    assert_eq!(refuses("foreign CN", &foreign), "tbs_common_name");
    assert_eq!(refuses("no key", &|f| f.spki_der.clear()), "tbs_key");
}

#[test]
fn holds_the_largest_serial_and_the_longest_id() {
    let ca = TestCa::new(KeyType::P256);
    let mut fields = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    let longest = format!("/{}", "a".repeat(2048 - "spiffe://cluster.local/".len()));
    fields.sans = vec![spiffe(&longest)];
    for octets in [
        vec![1],
        vec![0, 0x80],
        vec![0x7f; 20],
        [vec![0], vec![0xff; 19]].concat(),
    ] {
        fields.serial = sealwright_identity::SerialNumber::from_der_content(&octets).unwrap();
        let built = LeafTbs::build(&fields).unwrap();
        assert_eq!(LeafTbs::decode(built.as_der()).unwrap().fields(), &fields);
        crate::lint_leaf(&built, &ca.chain).unwrap();
    }
}
