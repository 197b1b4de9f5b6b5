mod canaries;

use std::collections::HashMap;

use sealwright_identity::SpiffeId;
use sealwright_ledger::StatementRef;
use sealwright_statement::policy::{Entry, Limits, Mode, Person, Role, Scope, WIT_WORLD, deployment_id};
use sealwright_statement::{FileSigner, KeyKind, Signer};

use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_341_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A ledger in memory, whose policy entries are applied as they are written.
struct Book {
    ann: FileSigner,
    bob: FileSigner,
    dan: FileSigner,
    sets: Sets,
    blobs: HashMap<Digest, Vec<u8>>,
    sequence: u64,
}

impl Book {
    /// Two of ann, bob and dan must agree; dan pushes.
    fn new() -> Self {
        let key = || FileSigner::generate(KeyKind::Ed25519).unwrap().0;
        let mut book = Self {
            ann: key(),
            bob: key(),
            dan: key(),
            sets: Sets::default(),
            blobs: HashMap::new(),
            sequence: 10,
        };
        let roster = Signed::unsigned(Sealed::new(book.roster(1, None, 2)).unwrap());
        book.change(PolicyEvent::Roster, 0, 0, &roster, Vec::new())
            .unwrap();
        book
    }

    fn roster(&self, number: u64, previous: Option<Digest>, threshold: u64) -> Roster {
        let person = |name: &str, roles: &[Role], key: &FileSigner| Person {
            name: name.parse().unwrap(),
            roles: roles.to_vec(),
            keys: vec![key.public_key().clone()],
        };
        Roster {
            number,
            previous,
            threshold,
            people: vec![
                person("ann", &[Role::Approver], &self.ann),
                person("bob", &[Role::Approver], &self.bob),
                person("dan", &[Role::Author, Role::Approver], &self.dan),
            ],
        }
    }

    fn revision(&self, policy: &str) -> Signed<Revision> {
        let revision = Revision {
            policy: policy.parse().unwrap(),
            module: Digest::of(policy.as_bytes()),
            source: None,
            settings: "{}".to_owned(),
            scope: Scope::all_of("cluster.local".parse().unwrap()),
            wit: WIT_WORLD.to_owned(),
            limits: Limits {
                fuel: 1000,
                memory: 1 << 20,
            },
        };
        signed(revision, &[&self.dan])
    }

    /// The next set, by the roster in force.
    fn next(&self, revisions: &[&Signed<Revision>]) -> Set {
        let last = self.sets.all().last().map(|active| &active.set);
        let entries = revisions.iter().map(|revision| Entry {
            revision: revision.statement.digest(),
            mode: Mode::Enforce,
            report: Some(Digest::of(b"report")),
        });
        Set {
            deployment: deployment_id([("default", Digest::of(b"key"))]),
            number: last.map_or(1, |last| last.number + 1),
            previous: last.map(Sealed::digest),
            not_before: NOW.saturating_sub(DAY),
            not_after: NOW.saturating_add(DAY),
            roster: self.sets.roster.as_ref().unwrap().digest(),
            entries: entries.collect(),
            stop: None,
            restores: None,
        }
    }

    fn change<T: Statement>(
        &mut self,
        event: PolicyEvent,
        number: u64,
        approvals: u32,
        own: &Signed<T>,
        more: Vec<(Digest, String)>,
    ) -> Result<(), Problem> {
        let mut all = vec![(own.statement.digest(), own.to_string())];
        all.extend(more);
        let brings = all.into_iter().map(|(statement, text)| {
            let blob = Digest::of(text.as_bytes());
            self.blobs.insert(blob, text.into_bytes());
            StatementRef { statement, blob }
        });
        let entry = PolicyEntry {
            event,
            number,
            statement: own.statement.digest(),
            judged_at: NOW,
            approvals,
            seeded: false,
            brings: brings.collect(),
            stopped: None,
        };
        self.sequence += 5;
        let (blobs, sequence) = (&self.blobs, self.sequence);
        let read = |digest: Digest| {
            blobs.get(&digest).cloned().ok_or_else(|| Problem::Absent {
                what: "statement",
                digest: digest.to_string(),
            })
        };
        self.sets.apply(sequence, NOW, &entry, &read)
    }

    fn activate(&mut self, set: Set, revisions: &[&Signed<Revision>]) -> Result<(), Problem> {
        let set = signed(set, &[&self.ann, &self.bob]);
        let number = set.statement.number;
        self.change(PolicyEvent::Set, number, 2, &set, files(revisions))
    }

    fn due(&mut self, identity: &str) -> Result<Vec<String>, String> {
        let ids: Vec<SpiffeId> = vec![identity.parse().unwrap()];
        let in_force = self.sets.in_force().unwrap();
        let due = in_force.required("default", &ids)?;
        Ok(due.iter().map(|due| due.name.to_string()).collect())
    }
}

fn signed<T: Statement>(statement: T, by: &[&FileSigner]) -> Signed<T> {
    let mut signed = Signed::unsigned(Sealed::new(statement).unwrap());
    by.iter().for_each(|key| signed.sign(*key).unwrap());
    signed
}

fn files<T: Statement>(statements: &[&Signed<T>]) -> Vec<(Digest, String)> {
    let file = |signed: &&Signed<T>| (signed.statement.digest(), signed.to_string());
    statements.iter().map(file).collect()
}

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

#[test]
fn what_holds_takes_effect_and_names_who_agreed() {
    let mut book = Book::new();
    assert!(book.due(WEB).unwrap_err().contains("no policy set"));
    let (a, b) = (book.revision("a"), book.revision("b"));
    book.activate(book.next(&[&a, &b]), &[&a, &b]).unwrap();
    assert_eq!(book.due(WEB).unwrap(), ["a", "b"]);
    assert!(book.due("spiffe://elsewhere/ns/default/sa/web").is_err());
    let first = book.sets.activated(1).unwrap();
    let names: Vec<_> = first
        .verdict
        .counted
        .iter()
        .map(|one| one.person.as_str())
        .collect();
    assert_eq!((names, first.sequence), (vec!["ann", "bob"], 20));
    let pushed: Vec<_> = book
        .sets
        .pushers(&a.statement.digest())
        .map(Name::as_str)
        .collect();
    assert_eq!(pushed, ["dan"]);
    assert_eq!(
        book.sets.in_force().unwrap().required("default", &[]).unwrap()[0].memory,
        Some(1 << 20)
    );

    // A rollback.
    book.activate(book.next(&[&b]), &[]).unwrap();
    assert_eq!(book.due(WEB).unwrap(), ["b"]);
    let mut back = book.next(&[&a, &b]);
    back.restores = Some(1);
    book.activate(back, &[]).unwrap();
    assert_eq!(book.due(WEB).unwrap(), ["a", "b"]);
    assert_eq!(book.sets.all().len(), 3);
    assert_eq!(book.sets.activated(1).unwrap().until, Some(NOW));
}

/// An earlier release took it.
#[test]
fn a_rollback_may_have_lain_about_for_a_month() {
    let mut book = Book::new();
    let (a, b) = (book.revision("a"), book.revision("b"));
    book.activate(book.next(&[&a]), &[&a]).unwrap();
    book.activate(book.next(&[&b]), &[&b]).unwrap();
    let back = |book: &Book, days: u32| {
        let mut back = book.next(&[&a]);
        back.restores = Some(1);
        back.not_after = back.not_before.saturating_add(DAY * days);
        back
    };
    let problem = book.activate(back(&book, 31), &[]).unwrap_err();
    assert!(problem.to_string().contains("at most 30 days"), "{problem}");
    book.activate(back(&book, 30), &[]).unwrap();
    assert_eq!(book.due(WEB).unwrap(), ["a"]);
}

#[test]
fn what_does_not_hold_changes_nothing() {
    let mut book = Book::new();
    let a = book.revision("a");
    book.activate(book.next(&[&a]), &[&a]).unwrap();
    let b = book.revision("b");
    let set = book.next(&[&b]);
    // The pusher's own approval does not count.
    let own = signed(set.clone(), &[&book.ann, &book.dan]);
    let problem = book
        .change(PolicyEvent::Set, 2, 2, &own, files(&[&b]))
        .unwrap_err();
    assert!(problem.to_string().contains("dan does not count"), "{problem}");
    assert_eq!(problem.code(), "change");
    assert_eq!(book.due(WEB).unwrap(), ["a"]);
    assert!(book.sets.revision(&b.statement.digest()).is_none());

    // Another number in the entry, a statement that is not there, a second roster, a set from configuration.
    let agreed = signed(set.clone(), &[&book.ann, &book.bob]);
    let problem = book
        .change(PolicyEvent::Set, 3, 2, &agreed, files(&[&b]))
        .unwrap_err();
    assert!(
        problem.to_string().contains("set 3 is in force, and that is 2"),
        "{problem}"
    );
    let kept = std::mem::take(&mut book.blobs);
    let absent = PolicyEntry {
        event: PolicyEvent::Set,
        number: 2,
        statement: agreed.statement.digest(),
        judged_at: NOW,
        approvals: 2,
        seeded: false,
        brings: vec![StatementRef {
            statement: agreed.statement.digest(),
            blob: Digest::of(b"gone"),
        }],
        stopped: None,
    };
    let gone = |digest: Digest| {
        Err(Problem::Absent {
            what: "statement",
            digest: digest.to_string(),
        })
    };
    let problem = book.sets.apply(100, NOW, &absent, &gone).unwrap_err();
    assert_eq!(problem.code(), "absent");
    book.blobs = kept;
    book.sequence = 100;
    let roster = Signed::unsigned(Sealed::new(book.roster(1, None, 1)).unwrap());
    let problem = book
        .change(PolicyEvent::Roster, 1, 0, &roster, Vec::new())
        .unwrap_err();
    assert!(problem.to_string().contains("a roster was there"), "{problem}");

    // Entries out of their order.
    book.sequence = 1;
    let problem = book
        .change(PolicyEvent::Set, 2, 2, &agreed, files(&[&b]))
        .unwrap_err();
    assert!(problem.to_string().contains("does not follow"), "{problem}");
    book.sequence = 200;
    book.change(PolicyEvent::Set, 2, 2, &agreed, files(&[&b]))
        .unwrap();
    assert_eq!(book.due(WEB).unwrap(), ["b"]);
}

#[test]
fn every_way_not_to_hold_is_said() {
    let mut book = Book::new();
    let a = book.revision("a");
    let mut unpushed = book.revision("b");
    unpushed.signatures.clear();
    let stranger = FileSigner::generate(KeyKind::P256).unwrap().0;
    let with = |edit: &dyn Fn(&mut Set)| {
        let mut set = book.next(&[&a]);
        edit(&mut set);
        signed(set, &[&book.ann, &book.bob])
    };
    let by = |keys: &[&FileSigner]| signed(book.next(&[&a]), keys);
    let forged = [
        (by(&[]), "2 must agree, and did: nobody"),
        (by(&[&book.ann]), "2 must agree, and did: ann"),
        (
            by(&[&book.ann, &book.bob, &stranger]),
            "is nobody's in the roster",
        ),
        (
            with(&|set| set.not_after = NOW.saturating_sub(DAY)),
            "it could be activated until",
        ),
        (
            with(&|set| set.not_before = NOW.saturating_add(DAY)),
            "it cannot be activated before",
        ),
        (
            with(&|set| set.not_after = NOW.saturating_add(DAY * 31)),
            "at most 30 days",
        ),
        (
            with(&|set| {
                set.number = 2;
                set.previous = Some(Digest::of(b"a set"));
            }),
            "its number is 2",
        ),
        (
            with(&|set| set.roster = Digest::of(b"roster")),
            "it names the roster",
        ),
        (
            with(&|set| set.entries[0].report = None),
            "has no admission report",
        ),
        (
            with(&|set| set.entries[0].revision = unpushed.statement.digest()),
            "was pushed by no author",
        ),
        (
            with(&|set| set.entries[0].revision = Digest::of(b"unknown")),
            "do not go together",
        ),
    ];
    let agreed = by(&[&book.ann, &book.bob]);
    let brought = files(&[&a, &unpushed]);
    for (set, due) in forged {
        let problem = book
            .change(PolicyEvent::Set, 1, 2, &set, brought.clone())
            .unwrap_err();
        assert!(problem.to_string().contains(due), "{due}: {problem}");
    }
    let problem = book
        .change(PolicyEvent::Set, 1, 3, &agreed, brought.clone())
        .unwrap_err();
    assert!(
        problem
            .to_string()
            .contains("2 people agreed, and 3 were recorded"),
        "{problem}"
    );
    assert!(book.sets.all().len() == 0);
    book.change(PolicyEvent::Set, 1, 2, &agreed, brought.clone())
        .unwrap();
    // Over another set than the one in force.
    let mut set = book.next(&[&a]);
    set.previous = Some(Digest::of(b"another"));
    let problem = book.activate(set, &[]).unwrap_err();
    assert!(problem.to_string().contains("it is over the set"), "{problem}");
}

#[test]
fn a_new_roster_is_agreed_to_by_the_one_before_and_judges_the_next_set() {
    let mut book = Book::new();
    let a = book.revision("a");
    book.activate(book.next(&[&a]), &[&a]).unwrap();
    let first = book.sets.first_roster().unwrap();
    let roster = Signed::unsigned(Sealed::new(book.roster(2, Some(first), 3)).unwrap());
    let mut set = book.next(&[&a]);
    set.roster = roster.statement.digest();
    let set = signed(set, &[&book.ann, &book.bob]);
    book.change(PolicyEvent::Set, 2, 2, &set, files(&[&roster]))
        .unwrap();
    assert_eq!(
        book.sets.activated(2).unwrap().roster,
        first,
        "it was judged by the one before"
    );

    // Three must agree from now on.
    let problem = book.activate(book.next(&[&a]), &[]).unwrap_err();
    assert!(problem.to_string().contains("3 must agree"), "{problem}");
    let all = signed(book.next(&[&a]), &[&book.ann, &book.bob, &book.dan]);
    book.change(PolicyEvent::Set, 3, 3, &all, Vec::new()).unwrap();
    assert_eq!(book.sets.first_roster(), Some(first));
}

#[test]
fn a_roster_that_no_set_names_comes_with_none() {
    let mut book = Book::new();
    let a = book.revision("a");
    book.activate(book.next(&[&a]), &[&a]).unwrap();
    let first = book.sets.first_roster();
    let mut alone = book.roster(2, first, 1);
    alone.people.truncate(1);
    let other = Signed::unsigned(Sealed::new(alone).unwrap());
    let set = signed(book.next(&[&a]), &[&book.ann, &book.bob]);
    let problem = book
        .change(PolicyEvent::Set, 2, 2, &set, files(&[&other]))
        .unwrap_err();
    assert!(problem.to_string().contains("nobody agreed to that"), "{problem}");

    let third = Signed::unsigned(Sealed::new(book.roster(2, first, 3)).unwrap());
    let problem = book
        .change(PolicyEvent::Set, 2, 2, &set, files(&[&other, &third]))
        .unwrap_err();
    assert!(problem.to_string().contains("two rosters"), "{problem}");
    // Without them it takes effect, and one person alone brings in no other.
    book.change(PolicyEvent::Set, 2, 2, &set, Vec::new()).unwrap();
    let alone = signed(book.next(&[&a]), &[&book.ann]);
    book.change(PolicyEvent::Set, 3, 1, &alone, Vec::new())
        .unwrap_err();
}

#[test]
fn what_was_revoked_allows_nothing() {
    let mut book = Book::new();
    let a = book.revision("a");
    book.activate(book.next(&[&a]), &[&a]).unwrap();
    let revocation = Revocation {
        deployment: book.next(&[&a]).deployment,
        revision: a.statement.digest(),
        reason: "a test".to_owned(),
        number: 1,
    };
    let alone = signed(revocation.clone(), &[&book.ann]);
    book.change(PolicyEvent::Revocation, 1, 1, &alone, Vec::new())
        .unwrap_err();
    assert_eq!(book.due(WEB).unwrap(), ["a"]);
    let both = signed(revocation, &[&book.ann, &book.dan]);
    book.change(PolicyEvent::Revocation, 1, 2, &both, Vec::new())
        .unwrap();
    assert!(
        book.due(WEB)
            .unwrap_err()
            .contains("policy a of set 1 was revoked")
    );
    let problem = book.activate(book.next(&[&a]), &[]).unwrap_err();
    assert!(problem.to_string().contains("was revoked"), "{problem}");
}
