//! The same input gives the same verdict and the same fuel: in another slot,
//! after a dirtied instance, and in a fresh engine.

use serde_json::json;

use super::support::{guest, hostile, load, source};
use crate::{Engine, EngineSettings, Evaluation, Policy, Verdict, input::tests::sample};

#[test]
fn the_same_in_any_slot_and_any_engine() {
    let settings = json!({"trust_domains": ["cluster.local"], "namespaces": ["shop"]});
    let policy = load("baseline", settings.clone()).unwrap();
    let input = sample();
    let first = policy.evaluate(&input);
    assert_eq!(first.verdict, Verdict::Allow);
    assert!(first.fuel > 0);

    // Others hold the slots that were used before.
    let taken: Vec<_> = (0..8).map(|_| policy.instantiate(1).unwrap()).collect();
    assert_eq!(policy.evaluate(&input), first);
    drop(taken);

    // Loaded again, in an engine of its own, with the pool almost gone.
    let engine = Engine::new(EngineSettings {
        slots: 2,
        ..EngineSettings::default()
    });
    let again = Policy::load(&engine.unwrap(), source(guest("baseline"), settings)).unwrap();
    assert_eq!(again.evaluate(&input), first);
}

#[test]
fn the_same_after_a_dirtied_instance() {
    // Slots are used again for the same component first, and each of these
    // leaves a static and a megabyte behind.
    let policy = hostile("dirty");
    let first = policy.evaluate(&sample());
    assert_eq!(first.verdict, Verdict::Allow, "{first:?}");
    for _ in 0..40 {
        assert_eq!(policy.evaluate(&sample()), first);
    }
    // And after one that died in the middle of it.
    assert_eq!(hostile("allocate").evaluate(&sample()).verdict, Verdict::Deny);
    assert_eq!(policy.evaluate(&sample()), first);
}

#[test]
fn errors_are_the_same_too() {
    for deed in ["recurse", "allocate", "huge", "panic", "flood-lines", "loop"] {
        let policy = hostile(deed);
        let first = policy.evaluate(&sample());
        assert_eq!(first.verdict, Verdict::Deny);
        assert_eq!(policy.evaluate(&sample()), first, "{deed}");
        assert_eq!(hostile(deed).evaluate(&sample()), first, "{deed}");
    }
}

#[test]
fn every_nan_has_the_same_bits() {
    let denial = hostile("nan").evaluate(&sample()).denial.unwrap();
    assert_eq!(denial.code, "NAN");
    assert_eq!(denial.message, ["7ff8000000000000"; 4].join(" "));
}

#[test]
fn the_canonical_input_is_enough_to_decide_again() {
    let policy = load("baseline", json!({"trust_domains": ["other"]})).unwrap();
    let input = sample();
    let read_back = crate::PolicyInput::from_canonical(&input.canonical()).unwrap();
    let first: Evaluation = policy.evaluate(&input);
    assert_eq!(first.denial.as_ref().unwrap().code, "TRUST_DOMAIN_NOT_ALLOWED");
    assert_eq!(policy.evaluate(&read_back), first);
}
