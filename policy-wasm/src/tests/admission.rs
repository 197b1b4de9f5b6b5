//! Admission with real components: what is admitted, and each way of being bad.

use serde_json::{Value, json};

use super::support::guest;
use crate::{
    EngineSettings, Limits, Vector, VectorFormat,
    admission::{Finding, Report, Submission, admit},
};

fn submission(component: Vec<u8>, settings: Value, vectors: &[(&str, &str)]) -> Submission {
    let vectors = vectors
        .iter()
        .map(|(name, text)| Vector::parse(name, VectorFormat::Toml, text).unwrap());
    Submission {
        component,
        settings,
        limits: Limits::default(),
        vectors: vectors.collect(),
    }
}

fn judged(submission: &Submission) -> Report {
    let report = admit(&EngineSettings::default(), submission).unwrap();
    let text = report.canonical();
    assert_eq!(Report::from_canonical(text.as_bytes()).unwrap(), report);
    assert_eq!(report.admitted, report.refusals.is_empty() && report.repeated);
    report
}

/// The report on the hostile guest, told to do `deed` at some time.
fn hostile(when: &str, deed: &str, vectors: &[(&str, &str)]) -> Report {
    judged(&submission(guest("hostile"), json!({ when: deed }), vectors))
}

fn component(bytes: &[u8]) -> Report {
    judged(&submission(bytes.to_vec(), json!({}), &[]))
}

fn refusal(report: &Report) -> &Finding {
    assert!(!report.admitted);
    &report.refusals[0]
}

const CAPPED: &str = "input.identity = 'spiffe://cluster.local/ns/shop/sa/cart'\n\
                      expect.allow.lifetime_seconds = 3600";
const REFUSED: &str = "input.identity = 'spiffe://cluster.local/ns/other/sa/cart'\n\
                       expect.deny.code = 'NAMESPACE_NOT_ALLOWED'";

fn baseline(vectors: &[(&str, &str)]) -> Submission {
    let settings = json!({
        "trust_domains": ["cluster.local"],
        "namespaces": ["shop"],
        "lifetime_caps": [{"namespace": "*", "max_seconds": 3600}]
    });
    submission(guest("baseline"), settings, vectors)
}

#[test]
fn the_stock_policy_is_admitted_with_the_same_report_every_time() {
    let submission = baseline(&[("capped", CAPPED), ("refused", REFUSED)]);
    let report = judged(&submission);
    assert!(report.admitted, "{report:#?}");
    assert_eq!(report.warnings, []);
    assert!(
        report
            .vectors
            .iter()
            .all(|vector| vector.passed && vector.fuel > 0)
    );
    let corpus = report.corpus.as_ref().unwrap();
    // The ordinary request and the vector that is allowed are what it changes.
    assert_eq!(corpus.requests % 2, 0);
    assert!(corpus.allowed > 0 && corpus.most_fuel > 0);
    assert!(report.names.as_ref().unwrap().tried > 0);
    let described = report.described.as_ref().unwrap();
    assert_eq!(
        (described.name.as_str(), described.version.as_str()),
        ("baseline", "1.0.0")
    );

    let again = judged(&submission);
    assert_eq!(again.canonical(), report.canonical());
    let text = report.canonical();
    assert!(!text.contains("/home") && !text.contains("/tmp"), "no folder");
}

#[test]
fn anything_else_gives_another_report() {
    let report = judged(&baseline(&[("capped", CAPPED)]));
    let mut changed = baseline(&[("capped", CAPPED)]);
    changed.limits.fuel += 1;
    assert_ne!(judged(&changed).digest(), report.digest());
    let renamed = baseline(&[("other", CAPPED)]);
    assert_ne!(judged(&renamed).digest(), report.digest());
}

#[test]
fn what_is_no_policy_is_refused_with_the_reason() {
    let whole = guest("baseline");
    let empty = b"\0asm\x0d\0\x01\0";
    let cases: [(&[u8], &str); 6] = [
        (b"", "not a WebAssembly component"),
        (b"\x7fELF", "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "core WebAssembly module"),
        (&whole[..whole.len() / 2], "does not compile"),
        (empty, "not of the world"),
        (&vec![0; (32 << 20) + 1], "at most 33554432"),
    ];
    for (bytes, expected) in cases {
        let report = component(bytes);
        let finding = refusal(&report);
        assert_eq!(finding.check, "module");
        assert!(finding.message.contains(expected), "{finding:?} lacks {expected}");
        assert_eq!((report.described, report.corpus), (None, None));
    }
}

#[test]
fn imports_are_refused_by_name() {
    // The smallest component that imports an instance of that name.
    let importing = |name: &str| {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend([7, 3, 1, 0x42, 0]);
        let length = u8::try_from(name.len()).unwrap();
        bytes.extend([10, length + 5, 1, 0, length]);
        bytes.extend(name.as_bytes());
        bytes.extend([5, 0]);
        bytes
    };
    for name in ["wasi:random/random@0.2.0", "wasi:cli/environment@0.2.0", "fetch"] {
        let report = component(&importing(name));
        let message = &refusal(&report).message;
        assert!(message.contains(&format!("imports {name};")), "{message}");
    }
}

#[test]
fn settings_are_refused_by_key() {
    let cases = [
        (json!({}), "trust_domains: is missing"),
        (
            json!({"trust_domain": ["a"], "trust_domains": ["a"]}),
            "trust_domain: is not a key",
        ),
        (json!({"trust_domains": []}), "trust_domains: has 0 items"),
        (
            json!({"trust_domains": ["a"], "auth_sources": ["mtls"]}),
            "auth_sources[0]: is \"mtls\"",
        ),
        // Of the schema, and not to the module's liking.
        (
            json!({"trust_domains": ["a"], "namespaces": 7}),
            "namespaces: is a number",
        ),
        (json!({"trust_domains": [1.5]}), "trust_domains[0]"),
    ];
    for (settings, expected) in cases {
        let report = judged(&submission(guest("baseline"), settings, &[]));
        let finding = refusal(&report);
        assert_eq!(finding.check, "settings");
        assert!(finding.message.contains(expected), "{finding:?} lacks {expected}");
    }
    let own = format!("{CAPPED}\nsettings.namespaces = []");
    let report = judged(&baseline(&[("own", &own)]));
    assert_eq!(refusal(&report).subject, "own");
}

#[test]
fn a_vector_that_comes_out_otherwise_is_a_refusal() {
    let wrong = CAPPED.replace("3600", "3601");
    let report = judged(&baseline(&[("capped", CAPPED), ("wrong", &wrong)]));
    assert_eq!(report.refusals.len(), 1);
    let finding = refusal(&report);
    assert_eq!(
        (finding.check.as_str(), finding.subject.as_str()),
        ("vectors", "wrong")
    );
    assert_eq!(finding.message, "lifetime_seconds: expected 3601, got 3600");
    assert!(!report.repeated);
}

#[test]
fn every_failure_on_a_hostile_request_is_a_refusal() {
    let cases = [
        ("loop", "POLICY_FUEL"),
        ("panic", "POLICY_TRAP"),
        ("recurse", "POLICY_TRAP"),
        ("allocate", "POLICY_TRAP"),
        ("huge", "POLICY_OUTPUT"),
        ("flood-lines", "POLICY_LOG"),
        ("flood-bytes", "POLICY_LOG"),
    ];
    for (deed, code) in cases {
        let report = hostile("decide", deed, &[]);
        let finding = refusal(&report);
        assert_eq!(finding.check, "corpus", "{deed}");
        assert!(finding.message.starts_with(code), "{deed}: {finding:?}");
    }
}

#[test]
fn failures_while_it_is_loaded_are_refusals() {
    for (deed, expected) in [
        ("loop", "POLICY_FUEL"),
        ("panic", "POLICY_TRAP"),
        ("refuse", "not to my liking"),
    ] {
        let report = hostile("validate", deed, &[]);
        let finding = refusal(&report);
        assert_eq!(finding.check, "settings");
        assert!(finding.message.contains(expected), "{finding:?}");
    }
    for (deed, expected) in [
        ("loops", "POLICY_FUEL"),
        ("panic", "describe failed"),
        ("wrong", "schema"),
    ] {
        let report = judged(&submission(super::loading::describing(deed), json!({}), &[]));
        let finding = refusal(&report);
        assert_eq!(finding.check, "module");
        assert!(finding.message.contains(expected), "{finding:?}");
    }
}

#[test]
fn a_grant_beyond_the_ceiling_and_a_forged_code_are_warnings() {
    for (deed, code) in [
        ("lifetime", "POLICY_WIDENS"),
        ("name", "POLICY_WIDENS"),
        ("forge", "POLICY_DENIED"),
    ] {
        let report = hostile("decide", deed, &[]);
        assert!(report.admitted, "they deny: {report:?}");
        assert!(
            report
                .warnings
                .iter()
                .any(|warning| warning.message.starts_with(code)),
            "{deed}"
        );
    }
}

#[test]
fn a_panic_on_one_namespace_is_found_where_somebody_thought_of_it() {
    let elsewhere = (
        "bank",
        "input.identity = 'spiffe://cluster.local/ns/bank/sa/a'\nexpect.allow = {}",
    );
    let report = hostile("decide", "panic-on-shop", &[elsewhere]);
    assert!(report.admitted, "{report:?}");
    let there = (
        "shop",
        "input.identity = 'spiffe://cluster.local/ns/shop/sa/a'\nexpect.allow = {}",
    );
    let report = hostile("decide", "panic-on-shop", &[elsewhere, there]);
    let finding = refusal(&report);
    assert_eq!(
        (finding.check.as_str(), finding.subject.as_str()),
        ("vectors", "shop")
    );
    // A namespace of the corpus.
    let report = hostile("decide", "panic-on-kube-system", &[]);
    assert_eq!(refusal(&report).subject, "ordinary + pod-of-another-namespace");
}

#[test]
fn attempts_to_differ_come_out_the_same() {
    // Memory that was never written, statics of earlier instances, the bits of a NaN, growth to the limit.
    for deed in [
        "dirty",
        "nan",
        "grow",
        "grow-at-once",
        "log",
        "hour",
        "deny",
        "no-names",
    ] {
        let report = hostile("decide", deed, &[]);
        let other: Vec<_> = report
            .refusals
            .iter()
            .filter(|finding| finding.check != "corpus")
            .collect();
        assert!(other.is_empty(), "{deed}: {other:?}");
        assert_eq!(report.repeated, report.refusals.is_empty(), "{deed}");
    }
}

#[test]
fn a_module_without_vectors_is_warned_of() {
    let report = judged(&baseline(&[]));
    assert!(report.admitted);
    assert_eq!(report.warnings[0].message, "the author gives no vectors");
    let report = judged(&baseline(&[("refused", REFUSED)]));
    assert!(report.warnings[0].message.starts_with("no vector is allowed"));
}
