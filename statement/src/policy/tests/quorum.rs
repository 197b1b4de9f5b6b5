//! What a quorum is not.

use super::super::testing::*;
use super::super::*;
use crate::{Sealed, Signature};

type Outcome = Result<Approved, QuorumError>;

fn names(approved: &Approved) -> Vec<&str> {
    let counted = approved.verdict().counted.iter();
    counted.map(|one| one.person.as_str()).collect()
}

fn below(outcome: Outcome) -> Verdict {
    match outcome {
        Err(QuorumError::BelowThreshold(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_approvers_suffice() {
    let world = World::new();
    let set = signed(world.next(), &[&world.anna.keys[0], &world.bert.keys[0]]);
    let approved = judge(&set, &world.case()).unwrap();
    assert_eq!(names(&approved), ["anna", "bert"]);
    assert_eq!(approved.set(), &set);
}

#[test]
fn a_person_counts_once() {
    let world = World::new();
    let anna = &world.anna;
    // With two keys.
    let set = signed(world.next(), &[&anna.keys[0], &anna.keys[1]]);
    let verdict = below(judge(&set, &world.case()));
    assert_eq!((verdict.counted.len(), verdict.counted[0].keys.len()), (1, 2));
    // With the same key twice, as a hostile front may send it.
    let mut set = signed(world.next(), &[&anna.keys[0]]);
    set.signatures.push(set.signatures[0].clone());
    assert_eq!(below(judge(&set, &world.case())).counted.len(), 1);
}

#[test]
fn nobody_below_the_threshold() {
    let world = World::new();
    for by in [&[][..], &[&world.bert.keys[0]]] {
        let verdict = below(judge(&signed(world.next(), by), &world.case()));
        assert_eq!((verdict.needed, verdict.counted.len()), (2, by.len()));
    }
}

#[test]
fn who_pushed_does_not_count() {
    let world = World::new();
    let set = signed(world.next(), &[&world.bert.keys[0], &world.carl.keys[0]]);
    let outcome = judge(&set, &world.case());
    let text = outcome.as_ref().unwrap_err().to_string();
    assert!(text.contains("carl does not count"), "{text}");
    let verdict = below(outcome);
    assert_eq!((verdict.counted.len(), verdict.uncounted.len()), (1, 1));

    // Nor for a new mode of what was there.
    let mut set = world.next();
    set.entries = vec![
        entry(&revision("baseline", b"old"), Mode::Enforce),
        entry(&revision("extra", b"extra"), Mode::Enforce),
    ];
    below(judge(
        &signed(set.clone(), &[&world.bert.keys[0], &world.carl.keys[0]]),
        &world.case(),
    ));
    // But for what stays as it was, and for taking something out.
    set.entries.truncate(1);
    judge(
        &signed(set, &[&world.bert.keys[0], &world.carl.keys[0]]),
        &world.case(),
    )
    .unwrap();
}

#[test]
fn only_signatures_of_the_roster_over_this_set() {
    let world = World::new();
    let (anna, bert) = (&world.anna.keys[0], &world.bert.keys[0]);
    let good = signed(world.next(), &[anna, bert]);

    // An unknown key, even beside enough others.
    let key = &world.stranger.keys[0];
    let set = signed(world.next(), &[anna, bert, key]);
    let unknown = QuorumError::UnknownKey(crate::Signer::public_key(key).id());
    assert_eq!(judge(&set, &world.case()).unwrap_err(), unknown);

    // Over another set.
    let mut other = world.next();
    other.not_after = other.not_after.saturating_add(DAY);
    let mut moved = signed(world.next(), &[anna]);
    moved.signatures.extend(signed(other, &[bert]).signatures);
    let refused = judge(&moved, &world.case()).unwrap_err();
    assert!(matches!(refused, QuorumError::Signature(_)), "{refused:?}");

    // Changed, or under somebody else's key.
    let mut broken = good.clone();
    broken.signatures[1].bytes[7] ^= 1;
    assert!(matches!(
        judge(&broken, &world.case()),
        Err(QuorumError::Signature(_))
    ));
    let mut swapped = good;
    swapped.signatures[1] = Signature {
        key: swapped.signatures[1].key.clone(),
        bytes: swapped.signatures[0].bytes.clone(),
    };
    assert!(matches!(
        judge(&swapped, &world.case()),
        Err(QuorumError::Signature(_))
    ));
}

#[test]
fn an_author_is_no_approver() {
    let mut world = World::new();
    let people: [(&Somebody, &[Role]); 3] = [
        (&world.anna, &[Role::Approver]),
        (&world.bert, &[Role::Author]),
        (&world.carl, &[Role::Approver]),
    ];
    world.roster = Sealed::new(roster(1, 2, &people)).unwrap();
    let set = signed(world.next(), &[&world.anna.keys[0], &world.bert.keys[0]]);
    assert!(matches!(
        judge(&set, &world.case()),
        Err(QuorumError::Role { .. })
    ));
}

/// Judges the next set after a change of it, signed by two people.
fn changed(world: &World, change: impl FnOnce(&mut Set)) -> Outcome {
    let mut set = world.next();
    change(&mut set);
    judge(
        &signed(set, &[&world.anna.keys[0], &world.bert.keys[0]]),
        &world.case(),
    )
}

#[test]
fn only_in_its_time() {
    let world = World::new();
    let later = NOW.saturating_add(DAY);
    let earlier = NOW.saturating_sub(DAY);
    let refused = changed(&world, |set| set.not_before = later).unwrap_err();
    assert_eq!(refused, QuorumError::NotYetValid(later));
    let refused = changed(&world, |set| {
        set.not_before = earlier.saturating_sub(DAY);
        set.not_after = earlier;
    });
    assert_eq!(refused.unwrap_err(), QuorumError::Expired(earlier));
    let month = |more: u64| {
        changed(&world, |set| {
            set.not_after = set
                .not_before
                .saturating_add(DAY * 30)
                .saturating_add(DAY * more as u32);
        })
    };
    month(0).unwrap();
    assert!(matches!(month(1), Err(QuorumError::Window { .. })));
    // What may be signed ahead lies about for a shorter time.
    let week = |more: u32| {
        rollback(&world, &world.before, |set| {
            set.not_after = set.not_before.saturating_add(DAY * (7 + more));
        })
    };
    week(0).unwrap();
    assert!(matches!(week(1), Err(QuorumError::Window { .. })));
}

/// What an earlier release let take effect did so: it is only held against what was allowed then.
#[test]
fn a_rollback_that_took_effect_may_have_had_a_month() {
    let world = World::new();
    let back = |days: u32, by: &[&crate::FileSigner]| {
        let mut set = world.next();
        set.entries = world.before.entries.clone();
        set.restores = Some(1);
        set.not_after = set.not_before.saturating_add(DAY * days);
        signed(set, by)
    };
    let (anna, bert) = (&world.anna.keys[0], &world.bert.keys[0]);
    let month = back(30, &[anna, bert]);
    for fresh in [
        judge(&month, &world.case()).err(),
        assess(&month, &world.case()).err(),
    ] {
        assert!(matches!(fresh, Some(QuorumError::Window { .. })), "{fresh:?}");
    }
    assert_eq!(
        names(&judge_recorded(&month, &world.case()).unwrap()),
        ["anna", "bert"]
    );
    let longer = judge_recorded(&back(31, &[anna, bert]), &world.case());
    assert!(matches!(longer, Err(QuorumError::Window { .. })), "{longer:?}");
    // All else is asked of it as ever.
    below(judge_recorded(&back(30, &[anna]), &world.case()));
}

#[test]
fn only_over_the_set_in_force() {
    let mut world = World::new();
    for number in [2, 4] {
        let refused = changed(&world, |set| set.number = number).unwrap_err();
        assert_eq!(
            refused,
            QuorumError::Number {
                expected: 3,
                found: number
            }
        );
    }
    let other = world.before.digest();
    let refused = changed(&world, |set| set.previous = Some(other)).unwrap_err();
    let expected = Some(world.previous.digest());
    assert_eq!(
        refused,
        QuorumError::Previous {
            expected,
            found: Some(other)
        }
    );
    let refused = changed(&world, |set| {
        set.deployment = deployment_id([(ISSUER, Digest::of(b"other"))])
    })
    .unwrap_err();
    assert!(matches!(refused, QuorumError::Deployment { .. }));

    // Replayed once it was in force, and once it was rolled back.
    let set = signed(world.next(), &[&world.anna.keys[0], &world.bert.keys[0]]);
    judge(&set, &world.case()).unwrap();
    world.before = world.previous.clone();
    world.previous = set.statement.clone();
    assert!(matches!(
        judge(&set, &world.case()),
        Err(QuorumError::Number { .. })
    ));
    let mut back = world.before.clone().into_inner();
    back.number = 4;
    back.previous = Some(world.previous.digest());
    back.restores = Some(2);
    let back = signed(back, &[&world.anna.keys[0], &world.bert.keys[0]]);
    judge(&back, &world.case()).unwrap();
    world.previous = back.statement;
    assert!(matches!(
        judge(&set, &world.case()),
        Err(QuorumError::Number { .. })
    ));
}

#[test]
fn a_roster_follows_by_the_votes_of_the_one_before() {
    let mut world = World::new();
    let (anna, bert) = (&world.anna.keys[0], &world.bert.keys[0]);
    let mut next = roster(2, 1, &[(&world.stranger, &[Role::Approver])]);
    next.previous = Some(world.roster.digest());
    let with = |world: &mut World, next: &Roster, by: &[&crate::FileSigner]| {
        let next = Sealed::new(next.clone()).unwrap();
        let mut set = world.next();
        set.roster = next.digest();
        let before = judge(&signed(set.clone(), by), &world.case());
        assert!(matches!(before, Err(QuorumError::UnknownRoster(_))));
        world.next_roster = Some(next);
        // It is worth nothing with a set that does not name it.
        let unnamed = judge(&signed(world.next(), by), &world.case());
        assert!(matches!(unnamed, Err(QuorumError::UnnamedRoster(_))));
        let outcome = judge(&signed(set, by), &world.case());
        world.next_roster = None;
        outcome
    };
    let mut copy = World::new();
    std::mem::swap(&mut copy.roster, &mut world.roster);
    let world = &mut copy;
    with(world, &next, &[anna, bert]).unwrap();
    // The new people cannot bring themselves in.
    let stranger = crate::FileSigner::generate(crate::KeyKind::P256).unwrap().0;
    assert!(matches!(
        with(world, &next, &[&stranger]),
        Err(QuorumError::UnknownKey(_))
    ));
    next.number = 3;
    assert!(matches!(
        with(world, &next, &[anna, bert]),
        Err(QuorumError::RosterOrder { .. })
    ));
    next.number = 2;
    next.previous = Some(Digest::of(b"another"));
    assert!(matches!(
        with(world, &next, &[anna, bert]),
        Err(QuorumError::RosterOrder { .. })
    ));
    next.previous = Some(world.roster.digest());
    next.threshold = 0;
    assert_eq!(
        with(world, &next, &[anna, bert]).unwrap_err(),
        QuorumError::NotRehearsal(2)
    );
}

#[test]
fn what_is_new_was_pushed_and_admitted() {
    let mut world = World::new();
    let refused = changed(&world, |set| set.entries[0].report = None).unwrap_err();
    assert!(matches!(refused, QuorumError::NoReport(_)));
    world.pushers.clear();
    assert!(matches!(changed(&world, |_| ()), Err(QuorumError::NotPushed(_))));
    let world = World::new();
    let unknown = entry(&revision("baseline", b"unknown"), Mode::Enforce);
    let refused = changed(&world, |set| set.entries = vec![unknown.clone()]).unwrap_err();
    assert_eq!(refused, QuorumError::Entries(SetError::Unknown(unknown.revision)));
}

#[test]
fn what_was_revoked_stays_out() {
    let mut world = World::new();
    let old = entry(&revision("baseline", b"old"), Mode::Enforce).revision;
    world.revoked.insert(old);
    changed(&world, |_| ()).unwrap();
    let back = rollback(&world, &world.before, |_| ());
    assert_eq!(back.unwrap_err(), QuorumError::Revoked(old));
}

fn rollback(world: &World, to: &Set, change: impl FnOnce(&mut Set)) -> Outcome {
    let mut set = world.next();
    set.entries = to.entries.clone();
    set.restores = Some(to.number);
    change(&mut set);
    judge(
        &signed(set, &[&world.anna.keys[0], &world.bert.keys[0]]),
        &world.case(),
    )
}

#[test]
fn a_rollback_brings_back_what_was_in_force_lately() {
    let mut world = World::new();
    // Who pushed it need not be an author any more.
    world.pushers.clear();
    rollback(&world, &world.before, |_| ()).unwrap();
    let refused = rollback(&world, &world.before, |set| set.restores = Some(2)).unwrap_err();
    assert_eq!(refused, QuorumError::NeverActive(2));
    let refused = rollback(&world, &world.before, |set| set.entries.clear()).unwrap_err();
    assert_eq!(refused, QuorumError::NotTheSame(1));
    world.before_until = NOW.saturating_sub(DAY * 30);
    rollback(&world, &world.before, |_| ()).unwrap();
    world.before_until = NOW.saturating_sub(DAY * 31);
    let refused = rollback(&world, &world.before, |_| ()).unwrap_err();
    assert!(matches!(refused, QuorumError::TooOld { number: 1, .. }));
}

#[test]
fn nobody_has_to_agree_in_a_rehearsal_only() {
    let mut world = World::new();
    world.roster = Sealed::new(Roster::rehearsal()).unwrap();
    let refused = judge(&signed(world.next(), &[]), &world.case()).unwrap_err();
    assert_eq!(refused, QuorumError::NotRehearsal(0));
    world.rehearsal = true;
    let approved = judge(&signed(world.next(), &[]), &world.case()).unwrap();
    assert!(approved.verdict().counted.is_empty());
    // Nobody is known there: signatures hold, and count for nobody.
    let by_anna = signed(world.next(), &[&world.anna.keys[0]]);
    assert!(
        judge(&by_anna, &world.case())
            .unwrap()
            .verdict()
            .counted
            .is_empty()
    );
    // A rollback wants one approval all the same.
    let mut set = world.next();
    set.entries = world.before.entries.clone();
    set.restores = Some(1);
    set.roster = world.roster.digest();
    assert_eq!(below(judge(&signed(set, &[]), &world.case())).needed, 1);
}

#[test]
fn a_rollback_can_be_signed_ahead() {
    let mut world = World::new();
    let (anna, bert) = (&world.anna.keys[0], &world.bert.keys[0]);
    let next = signed(world.next(), &[anna, bert]);
    let mut back = world.previous.clone().into_inner();
    back.number = 4;
    back.previous = Some(next.statement.digest());
    back.restores = Some(2);
    let back = signed(back, &[anna, bert]);
    assert!(matches!(
        judge(&back, &world.case()),
        Err(QuorumError::Number { .. })
    ));
    judge(&next, &world.case()).unwrap();
    world.before = std::mem::replace(&mut world.previous, next.statement.clone());
    judge(&back, &world.case()).unwrap();
}

#[test]
fn a_revocation_wants_a_quorum_too() {
    let mut world = World::new();
    let revoked = entry(&revision("extra", b"extra"), Mode::Shadow).revision;
    let revocation = |number| Revocation {
        deployment: deployment(),
        revision: revoked,
        reason: "it was found to allow too much".to_owned(),
        number,
    };
    let (anna, carl) = (&world.anna.keys[0], &world.carl.keys[0]);
    let two = signed(revocation(2), &[anna, carl]);
    let approved = judge_revocation(&two, &world.case()).unwrap();
    assert_eq!(approved.verdict().counted.len(), 2);
    let one = signed(revocation(2), &[anna]);
    assert!(matches!(
        judge_revocation(&one, &world.case()),
        Err(QuorumError::BelowThreshold(_))
    ));
    let old = signed(revocation(1), &[anna, carl]);
    assert!(matches!(
        judge_revocation(&old, &world.case()),
        Err(QuorumError::Number { .. })
    ));
    // A signature over the set is none over the revocation.
    let mut moved = one;
    moved.signatures.extend(signed(world.next(), &[carl]).signatures);
    assert!(matches!(
        judge_revocation(&moved, &world.case()),
        Err(QuorumError::Signature(_))
    ));
    world.revoked.insert(revoked);
    assert!(matches!(
        judge_revocation(&two, &world.case()),
        Err(QuorumError::Revoked(_))
    ));
}

#[test]
fn authors_push() {
    let world = World::new();
    let new = revision("baseline", b"new");
    let by_carl = signed(new.clone(), &[&world.carl.keys[0]]);
    assert_eq!(pushers(&by_carl, &world.roster).unwrap().len(), 1);
    assert!(
        pushers(&signed(new.clone(), &[]), &world.roster)
            .unwrap()
            .is_empty()
    );
    let by_anna = signed(new.clone(), &[&world.anna.keys[0]]);
    assert!(matches!(
        pushers(&by_anna, &world.roster),
        Err(QuorumError::Role { .. })
    ));
    let by_stranger = signed(new, &[&world.stranger.keys[0]]);
    assert!(matches!(
        pushers(&by_stranger, &world.roster),
        Err(QuorumError::UnknownKey(_))
    ));
}
