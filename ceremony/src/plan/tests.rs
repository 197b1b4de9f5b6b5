//! Tests of plans.

use proptest::prelude::*;
use sealwright_statement::Statement as _;
use sealwright_statement::words::words;

use super::*;

const PLAN: &str = r#"
version = 1
ceremony = "000102030405060708090a0b0c0d0e0f"
title = "A test"
rehearsal = true
not_before = "2026-11-01T00:00:00Z"
not_after = "2026-11-08T00:00:00Z"
roster = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

[module]
path = "/module.so"

[[tokens]]
name = "root"
label = "Root"
serial = "1"

[[steps]]
kind = "key"
name = "key"
token = "root"
label = "root"
algorithm = "p384"

[[steps]]
kind = "root"
name = "ca"
key = "key"
[steps.profile]
common_name = "Root"
not_before = "2026-11-01T00:00:00Z"
not_after = "2036-11-01T00:00:00Z"
path_length = 1
"#;

fn refused(from: &str, to: &str) -> String {
    assert!(PLAN.contains(from), "{from}");
    match LintedPlan::read(&PLAN.replacen(from, to, 1)) {
        Ok(_) => panic!("{to} is accepted"),
        Err(error) => crate::transcript::chain(&error),
    }
}

/// The encoding that digests of plans are over: to change it is to change every digest.
#[test]
fn the_digest_is_over_golden_bytes() {
    let plan = LintedPlan::read(PLAN).unwrap();
    assert_eq!(
        plan.digest().to_string(),
        "sha256:4013bb623bd3e6571641abebba49d9fb49c5a33fa20eeffaa4d89e3e3526de42"
    );
    assert_eq!(words(&plan.digest()).count(), 32);
    let back = Sealed::<Plan>::decode(plan.plan().bytes()).unwrap();
    assert_eq!(back, *plan.plan());
    // Defaults are in it.
    let text = String::from_utf8_lossy(plan.plan().bytes()).into_owned();
    for default in ["custody", "hsm-only", "pin_parts", "crl_urls", "purpose"] {
        assert!(text.contains(default), "{default}");
    }
    assert_eq!(Plan::TYPE, "ceremony-plan");
}

#[test]
fn what_a_ceremony_does_not_do_is_refused() {
    let table = [
        ("version = 1", "version = 2", "version 1"),
        ("title", "titel", "titel"),
        ("serial = \"1\"", "initialise = true", "initialise"),
        ("serial = \"1\"", "", "serial"),
        ("rehearsal = true", "rehearsal = false", "only a rehearsal"),
        ("2026-11-08", "2026-12-08", "30 days"),
        ("kind = \"key\"", "kind = \"kye\"", "kye"),
        ("algorithm = \"p384\"", "algorithm = \"rsa2048\"", "rsa2048"),
        (
            "algorithm = \"p384\"",
            "algorithm = \"p384\"\ncustody = \"wrapped\"",
            "wrapped",
        ),
        ("algorithm = \"p384\"", "algorithm = \"ml-dsa-44\"", "ml-dsa-44"),
        (
            "algorithm = \"p384\"",
            "algorithm = \"ml-dsa-65\"\npurpose = \"health\"",
            "for certificates only",
        ),
        ("key = \"key\"", "key = \"other\"", "other"),
        ("name = \"ca\"", "name = \"key\"", "twice"),
        ("name = \"ca\"", "name = \"..\"", "no name of a step"),
        ("name = \"ca\"", "name = \".\"", "no name of a step"),
        ("name = \"ca\"", "name = \"notes\"", "no name of a step"),
        ("name = \"ca\"", "name = \"session-1\"", "no name of a step"),
        ("name = \"ca\"", "name = \"token-root\"", "no name of a step"),
        ("2036-11-01", "2056-11-01", "25 years"),
        ("common_name = \"Root\"", "common_name = \"\"", "common_name"),
        (
            "path_length = 1",
            "path_length = 1\ncrl_urls = [\"http://a/crl\"]",
            "no issuer's URLs",
        ),
        ("000102", "zz0102", "hexadecimal"),
    ];
    for (from, to, says) in table {
        let error = refused(from, to);
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn readers_are_told_what_to_think_about() {
    let codes = |text: &str| -> Vec<&str> {
        let plan = LintedPlan::read(text).unwrap();
        plan.warnings().iter().map(|warning| warning.code).collect()
    };
    assert_eq!(codes(PLAN), ["no-attestation", "no-backup", "no-checkpoint"]);
    let constrained = PLAN.replace("path_length = 1", "permitted_uri_domains = [\"example.org\"]");
    let codes = codes(&constrained);
    assert!(codes.contains(&"uri-name-constraints") && codes.contains(&"no-path-length"));
}

/// A root may have an ML-DSA key, with a warning; what signs leaves may not.
#[test]
fn an_ml_dsa_key_is_for_what_is_above_the_issuer() {
    let text = PLAN.replace("p384", "ml-dsa-65");
    let plan = LintedPlan::read(&text).unwrap();
    assert!(plan.warnings().iter().any(|warning| warning.code == "ml-dsa"));
    let issuer = format!("{text}[issuer]\nname = \"default\"\ncertificate = \"ca\"\n");
    let refused = crate::transcript::chain(&LintedPlan::read(&issuer).unwrap_err());
    assert!(refused.contains("no leaf is signed"), "{refused}");
    LintedPlan::read(&issuer.replace("ml-dsa-65", "p256")).unwrap();
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,200}") {
        let _ = LintedPlan::read(&text);
    }

    /// A line taken out, said twice, or changed never makes a plan that reads back as another.
    #[test]
    fn a_plan_that_is_read_has_one_encoding(line in 0_usize..40, value in "[ -~]{0,20}") {
        let mut lines: Vec<_> = PLAN.lines().map(str::to_owned).collect();
        let at = line % lines.len();
        let key = lines[at].split('=').next().unwrap_or_default().to_owned();
        lines[at] = format!("{key}= {value:?}");
        if let Ok(plan) = LintedPlan::read(&lines.join("\n")) {
            let back = Sealed::<Plan>::decode(plan.plan().bytes()).unwrap();
            prop_assert_eq!(back.digest(), plan.digest());
        }
    }
}
