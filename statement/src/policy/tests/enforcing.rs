//! Who is asked.

use proptest::prelude::*;

use super::super::testing::*;
use super::super::*;
use crate::Sealed;

fn modules(list: Option<Vec<&Sealed<Revision>>>) -> Vec<Digest> {
    list.unwrap().into_iter().map(|one| one.module).collect()
}

fn digests(modules: &[&str]) -> Vec<Digest> {
    modules.iter().map(|one| Digest::of(one.as_bytes())).collect()
}

fn world(entries: &[(Revision, Mode)]) -> (Set, Revisions) {
    let listed = entries
        .iter()
        .map(|(revision, mode)| entry(revision, mode.clone()));
    let set = set(1, None, Digest::of(b""), listed.collect());
    (
        set,
        revisions(entries.iter().map(|(revision, _)| revision.clone())),
    )
}

#[test]
fn the_list_has_the_set_s_order() {
    let (set, known) = world(&[
        (revision("b", b"1"), Mode::Enforce),
        (revision("c", b"2"), Mode::Shadow),
        (revision("a", b"3"), Mode::Enforce),
    ]);
    let ids = [id("/ns/a/sa/b")];
    let list = enforcing(&set, &known, ISSUER, &ids);
    assert_eq!(modules(list), digests(&["1", "3"]));
    assert_eq!(modules(shadows(&set, &known, ISSUER, &ids)), digests(&["2"]));
    let empty = Revisions::new();
    assert_eq!(enforcing(&set, &empty, ISSUER, &ids), None);
}

#[test]
fn a_canary_replaces_in_its_bucket() {
    let (set, known) = world(&[
        (revision("a", b"1"), Mode::Enforce),
        (revision("b", b"2"), Mode::Enforce),
        (revision("a", b"3"), canary(2_500)),
    ]);
    let mut drawn = 0;
    for n in 0..1000 {
        let one = id(&format!("/ns/a/sa/{n}"));
        let inside = bucket(&name("a"), b"01234567", one.as_str()) < 2_500;
        let list = modules(enforcing(&set, &known, ISSUER, &[one]));
        assert_eq!(list, digests(if inside { &["2", "3"] } else { &["1", "2"] }));
        drawn += u32::from(inside);
    }
    assert!((200..300).contains(&drawn), "{drawn}");
    // All, and who has no name.
    let (set, known) = world(&[
        (revision("a", b"1"), Mode::Enforce),
        (revision("a", b"3"), canary(10_000)),
    ]);
    let list = |ids: &[_]| modules(enforcing(&set, &known, ISSUER, ids));
    assert_eq!(list(&[id("/x")]), digests(&["3"]));
    assert_eq!(list(&[]), digests(&["1"]));
}

/// The bucket is in the documents: another implementation must come to the same.
#[test]
fn the_bucket_is_the_documented_one() {
    let place = bucket(&name("baseline"), &[0; 8], "spiffe://cluster.local/ns/a/sa/b");
    let hash = Digest::of(b"baseline\0\0\0\0\0\0\0\0spiffe://cluster.local/ns/a/sa/b");
    let first = u64::from_be_bytes(hash.as_bytes()[..8].try_into().unwrap());
    assert_eq!(u64::from(place), first % 10_000);
}

#[test]
fn a_canary_exempts_nobody() {
    let mut narrow = revision("a", b"3");
    narrow.scope.namespaces = vec!["elsewhere".to_owned()];
    let (set, known) = world(&[(revision("a", b"1"), Mode::Enforce), (narrow, canary(10_000))]);
    let list = enforcing(&set, &known, ISSUER, &[id("/ns/a/sa/b")]);
    assert_eq!(modules(list), digests(&["1"]));
}

#[test]
fn a_scope_covers_what_it_names_and_what_it_cannot_see() {
    let scope = |issuers: &[&str], namespaces: &[&str], accounts: &[&str]| Scope {
        trust_domain: "cluster.local".parse().unwrap(),
        issuers: issuers.iter().map(ToString::to_string).collect(),
        namespaces: namespaces.iter().map(ToString::to_string).collect(),
        service_accounts: accounts.iter().map(ToString::to_string).collect(),
    };
    let (web, api) = (id("/ns/shop/sa/web"), id("/ns/shop/sa/api"));
    let other = "other";
    let foreign = "spiffe://elsewhere/ns/shop/sa/web".parse().unwrap();
    let plain = id("/plain");
    let both = [api.clone(), web.clone()];
    let table: [(Scope, &[sealwright_identity::SpiffeId], bool); 13] = [
        (scope(&[], &[], &[]), std::slice::from_ref(&web), true),
        (scope(&[ISSUER], &[], &[]), std::slice::from_ref(&web), true),
        (scope(&[other], &[], &[]), std::slice::from_ref(&web), false),
        (scope(&[other], &[], &[]), &[], false),
        (scope(&[], &["shop"], &[]), std::slice::from_ref(&web), true),
        (scope(&[], &["shops"], &[]), std::slice::from_ref(&web), false),
        (scope(&[], &[], &["shop/web"]), std::slice::from_ref(&web), true),
        (scope(&[], &[], &["shop/web"]), std::slice::from_ref(&api), false),
        (scope(&[], &[], &["shop/web"]), &both, true),
        (
            scope(&[], &["other"], &["shop/web"]),
            std::slice::from_ref(&web),
            false,
        ),
        (scope(&[], &[], &[]), &[foreign], false),
        // What cannot be seen never exempts.
        (scope(&[], &["other"], &[]), &[plain], true),
        (scope(&[], &["other"], &["other/x"]), &[], true),
    ];
    for (scope, ids, covered) in table {
        assert_eq!(scope.covers(ISSUER, ids), covered, "{scope:?} {ids:?}");
    }
}

#[test]
fn entries_go_together() {
    let (one, two) = (revision("a", b"1"), revision("a", b"2"));
    let check = |entries: &[(Revision, Mode)]| {
        let (set, known) = world(entries);
        check_set(&set, &known)
    };
    check(&[]).unwrap();
    check(&[(one.clone(), Mode::Shadow)]).unwrap();
    check(&[(two.clone(), canary(1)), (one.clone(), Mode::Enforce)]).unwrap();
    let refused = check(&[(one.clone(), Mode::Enforce), (two.clone(), Mode::Enforce)]);
    assert!(matches!(refused, Err(SetError::Another { mode: "enforces", .. })));
    let three = revision("a", b"3");
    let refused = check(&[
        (one.clone(), Mode::Enforce),
        (two.clone(), canary(1)),
        (three, canary(2)),
    ]);
    assert!(matches!(
        refused,
        Err(SetError::Another {
            mode: "is a canary",
            ..
        })
    ));
    assert!(matches!(
        check(&[(two.clone(), canary(1))]),
        Err(SetError::Alone { .. })
    ));
    let refused = check(&[(one.clone(), Mode::Enforce), (one, Mode::Shadow)]);
    assert!(matches!(refused, Err(SetError::Twice(_))));
    let many: Vec<_> = (0..=MAX_SHADOWS)
        .map(|n| (revision("s", n.to_string().as_bytes()), Mode::Shadow))
        .collect();
    assert_eq!(check(&many), Err(SetError::Shadows(MAX_SHADOWS + 1)));
    let (set, _) = world(&[(two, Mode::Enforce)]);
    assert!(matches!(
        check_set(&set, &Revisions::new()),
        Err(SetError::Unknown(_))
    ));
}

proptest! {
    /// One policy name decides at most once, whatever the set, and never as a shadow.
    #[test]
    fn a_name_is_asked_once(share in 1u16..=10_000, path in "/[a-z]{1,9}") {
        let (set, known) = world(&[
            (revision("a", b"1"), Mode::Enforce),
            (revision("a", b"2"), canary(share)),
            (revision("a", b"3"), Mode::Shadow),
        ]);
        let list = modules(enforcing(&set, &known, ISSUER, &[id(&path)]));
        prop_assert!(list == digests(&["1"]) || list == digests(&["2"]));
    }
}
