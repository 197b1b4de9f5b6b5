//! Golden bytes of the canonical input, and a sample for other tests.

use proptest::prelude::*;

use super::*;

/// A request as Istio's agent makes it.
pub(crate) fn sample() -> PolicyInput {
    PolicyInput {
        caller: CallerFacts {
            source: "jwt".to_owned(),
            authenticator: "kubernetes".to_owned(),
            identities: vec!["spiffe://cluster.local/ns/shop/sa/cart".to_owned()],
            kubernetes: Some(KubernetesFacts {
                namespace: "shop".to_owned(),
                service_account: "cart".to_owned(),
                pod_name: Some("cart-0".to_owned()),
                pod_uid: None,
                node_name: Some("node-1".to_owned()),
                node_uid: None,
            }),
            cluster: Some("east".to_owned()),
            attributes: [("tier".to_owned(), "gold".to_owned())].into(),
            claims: BTreeMap::new(),
            previous_serial: None,
            first_authenticated_at: None,
        },
        csr: CsrFacts {
            uris: vec!["spiffe://cluster.local/ns/shop/sa/cart".to_owned()],
            dns: Vec::new(),
            ips: Vec::new(),
            emails: Vec::new(),
            common_name: None,
            organizations: vec![String::new()],
            is_ca: false,
            extensions: vec!["2.5.29.17".to_owned()],
            signature_algorithm: "ecdsa-with-SHA256".to_owned(),
            key_type: KeyType::P256,
            spki_digest: Digest::of(b"key"),
        },
        request: RequestFacts {
            lifetime_seconds: 86_400,
        },
        issuer: IssuerFacts {
            name: "default".to_owned(),
            trust_domain: "cluster.local".parse().unwrap(),
        },
        ceiling: CeilingFacts {
            max_lifetime_seconds: 7_776_000,
            default_lifetime_seconds: 86_400,
            names: vec!["URI:spiffe://cluster.local/ns/shop/sa/cart".to_owned()],
            dns_patterns: vec!["*.shop.svc".parse().unwrap()],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            key_types: vec![KeyType::P256, KeyType::Rsa(2048)],
        },
        decided_at: 1_790_000_000,
    }
}

const GOLDEN: &str = r#"{"caller":{"attributes":{"tier":"gold"},"authenticator":"kubernetes","claims":{},"cluster":"east","first_authenticated_at":null,"identities":["spiffe://cluster.local/ns/shop/sa/cart"],"kubernetes":{"namespace":"shop","node_name":"node-1","node_uid":null,"pod_name":"cart-0","pod_uid":null,"service_account":"cart"},"previous_serial":null,"source":"jwt"},"ceiling":{"default_lifetime_seconds":86400,"dns_patterns":["*.shop.svc"],"key_types":["p256","rsa2048"],"max_lifetime_seconds":7776000,"names":["URI:spiffe://cluster.local/ns/shop/sa/cart"],"usages":["server","client"]},"csr":{"common_name":null,"dns":[],"emails":[],"extensions":["2.5.29.17"],"ips":[],"is_ca":false,"key_type":"p256","organizations":[""],"signature_algorithm":"ecdsa-with-SHA256","spki_digest":"sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683","uris":["spiffe://cluster.local/ns/shop/sa/cart"]},"decided_at":1790000000,"issuer":{"name":"default","trust_domain":"cluster.local"},"request":{"lifetime_seconds":86400},"schema":"sealwright.policy-input/2"}"#;

/// The same decision, as it was written before.
const GOLDEN_1: &str = r#"{"caller":{"attributes":{"tier":"gold"},"authenticator":"kubernetes","claims":{},"cluster":"east","identities":["spiffe://cluster.local/ns/shop/sa/cart"],"kubernetes":{"namespace":"shop","node_name":"node-1","node_uid":null,"pod_name":"cart-0","pod_uid":null,"service_account":"cart"},"source":"jwt"},"ceiling":{"default_lifetime_seconds":86400,"dns_patterns":["*.shop.svc"],"key_types":["p256","rsa2048"],"max_lifetime_seconds":7776000,"names":["URI:spiffe://cluster.local/ns/shop/sa/cart"],"usages":["server","client"]},"csr":{"common_name":null,"dns":[],"emails":[],"extensions":["2.5.29.17"],"ips":[],"is_ca":false,"key_type":"p256","organizations":[""],"signature_algorithm":"ecdsa-with-SHA256","spki_digest":"sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683","uris":["spiffe://cluster.local/ns/shop/sa/cart"]},"decided_at":1790000000,"issuer":{"name":"default","trust_domain":"cluster.local"},"request":{"lifetime_seconds":86400},"schema":"sealwright.policy-input/1"}"#;

#[test]
fn has_golden_bytes() {
    assert_eq!(String::from_utf8(sample().canonical()).unwrap(), GOLDEN);
}

proptest! {
    #[test]
    fn is_what_the_canonicalizer_writes(
        text in ".*",
        map in prop::collection::btree_map("\\PC*", ".*", 0..6),
        list in prop::collection::vec(".*", 0..4),
        number in 0_u64..1 << 53,
    ) {
        let mut input = sample();
        input.caller.authenticator.clone_from(&text);
        input.caller.cluster = Some(text);
        input.caller.attributes.clone_from(&map);
        input.caller.claims = map;
        input.csr.uris = list;
        input.csr.common_name = None;
        input.request.lifetime_seconds = number;
        input.decided_at = -i64::try_from(number).unwrap();
        let canonical = settings::canonical(&Tagged::of(&input));
        prop_assert_eq!(String::from_utf8(input.canonical()).unwrap(), canonical);
    }
}

#[test]
fn keys_stand_in_the_order_of_utf_16() {
    let mut input = sample();
    // U+FF5E comes before U+1F600 in UTF-8, and after it in UTF-16.
    input.caller.claims = ["\u{ff5e}", "\u{1f600}", "a"]
        .map(|key| (key.to_owned(), String::new()))
        .into();
    let canonical = String::from_utf8(input.canonical()).unwrap();
    assert!(
        canonical.contains("{\"a\":\"\",\"\u{1f600}\":\"\",\"\u{ff5e}\":\"\"}"),
        "{canonical}"
    );
}

#[test]
fn reads_what_was_written_before() {
    assert_eq!(
        PolicyInput::from_canonical(GOLDEN_1.as_bytes()).unwrap(),
        sample()
    );
}

#[test]
fn the_origin_reaches_a_policy_among_its_attributes() {
    let mut input = sample();
    input.caller.previous_serial = Some("7f01".to_owned());
    input.caller.first_authenticated_at = Some(1_789_000_000);
    assert_eq!(PolicyInput::from_canonical(&input.canonical()).unwrap(), input);
    let attributes: Vec<_> = input
        .to_wit()
        .caller
        .attributes
        .into_iter()
        .map(|attribute| (attribute.name, attribute.value))
        .collect();
    let expected = [
        ("first_authenticated_at", "1789000000"),
        ("previous_serial", "7f01"),
        ("tier", "gold"),
    ];
    assert_eq!(
        attributes,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn reads_back_only_its_own_bytes() {
    let input = sample();
    assert_eq!(PolicyInput::from_canonical(&input.canonical()).unwrap(), input);
    for wrong in [
        GOLDEN.replace("policy-input/2", "policy-input/1"),
        GOLDEN.replace("policy-input/2", "policy-input/3"),
        GOLDEN_1.replace("policy-input/1", "policy-input/2"),
        GOLDEN_1.replace(r#""is_ca":false"#, r#""is_ca": false"#),
        GOLDEN.replace(r#","schema":"sealwright.policy-input/2""#, ""),
        GOLDEN.replace(r#""is_ca":false"#, r#""is_ca": false"#),
        GOLDEN.replace(r#""is_ca":false"#, r#""is_ca":false,"is_ca":false"#),
        GOLDEN.replace(r#""is_ca""#, r#""is_root""#),
        GOLDEN.replace(r#"1790000000"#, r#"9007199254740993"#),
        String::new(),
    ] {
        assert!(PolicyInput::from_canonical(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn names_the_number_that_json_cannot_hold() {
    let mut input = sample();
    input.request.lifetime_seconds = (1 << 53) + 1;
    assert_eq!(
        input.check().unwrap_err().to_string(),
        "request.lifetime_seconds is an integer beyond 2^53"
    );
}
