//! What is a statement and what is none.

use super::super::testing::*;
use super::super::*;
use crate::cbor::{self, Key, Value};
use crate::{Sealed, Statement, StatementError};

fn problem<T: Statement + std::fmt::Debug>(statement: T) -> String {
    match Sealed::new(statement) {
        Err(StatementError::Schema { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_encoded_reads_back() {
    let world = World::new();
    let mut full = revision("baseline", b"m");
    full.source = Some(Digest::of(b"source"));
    full.scope.issuers = vec![ISSUER.to_owned()];
    full.scope.namespaces = vec!["a".to_owned(), "b".to_owned()];
    full.scope.service_accounts = vec!["a/b".to_owned()];
    full.settings = canonical_settings(&serde_json::json!({"b": 1, "a": ["x"]})).unwrap();
    let full = Sealed::new(full).unwrap();
    assert_eq!(Sealed::decode(full.bytes()).unwrap(), full);
    let mut set = world.next();
    set.entries.push(entry(&revision("baseline", b"c"), canary(250)));
    set.entries.push(entry(&revision("x", b"c"), Mode::Shadow));
    set.stop = Some(StopBounds {
        decisions: 100,
        denied: 250,
        aborted: 0,
    });
    set.restores = Some(1);
    let set = Sealed::new(set).unwrap();
    assert_eq!(Sealed::decode(set.bytes()).unwrap(), set);
    assert_eq!(Sealed::decode(world.roster.bytes()).unwrap(), world.roster);
    // One type's bytes are not another's.
    assert!(Sealed::<Roster>::decode(set.bytes()).is_err());
}

#[test]
fn a_key_more_or_less_is_refused() {
    let set = Sealed::new(World::new().next()).unwrap();
    let Value::Map(members) = cbor::decode(set.bytes()).unwrap() else {
        panic!("a set is a map");
    };
    let refused = |members: std::collections::BTreeMap<Key, Value>| {
        let bytes = cbor::encode(&Value::Map(members));
        Sealed::<Set>::decode(&bytes).unwrap_err()
    };
    for key in members.keys() {
        let mut less = members.clone();
        less.remove(key);
        refused(less);
        let mut other = members.clone();
        other.insert(key.clone(), Value::Bool(true));
        refused(other);
    }
    let mut more = members;
    more.insert(Key("note".to_owned()), Value::text("x"));
    refused(more);
}

#[test]
fn a_revision_makes_sense() {
    let with = |change: &dyn Fn(&mut Revision)| {
        let mut revision = revision("baseline", b"m");
        change(&mut revision);
        problem(revision)
    };
    for settings in [
        "",
        "[]",
        "{ }",
        r#"{"b":1,"a":2}"#,
        r#"{"a":1.5}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":1,"a":1}"#,
    ] {
        let text = with(&|revision| revision.settings = settings.to_owned());
        assert!(text.starts_with("\"settings\""), "{settings}: {text}");
    }
    with(&|revision| revision.limits.fuel = 0);
    with(&|revision| revision.wit = "a b".to_owned());
    with(&|revision| revision.scope.namespaces = vec!["b".to_owned(), "a".to_owned()]);
    with(&|revision| revision.scope.namespaces = vec!["a/b".to_owned()]);
    with(&|revision| revision.scope.service_accounts = vec!["a".to_owned()]);
    with(&|revision| revision.scope.issuers = vec![ISSUER.to_owned(), ISSUER.to_owned()]);
    assert!("a b".parse::<Name>().is_err() && "".parse::<Name>().is_err());
}

#[test]
fn a_roster_makes_sense() {
    let world = World::new();
    let with = |change: &dyn Fn(&mut Roster)| {
        let mut roster = world.roster.clone().into_inner();
        change(&mut roster);
        problem(roster)
    };
    with(&|roster| roster.threshold = 4);
    with(&|roster| roster.people.reverse());
    with(&|roster| roster.people[0].roles.clear());
    with(&|roster| roster.people[0].roles = vec![Role::Approver, Role::Author]);
    with(&|roster| roster.people[0].keys.clear());
    // A key is one person's.
    with(&|roster| roster.people[1].keys = roster.people[0].keys.clone());
    with(&|roster| roster.people[1].name = roster.people[0].name.clone());
}

#[test]
fn a_set_makes_sense() {
    let world = World::new();
    let with = |change: &dyn Fn(&mut Set)| {
        let mut set = world.next();
        change(&mut set);
        problem(set)
    };
    with(&|set| set.number = 0);
    with(&|set| set.number = 1);
    with(&|set| set.previous = None);
    with(&|set| set.restores = Some(3));
    with(&|set| set.restores = Some(0));
    with(&|set| set.not_after = set.not_before.saturating_sub(DAY));
    with(&|set| set.not_before = sealwright_identity::Timestamp::from_micros(1));
    with(&|set| set.entries[0].mode = canary(0));
    with(&|set| set.entries[0].mode = canary(10_001));
    with(&|set| {
        set.entries[0].mode = Mode::Canary(Canary {
            hundredths: 1,
            salt: vec![0; 7],
        });
    });
    with(&|set| set.entries = vec![set.entries[0].clone(); MAX_ENTRIES + 1]);
}

#[test]
fn people_see_the_digest_and_the_fields() {
    let world = World::new();
    let set = Sealed::new(world.next()).unwrap();
    let view = serde_json::to_value(&set).unwrap();
    assert_eq!(view["digest"], set.digest().to_string());
    assert_eq!(view["type"], "policy-set");
    assert_eq!(view["entries"][0]["mode"], "enforce");
    let roster = serde_json::to_value(&world.roster).unwrap();
    assert_eq!(roster["people"][2]["roles"][0], "author");
}
