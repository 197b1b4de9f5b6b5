//! Tables: what is inside a ceiling, and what two policies have in common.

use super::*;
use crate::input::tests::sample;

fn allow(
    lifetime_seconds: Option<u64>,
    names: Option<&[&str]>,
    usages: Option<&[wit::Usage]>,
) -> wit::Verdict {
    wit::Verdict::Allow(wit::Narrowing {
        lifetime_seconds,
        names: names.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        usages: usages.map(<[wit::Usage]>::to_vec),
    })
}

fn ceiling() -> CeilingFacts {
    CeilingFacts {
        max_lifetime_seconds: 100,
        names: ["URI:spiffe://a/x", "DNS:a.svc", "DNS:b.svc"]
            .map(str::to_owned)
            .to_vec(),
        usages: vec![Usage::ServerAuth],
        ..sample().ceiling
    }
}

#[test]
fn keeps_the_order_of_the_ceiling_and_drops_repetition() {
    let chosen = ["DNS:b.svc", "URI:spiffe://a/x", "DNS:b.svc"];
    let narrowing = verdict("p", allow(Some(100), Some(&chosen), None), &ceiling()).unwrap();
    assert_eq!(narrowing.lifetime, Some(Duration::from_secs(100)));
    assert_eq!(
        narrowing.names.unwrap(),
        ["URI:spiffe://a/x", "DNS:b.svc"].map(str::to_owned)
    );
    assert_eq!(narrowing.usages, None);
}

#[test]
fn refuses_to_widen() {
    let cases = [
        (allow(Some(101), None, None), "ceiling.max_lifetime_seconds"),
        (allow(Some(u64::MAX), None, None), "ceiling.max_lifetime_seconds"),
        (allow(None, Some(&["DNS:c.svc"]), None), "ceiling.names"),
        (allow(None, Some(&["dns:a.svc"]), None), "ceiling.names"),
        (
            allow(None, Some(&["DNS:a.svc", "URI:spiffe://b/x"]), None),
            "ceiling.names",
        ),
        (allow(None, None, Some(&[wit::Usage::Client])), "ceiling.usages"),
    ];
    for (answer, field) in cases {
        let denial = verdict("p", answer, &ceiling()).unwrap_err();
        assert_eq!(denial.code, code::POLICY_WIDENS);
        assert_eq!(denial.policy, "p");
        assert_eq!(denial.field.as_deref(), Some(field));
    }
}

#[test]
fn tames_a_denial() {
    let answer = |code: &str| {
        wit::Verdict::Deny(wit::Denial {
            code: code.to_owned(),
            message: "no\nway".repeat(1000),
            field: Some("csr.\u{7}key".to_owned()),
            hint: None,
        })
    };
    let denial = verdict("p", answer("WRONG_NODE"), &ceiling()).unwrap_err();
    assert_eq!(denial.code, "WRONG_NODE");
    assert!(denial.message.starts_with("no way") && denial.message.len() <= 512);
    assert_eq!(denial.field.as_deref(), Some("csr. key"));
    let long = "A".repeat(65);
    for code in [
        "",
        "lower",
        "POLICY_TRAP",
        "NO_POLICY",
        "INPUT_INVALID",
        "A B",
        "É",
        &long,
    ] {
        let denial = verdict("p", answer(code), &ceiling()).unwrap_err();
        assert_eq!(denial.code, code::POLICY_DENIED, "{code}");
    }
}

fn granted(lifetime: Option<u64>, names: Option<&str>, usages: Option<&[Usage]>) -> Narrowing {
    Narrowing {
        lifetime: lifetime.map(Duration::from_secs),
        names: names.map(|names| names.split_whitespace().map(str::to_owned).collect()),
        usages: usages.map(<[Usage]>::to_vec),
    }
}

#[test]
fn intersects() {
    let all = granted(None, None, None);
    let first = granted(Some(9), Some("a b c"), None);
    let second = granted(Some(7), Some("d c b"), Some(&[Usage::ClientAuth]));
    let both = granted(Some(7), Some("b c"), Some(&[Usage::ClientAuth]));
    assert_eq!(intersect(all.clone(), &first, "p").unwrap(), first);
    assert_eq!(intersect(first.clone(), &all, "p").unwrap(), first);
    assert_eq!(intersect(first, &second, "p").unwrap(), both);
}

#[test]
fn refuses_when_nothing_is_left() {
    let cases = [
        (granted(None, Some("a"), None), granted(None, Some("b"), None)),
        (granted(None, None, None), granted(Some(0), None, None)),
        (granted(None, None, None), granted(None, Some(""), None)),
        (
            granted(None, None, Some(&[Usage::ServerAuth])),
            granted(None, None, Some(&[Usage::ClientAuth])),
        ),
    ];
    for (first, second) in cases {
        let denial = intersect(first, &second, "second").unwrap_err();
        assert_eq!(denial.code, code::NOTHING_ALLOWED);
        assert_eq!(denial.policy, "second");
    }
}
