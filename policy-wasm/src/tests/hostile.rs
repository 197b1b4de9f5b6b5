//! Guests that misbehave: each is stopped, denies or is aborted, and leaves
//! nothing behind.

use std::time::Duration;

use super::support::{ENGINE, hostile, hostile_within};
use crate::{
    AbortReason, Engine, EngineSettings, Evaluation, Limits, LogLevel, Verdict, code, input::tests::sample,
};

fn evaluate(deed: &str) -> Evaluation {
    hostile(deed).evaluate(&sample())
}

fn denial_code(evaluation: &Evaluation) -> &str {
    assert_eq!(evaluation.verdict, Verdict::Deny, "{evaluation:?}");
    &evaluation.denial.as_ref().unwrap().code
}

#[test]
fn every_error_of_a_policy_denies() {
    let cases = [
        ("loop", code::POLICY_FUEL),
        ("panic", code::POLICY_TRAP),
        ("panic-on-shop", code::POLICY_TRAP),
        ("recurse", code::POLICY_TRAP),
        ("allocate", code::POLICY_TRAP),
        ("huge", code::POLICY_OUTPUT),
        ("flood-lines", code::POLICY_LOG),
        ("flood-bytes", code::POLICY_LOG),
        ("lifetime", code::POLICY_WIDENS),
        ("name", code::POLICY_WIDENS),
        ("forge", code::POLICY_DENIED),
    ];
    for (deed, code) in cases {
        let evaluation = evaluate(deed);
        assert_eq!(denial_code(&evaluation), code, "{deed}");
        assert_eq!(evaluation.narrowing, None);
        let denial = evaluation.denial.unwrap();
        assert!(!denial.message.chars().any(char::is_control));
        assert_eq!(denial.policy, "tested");
    }
}

#[test]
fn exhausted_fuel_is_all_of_it() {
    let limits = Limits {
        fuel: 12_345,
        ..Limits::default()
    };
    let evaluation = hostile_within(&ENGINE, "loop", limits).evaluate(&sample());
    assert_eq!(denial_code(&evaluation), code::POLICY_FUEL);
    assert_eq!(evaluation.fuel, 12_345);
}

#[test]
fn panics_on_one_namespace_only() {
    let policy = hostile("panic-on-shop");
    let mut other = sample();
    other.caller.kubernetes.as_mut().unwrap().namespace = "bank".to_owned();
    assert_eq!(policy.evaluate(&other).verdict, Verdict::Allow);
    assert_eq!(policy.evaluate(&sample()).verdict, Verdict::Deny);
}

#[test]
fn memory_ends_at_the_limit_in_the_same_way_every_time() {
    let pages = |memory_bytes| {
        let limits = Limits {
            memory_bytes,
            ..Limits::default()
        };
        let evaluation = hostile_within(&ENGINE, "grow", limits).evaluate(&sample());
        assert_eq!(denial_code(&evaluation), "GREW");
        let grown: u64 = evaluation.denial.unwrap().message.parse().unwrap();
        (grown, evaluation.fuel)
    };
    assert_eq!(pages(4 << 20), pages(4 << 20));
    assert_eq!(pages(8 << 20).0 - pages(4 << 20).0, 64);
    // All at once: refused, and not an error.
    assert_eq!(evaluate("grow-at-once").denial.unwrap().message, "-1");
}

#[test]
fn keeps_what_was_logged_tamed() {
    let evaluation = evaluate("log");
    assert_eq!(evaluation.verdict, Verdict::Allow);
    let lines: Vec<_> = evaluation
        .log
        .iter()
        .map(|line| (line.level, line.message.as_str()))
        .collect();
    assert_eq!(lines, [(LogLevel::Debug, "one"), (LogLevel::Error, "two  [2J")]);
}

#[test]
fn a_panic_of_the_sdk_tells_why_in_the_log() {
    let evaluation = evaluate("panic-loudly");
    assert_eq!(denial_code(&evaluation), code::POLICY_TRAP);
    let line = &evaluation.log[0];
    assert_eq!(line.level, LogLevel::Error);
    assert!(
        line.message.contains("lib.rs") && line.message.contains("asked to"),
        "{}",
        line.message
    );
}

#[test]
fn a_flood_keeps_the_lines_inside_the_budget() {
    let lines = evaluate("flood-lines").log.len();
    assert_eq!(lines, Limits::default().log_lines as usize);
    assert!(evaluate("flood-bytes").log.is_empty());
}

#[test]
fn the_epoch_aborts_and_does_not_deny() {
    let engine = Engine::new(EngineSettings {
        slots: 1,
        epoch_deadline: Duration::from_secs(1),
        ..EngineSettings::default()
    })
    .unwrap();
    let limits = Limits {
        fuel: u64::MAX / 2,
        ..Limits::default()
    };
    let evaluation = hostile_within(&engine, "loop", limits).evaluate(&sample());
    assert_eq!(evaluation.verdict, Verdict::Aborted);
    assert_eq!(evaluation.aborted, Some(AbortReason::Epoch));
    assert_eq!(evaluation.denial, None);
}

#[test]
fn a_full_pool_aborts() {
    let engine = Engine::new(EngineSettings {
        slots: 1,
        ..EngineSettings::default()
    })
    .unwrap();
    let policy = hostile_within(&engine, "hour", Limits::default());
    let taken = policy.instantiate(1).unwrap();
    let evaluation = policy.evaluate(&sample());
    assert_eq!(evaluation.aborted, Some(AbortReason::PoolFull));
    drop(taken);
    assert_eq!(policy.evaluate(&sample()).verdict, Verdict::Allow);
}

#[test]
fn an_engine_does_not_take_a_short_epoch() {
    let settings = EngineSettings {
        epoch_deadline: Duration::from_millis(999),
        ..EngineSettings::default()
    };
    assert!(Engine::new(settings).is_err());
}
