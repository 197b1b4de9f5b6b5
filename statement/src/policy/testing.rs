//! People, revisions and sets for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealwright_identity::{Digest, SpiffeId, Timestamp};

use super::*;
use crate::{FileSigner, KeyKind, Sealed, Signed, Signer};

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_341_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn id(path: &str) -> SpiffeId {
    format!("spiffe://cluster.local{path}").parse().unwrap()
}

pub(super) const ISSUER: &str = "default";

pub(super) fn deployment() -> Digest {
    deployment_id([(ISSUER, Digest::of(b"issuer key"))])
}

/// Somebody with keys of each kind in turn.
pub(super) struct Somebody {
    pub(super) name: &'static str,
    pub(super) keys: Vec<FileSigner>,
}

impl Somebody {
    pub(super) fn new(name: &'static str, keys: usize) -> Self {
        let kinds = [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384];
        let keys = kinds.into_iter().cycle().take(keys);
        Self {
            name,
            keys: keys.map(|kind| FileSigner::generate(kind).unwrap().0).collect(),
        }
    }

    pub(super) fn person(&self, roles: &[Role]) -> Person {
        Person {
            name: name(self.name),
            roles: roles.to_vec(),
            keys: self.keys.iter().map(|key| key.public_key().clone()).collect(),
        }
    }
}

/// A roster of approvers and authors; whoever is both is both.
pub(super) fn roster(number: u64, threshold: u64, people: &[(&Somebody, &[Role])]) -> Roster {
    let mut people: Vec<_> = people.iter().map(|(who, roles)| who.person(roles)).collect();
    people.sort_by(|one, next| one.name.cmp(&next.name));
    Roster {
        number,
        previous: None,
        threshold,
        people,
    }
}

pub(super) fn revision(policy: &str, module: &[u8]) -> Revision {
    Revision {
        policy: name(policy),
        module: Digest::of(module),
        source: None,
        settings: "{}".to_owned(),
        scope: Scope::all_of("cluster.local".parse().unwrap()),
        wit: "sealwright:policy@1.0.0".to_owned(),
        limits: Limits {
            fuel: 10_000_000,
            memory: 0,
        },
    }
}

pub(super) fn revisions(all: impl IntoIterator<Item = Revision>) -> Revisions {
    let sealed = all.into_iter().map(|one| Sealed::new(one).unwrap());
    sealed.map(|one| (one.digest(), one)).collect()
}

pub(super) fn entry(revision: &Revision, mode: Mode) -> Entry {
    Entry {
        revision: Sealed::new(revision.clone()).unwrap().digest(),
        mode,
        report: Some(Digest::of(b"report")),
    }
}

pub(super) fn canary(hundredths: u16) -> Mode {
    Mode::Canary(Canary {
        hundredths,
        salt: b"01234567".to_vec(),
    })
}

pub(super) fn set(number: u64, previous: Option<Digest>, roster: Digest, entries: Vec<Entry>) -> Set {
    Set {
        deployment: deployment(),
        number,
        previous,
        not_before: NOW.saturating_sub(DAY),
        not_after: NOW.saturating_add(DAY),
        roster,
        entries,
        stop: None,
        restores: None,
    }
}

/// A gate of three approvers, two of whom must agree, and an author who is one of them; set 1 is in force.
pub(super) struct World {
    pub(super) anna: Somebody,
    pub(super) bert: Somebody,
    pub(super) carl: Somebody,
    pub(super) stranger: Somebody,
    pub(super) roster: Sealed<Roster>,
    pub(super) next_roster: Option<Sealed<Roster>>,
    pub(super) revisions: Revisions,
    pub(super) pushers: Pushers,
    pub(super) revoked: BTreeSet<Digest>,
    pub(super) before: Sealed<Set>,
    pub(super) before_until: Timestamp,
    pub(super) previous: Sealed<Set>,
    pub(super) now: Timestamp,
    pub(super) rehearsal: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let (anna, bert) = (Somebody::new("anna", 2), Somebody::new("bert", 1));
        let (carl, stranger) = (Somebody::new("carl", 1), Somebody::new("stranger", 1));
        let both: &[Role] = &[Role::Author, Role::Approver];
        let approver: &[Role] = &[Role::Approver];
        let people = [(&anna, approver), (&bert, approver), (&carl, both)];
        let roster = Sealed::new(roster(1, 2, &people)).unwrap();
        let old = revision("baseline", b"old");
        let before = set(1, None, roster.digest(), vec![entry(&old, Mode::Enforce)]);
        let before = Sealed::new(before).unwrap();
        let previous = set(
            2,
            Some(before.digest()),
            roster.digest(),
            vec![
                entry(&old, Mode::Enforce),
                entry(&revision("extra", b"extra"), Mode::Shadow),
            ],
        );
        let all = [old, revision("baseline", b"new"), revision("extra", b"extra")];
        let revisions = revisions(all);
        let carl_alone = || BTreeSet::from([name("carl")]);
        let pushers: BTreeMap<_, _> = revisions.keys().map(|digest| (*digest, carl_alone())).collect();
        Self {
            anna,
            bert,
            carl,
            stranger,
            roster,
            next_roster: None,
            revisions,
            pushers,
            revoked: BTreeSet::new(),
            before,
            before_until: NOW.saturating_sub(DAY),
            previous: Sealed::new(previous).unwrap(),
            now: NOW,
            rehearsal: false,
        }
    }

    /// The next set: a new revision enforces.
    pub(super) fn next(&self) -> Set {
        let new = revision("baseline", b"new");
        set(
            3,
            Some(self.previous.digest()),
            self.roster.digest(),
            vec![entry(&new, Mode::Enforce)],
        )
    }

    pub(super) fn case(&self) -> Case<'_> {
        Case {
            deployment: deployment(),
            rehearsal: self.rehearsal,
            previous: Some(&self.previous),
            roster: &self.roster,
            next_roster: self.next_roster.as_ref(),
            revisions: &self.revisions,
            pushers: &self.pushers,
            revoked: &self.revoked,
            restorable: Some(Restorable {
                set: &self.before,
                until: self.before_until,
            }),
            now: self.now,
        }
    }
}

pub(super) fn signed<T: crate::Statement>(statement: T, by: &[&FileSigner]) -> Signed<T> {
    let mut signed = Signed::unsigned(Sealed::new(statement).unwrap());
    by.iter().for_each(|key| signed.sign(*key).unwrap());
    signed
}
