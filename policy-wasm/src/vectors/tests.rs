//! What a vector may say, what stands for the rest, and what is refused.

use super::*;
use crate::input::tests::sample;

fn toml(text: &str) -> Result<Vector, VectorError> {
    Vector::parse("tested", VectorFormat::Toml, text)
}

fn refusal(text: &str) -> String {
    let error = toml(text).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn an_identity_is_enough() {
    let vector = toml(
        "input.identity = 'spiffe://example.org/ns/shop/sa/cart'\n\
         expect.allow.lifetime_seconds = 3600",
    )
    .unwrap();
    let input = &vector.input;
    assert_eq!(input.caller.identities, ["spiffe://example.org/ns/shop/sa/cart"]);
    assert_eq!(input.csr.uris, input.caller.identities);
    assert_eq!(input.ceiling.names, ["URI:spiffe://example.org/ns/shop/sa/cart"]);
    assert_eq!(input.issuer.trust_domain.as_str(), "example.org");
    let pod = input.caller.kubernetes.as_ref().unwrap();
    assert_eq!(
        (pod.namespace.as_str(), pod.service_account.as_str()),
        ("shop", "cart")
    );
    let Expect::Allow(allowed) = &vector.expect else {
        panic!("{:?}", vector.expect);
    };
    assert_eq!((allowed.lifetime_seconds, &allowed.names), (Some(3600), &None));
}

#[test]
fn what_is_written_out_goes_before_the_identity() {
    let vector = toml(
        r#"
        [input]
        identity = "spiffe://cluster.local/ns/shop/sa/cart"
        decided_at = 7
        [input.caller]
        identities = ["spiffe://evil/x", ""]
        kubernetes = { namespace = "other" }
        [input.csr]
        is_ca = true
        key_type = "rsa2048"
        [input.ceiling]
        max_lifetime_seconds = 60
        usages = ["client"]
        [input.issuer]
        trust_domain = "other.org"
        [expect.deny]
        code = "NO"
        "#,
    )
    .unwrap();
    let input = vector.input;
    assert_eq!(input.caller.identities, ["spiffe://evil/x", ""]);
    assert_eq!(input.ceiling.names, ["URI:spiffe://evil/x", "URI:"]);
    let pod = input.caller.kubernetes.unwrap();
    assert_eq!(
        (pod.namespace.as_str(), pod.service_account.as_str()),
        ("other", "cart")
    );
    assert!(input.csr.is_ca);
    assert_eq!(
        input.request.lifetime_seconds, 60,
        "the default follows the ceiling"
    );
    assert_eq!(input.issuer.trust_domain.as_str(), "other.org");
    assert_eq!(input.decided_at, 7);
}

#[test]
fn a_caller_may_have_no_pod() {
    for text in [
        "input.caller.kubernetes = false",
        "input.caller.source = 'client-certificate'",
        "input.identity = 'spiffe://cluster.local/vm/7'",
    ] {
        let vector = toml(&format!("{text}\nexpect.allow = {{}}")).unwrap();
        assert_eq!(vector.input.caller.kubernetes, None, "{text}");
    }
}

#[test]
fn refuses_what_no_vector_has() {
    let cases = [
        ("expect.allow = {}\nexpected = 1", "unknown field `expected`"),
        ("", "missing field `expect`"),
        ("expect = {}", "TOML"),
        ("expect.maybe = {}", "unknown variant `maybe`"),
        ("expect.deny = {}", "missing field `code`"),
        ("expect.allow.lifetime = 1", "unknown field `lifetime`"),
        ("expect.allow = {}\ninput.csr.isca = true", "unknown field `isca`"),
        (
            "expect.allow = {}\ninput.caller.kubernetes.ns = 'a'",
            "unknown field `ns`",
        ),
        (
            "expect.allow = {}\ninput.caller.kubernetes = true",
            "false for a caller without a pod",
        ),
        ("expect.allow = {}\ninput.identity = 'cart'", "TOML"),
        ("expect.allow = {}\ninput.csr.key_type = 'p-256'", "p-256"),
        (
            "expect.allow = {}\ninput.decided_at = 9007199254740993",
            "beyond 2^53",
        ),
        ("expect.allow = {}\nsettings.cap = 1.5", "not an integer"),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.contains(expected), "{text}: {refused} lacks {expected}");
    }
    let twice = r#"{"expect":{"allow":{}},"input":{"caller":{"claims":{"a":"1","a":"2"}}}}"#;
    assert!(matches!(
        Vector::parse("tested", VectorFormat::Json, twice),
        Err(VectorError::Json(_))
    ));
    let long = format!("expect.allow = {{}} #{}", "x".repeat(MAX_VECTOR_BYTES));
    assert!(matches!(toml(&long), Err(VectorError::Size(_))));
}

#[test]
fn a_whole_vector_gives_the_input_again() {
    let mut without_pod = sample();
    without_pod.caller.kubernetes = None;
    without_pod.caller.previous_serial = Some("0a".to_owned());
    for input in [sample(), without_pod] {
        let expect = Expect::Deny(Denied {
            code: "NO".to_owned(),
            field: None,
        });
        let whole = Vector::whole("from the ledger", &input, &expect);
        let read = Vector::parse("tested", VectorFormat::Json, &whole.to_string()).unwrap();
        assert_eq!((read.input, read.expect), (input, expect));
    }
}

#[test]
fn two_spellings_have_one_digest() {
    let short = toml("expect.allow = {}").unwrap();
    let long = Vector::parse(
        "other",
        VectorFormat::Json,
        r#"{"description":"x","expect":{"allow":{}},"input":{"csr":{"is_ca":false}}}"#,
    )
    .unwrap();
    assert_eq!(short.digest(), long.digest());
    let other = toml("expect.allow = {}\ninput.csr.is_ca = true").unwrap();
    assert_ne!(short.digest(), other.digest());
}

#[test]
fn files_are_told_by_their_ending() {
    assert_eq!(VectorFormat::of(Path::new("a/b.toml")), Some(VectorFormat::Toml));
    assert_eq!(VectorFormat::of(Path::new("b.json")), Some(VectorFormat::Json));
    assert_eq!(VectorFormat::of(Path::new("b.json~")), None);
    assert_eq!(VectorFormat::of(Path::new(".toml")), None);
}

#[test]
fn says_what_is_expected() {
    let vector = toml("expect.allow = { lifetime_seconds = 60, usages = ['client'] }").unwrap();
    assert_eq!(vector.expect.to_string(), "allow, 60 s, usages client");
}
