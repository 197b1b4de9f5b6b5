//! The ledger of a rehearsal, written anew as one where people agreed.

use std::fs;

use prost::Message as _;
use sealwright_identity::Digest;
use sealwright_proto::gate::Evidence;
use sealwright_statement::{
    Envelope, FileSigner, KeyKind, Sealed, Signed, Signer, Statement,
    policy::{Entry as SetEntry, Mode, Person, Revision, Role, Roster, Set},
};
use sealwright_tests::Home;

use crate::audit::{
    CONTRADICTED, codes, export, filled,
    forge::{Fields, Ledger},
    replay, report,
};

pub(super) const REPORT: &[u8] = b"admitted";

/// Two of ann, bob and dan must agree; dan pushes.
pub(super) struct People {
    pub(super) ann: FileSigner,
    pub(super) bob: FileSigner,
    pub(super) dan: FileSigner,
    pub(super) roster: Sealed<Roster>,
}

impl People {
    pub(super) fn new() -> Self {
        let key = |kind| FileSigner::generate(kind).unwrap().0;
        let (ann, bob) = (key(KeyKind::Ed25519), key(KeyKind::P256));
        let dan = key(KeyKind::P384);
        let person = |name: &str, roles: &[Role], key: &FileSigner| Person {
            name: name.parse().unwrap(),
            roles: roles.to_vec(),
            keys: vec![key.public_key().clone()],
        };
        let people = vec![
            person("ann", &[Role::Approver], &ann),
            person("bob", &[Role::Approver], &bob),
            person("dan", &[Role::Author, Role::Approver], &dan),
        ];
        let roster = Roster {
            number: 1,
            previous: None,
            threshold: 2,
            people,
        };
        Self {
            roster: Sealed::new(roster).unwrap(),
            ann,
            bob,
            dan,
        }
    }
}

/// The ledger of `filled`, as if people had agreed.
pub(super) struct Peopled {
    pub(super) home: Home,
    pub(super) ledger: Ledger,
    pub(super) people: People,
    /// The set as it is, with everything that a forger may change.
    pub(super) set: Set,
    pub(super) revisions: Vec<Signed<Revision>>,
    /// The entry of the set.
    pub(super) place: usize,
}

impl Peopled {
    pub(super) async fn new() -> Self {
        let home = filled().await;
        let text = fs::read_to_string(export(&home, "all.jsonl", &[])).unwrap();
        let (mut ledger, people) = (Ledger::read(&text), People::new());
        let place = ledger.first("policy");
        let roster = Signed::unsigned(people.roster.clone());
        bring(
            &mut ledger,
            place,
            1,
            0,
            vec![(people.roster.digest(), roster.to_string())],
        );

        // What the home was before has no part in it: one set brings in all.
        let next = |ledger: &Ledger| {
            let rest = &ledger.entries[place + 1..];
            place + 1 + rest.iter().position(|entry| entry.kind == "policy").unwrap()
        };
        let first = next(&ledger);
        let earlier = brought(&ledger, first);
        ledger.entries.remove(first);
        let place = next(&ledger);
        let (mut set, mut revisions, mut blobs) = (None, Vec::new(), Vec::new());
        for blob in brought(&ledger, place).into_iter().chain(earlier) {
            let armoured = String::from_utf8(ledger.blob(blob).to_vec()).unwrap();
            let envelope = Envelope::parse(&armoured).unwrap();
            if envelope.kind() == Revision::TYPE {
                let mut revision = envelope.open::<Revision>().unwrap();
                revision.sign(&people.dan).unwrap();
                revisions.push(revision);
                blobs.push(blob);
            } else if set.is_none() {
                set = Some(Set::clone(&envelope.open::<Set>().unwrap().statement));
                blobs.push(blob);
            }
        }
        ledger.insert_blob(place, "report", REPORT);
        let place = place + 1;
        ledger.entries[place].fields.retain(|(tag, _)| *tag != 36);
        *ledger.entries[place].field(31) = 1_u64.to_be_bytes().to_vec();
        for blob in blobs {
            let both = [blob.as_bytes().as_slice(), blob.as_bytes()].concat();
            ledger.entries[place].fields.push((36, both));
        }
        let mut set: Set = set.unwrap();
        (set.number, set.previous) = (1, None);
        set.roster = people.roster.digest();
        for entry in &mut set.entries {
            entry.report = Some(Digest::of(REPORT));
        }
        let mut peopled = Self {
            home,
            ledger,
            people,
            set,
            revisions,
            place,
        };
        peopled.records();
        peopled
    }

    /// Every record names set 1, two approvals, and the revisions.
    fn records(&mut self) {
        for entry in &mut self.ledger.entries {
            if !entry.fields.iter().any(|(tag, _)| *tag == 13) {
                continue;
            }
            *entry.field(13) = 1_u64.to_be_bytes().to_vec();
            *entry.field(14) = 2_u32.to_be_bytes().to_vec();
            let mut evidence = Evidence::decode(entry.field(10).as_slice()).unwrap();
            let decision = evidence.decision.as_mut().unwrap();
            decision.set_number = 1;
            for verdict in &mut decision.policies {
                let revisions = self.revisions.iter().map(|revision| &revision.statement);
                let mut named = revisions.filter(|revision| revision.policy.as_str() == verdict.name);
                verdict.revision = named.next().unwrap().digest().to_string();
            }
            *entry.field(10) = evidence.encode_to_vec();
        }
    }

    pub(super) fn agreed(&self, set: Set) -> Signed<Set> {
        signed(set, &[&self.people.ann, &self.people.bob])
    }

    /// The ledger under this set.
    pub(super) fn under(&self, set: &Signed<Set>, approvals: u32) -> Ledger {
        let mut ledger = self.ledger.clone();
        let mut statements = vec![(set.statement.digest(), set.to_string())];
        for revision in &self.revisions {
            statements.push((revision.statement.digest(), revision.to_string()));
        }
        bring(&mut ledger, self.place, 2, approvals, statements);
        ledger
    }

    pub(super) fn verdict(&self, ledger: &Ledger) -> Found {
        self.verdict_with(ledger, &[])
    }

    pub(super) fn verdict_with(&self, ledger: &Ledger, more: &[&str]) -> Found {
        let file = self.home.file("forged.jsonl");
        fs::write(&file, ledger.written()).unwrap();
        let outcome = replay(file.to_str().unwrap(), &self.home.file("roots.pem"), more);
        let said = report(&outcome);
        Found {
            code: outcome.code,
            codes: codes(&said),
            said,
        }
    }

    /// The text of the first finding under a set that cannot have taken effect.
    pub(super) fn refused(&self, set: &Signed<Set>, approvals: u32) -> String {
        let found = self.verdict(&self.under(set, approvals));
        assert_eq!(found.code, CONTRADICTED, "{:#}", found.said);
        // The set does not hold, and no record can be of it.
        assert_eq!(found.codes, ["change", "set"], "{:#}", found.said);
        found.said["findings"][0]["problem"].as_str().unwrap().to_owned()
    }
}

pub(super) struct Found {
    pub(super) code: i32,
    pub(super) codes: Vec<String>,
    pub(super) said: serde_json::Value,
}

pub(super) fn signed<T: Statement>(statement: T, by: &[&FileSigner]) -> Signed<T> {
    let mut signed = Signed::unsigned(Sealed::new(statement).unwrap());
    by.iter().for_each(|key| signed.sign(*key).unwrap());
    signed
}

/// The blobs that a policy entry brings in.
pub(super) fn brought(ledger: &Ledger, place: usize) -> Vec<Digest> {
    let fields = ledger.entries[place].fields.iter();
    let blobs = fields.filter(|(tag, _)| *tag == 36);
    blobs
        .map(|(_, both)| Digest::from_bytes(both[32..].try_into().unwrap()))
        .collect()
}

/// Has a policy entry bring in these statements, the first of which is its own, in the place of those that it has.
fn bring(ledger: &mut Ledger, place: usize, event: u8, approvals: u32, statements: Vec<(Digest, String)>) {
    let old = brought(ledger, place);
    assert_eq!(old.len(), statements.len());
    let number = ledger.entries[place].field(31).clone();
    let judged_at = ledger.entries[place].field(33).clone();
    let mut fields = change(event, number, statements[0].0, judged_at, approvals);
    for (old, (statement, armoured)) in old.into_iter().zip(&statements) {
        let blob = ledger.replace_blob(old, armoured.clone().into_bytes());
        fields.push((36, [*statement.as_bytes(), *blob.as_bytes()].concat()));
    }
    ledger.entries[place].fields = fields;
}

pub(super) fn change(
    event: u8,
    number: Vec<u8>,
    statement: Digest,
    judged_at: Vec<u8>,
    approvals: u32,
) -> Fields {
    vec![
        (30, vec![event]),
        (31, number),
        (32, statement.as_bytes().to_vec()),
        (33, judged_at),
        (34, approvals.to_be_bytes().to_vec()),
    ]
}

impl Peopled {
    /// One more revision in the set, pushed and admitted.
    pub(super) fn add(&mut self, revision: Revision, mode: Mode) {
        let revision = signed(revision, &[&self.people.dan]);
        let blob = self
            .ledger
            .insert_blob(self.place, "statement", revision.to_string().as_bytes());
        self.place += 1;
        let digest = revision.statement.digest();
        let both = [*digest.as_bytes(), *blob.as_bytes()].concat();
        self.ledger.entries[self.place].fields.push((36, both));
        self.set.entries.push(SetEntry {
            revision: digest,
            mode,
            report: Some(Digest::of(REPORT)),
        });
        self.revisions.push(revision);
    }

    /// What is found under a set whose entries are these.
    pub(super) fn found_with_two(&self, edit: impl FnOnce(&mut Vec<SetEntry>)) -> (i32, Vec<String>) {
        let mut set = self.set.clone();
        edit(&mut set.entries);
        let found = self.verdict(&self.under(&self.agreed(set), 2));
        (found.code, found.codes)
    }
}
