//! Stops, held against the records.

use prost::Message as _;
use sealwright_ledger::{CanaryStop, CertificateKind, DecisionEntry};
use sealwright_proto::gate::{Decision, Evidence, PolicyVerdict};
use sealwright_statement::policy::{Canary, StopBounds};

use super::*;

const WEB: &str = "spiffe://cluster.local/ns/a/sa/web";

struct Watched {
    book: Book,
    canary: Digest,
    set: Digest,
}

impl Watched {
    /// A canary for everybody; stopped when more than half of at least four denied.
    fn new(counted: bool) -> Self {
        let mut book = Book::new();
        if counted {
            book.sets.count_records();
        }
        let old = book.revision("a");
        let mut new = Revision::clone(&old.statement);
        new.settings = r#"{"b":1}"#.to_owned();
        let new = signed(new, &[&book.dan]);
        let mut set = book.next(&[&old, &new]);
        set.entries[1].mode = Mode::Canary(Canary {
            hundredths: 10_000,
            salt: b"12345678".to_vec(),
        });
        set.stop = Some(StopBounds {
            decisions: 4,
            denied: 5_000,
            aborted: 0,
        });
        book.activate(set, &[&old, &new]).unwrap();
        let set = book.sets.activated(1).unwrap().set.digest();
        let canary = new.statement.digest();
        Self { book, canary, set }
    }

    fn record(&mut self, verdict: &str, seconds: u64) -> Result<(), Problem> {
        let evidence = Evidence {
            decision: Some(Decision {
                set_number: 1,
                policies: vec![PolicyVerdict {
                    revision: self.canary.to_string(),
                    verdict: verdict.to_owned(),
                    ..PolicyVerdict::default()
                }],
                ..Decision::default()
            }),
            ..Evidence::default()
        };
        let record = DecisionEntry {
            issuer: "default".to_owned(),
            issuer_key: Digest::of(b"key"),
            serial: None,
            identities: vec![WEB.to_owned()],
            policies: Vec::new(),
            csr: Vec::new(),
            tbs: Vec::new(),
            evidence: evidence.encode_to_vec(),
            kind: CertificateKind::Workload,
            denial: None,
            renewal: None,
            set: None,
        };
        let at = NOW.saturating_add(Duration::from_secs(seconds));
        self.book.sets.record(&record, at)
    }

    fn stop(&mut self, canary: Digest, [decisions, denied, aborted]: [u64; 3]) -> Result<(), Problem> {
        let entry = PolicyEntry {
            event: PolicyEvent::Stop,
            number: 1,
            statement: self.set,
            judged_at: NOW,
            approvals: 0,
            seeded: false,
            brings: Vec::new(),
            stopped: Some(CanaryStop {
                revision: canary,
                decisions,
                denied,
                aborted,
            }),
        };
        self.apply(&entry)
    }

    fn apply(&mut self, entry: &PolicyEntry) -> Result<(), Problem> {
        self.book.sequence += 5;
        let read = |_: Digest| panic!("a stop brings nothing in");
        self.book.sets.apply(self.book.sequence, NOW, entry, &read)
    }

    fn asked(&mut self) -> Digest {
        let in_force = self.book.sets.in_force().unwrap();
        in_force.asked("default", &[WEB.parse().unwrap()]).unwrap()[0].revision
    }
}

#[test]
fn a_stop_that_the_records_ask_for_takes_the_canary_out() {
    let mut watched = Watched::new(true);
    for verdict in ["allow", "deny", "deny", "deny"] {
        watched.record(verdict, 0).unwrap();
    }
    assert_eq!(watched.asked(), watched.canary);
    let canary = watched.canary;
    for counts in [[4, 4, 0], [3, 3, 0], [4, 2, 0], [4, 3, 1], [5, 3, 0]] {
        assert!(watched.stop(canary, counts).is_err(), "{counts:?}");
        assert_eq!(watched.asked(), canary);
    }
    let other = watched.book.sets.activated(1).unwrap().set.entries[0].revision;
    assert!(watched.stop(other, [4, 3, 0]).is_err(), "it is no canary");
    watched.stop(canary, [4, 3, 0]).unwrap();
    assert_eq!(watched.asked(), other);
    assert_eq!(watched.book.sets.activated(1).unwrap().stopped().len(), 1);
    assert!(watched.stop(canary, [4, 3, 0]).is_err(), "it was stopped");
    // What is decided without it counts for nothing.
    watched.record("deny", 3600).unwrap();
    assert!(watched.book.sets.in_force().unwrap().has_stopped(1));
}

#[test]
fn a_canary_that_goes_on_above_its_bound_is_a_finding() {
    let mut watched = Watched::new(true);
    for second in 0..64 {
        watched.record("deny", second).unwrap();
    }
    let late = watched.record("deny", 64).unwrap_err();
    assert_eq!(late.code(), "stop");
    assert!(late.to_string().contains("65 decisions, 65 denied"), "{late}");
    // Once is enough.
    watched.record("deny", 65).unwrap();
}

#[test]
fn a_bound_that_is_no_longer_exceeded_asks_for_nothing() {
    let mut watched = Watched::new(true);
    for verdict in ["deny", "deny", "deny", "allow", "allow", "allow"] {
        watched.record(verdict, 0).unwrap();
    }
    watched.record("allow", 3600).unwrap();
}

#[test]
fn what_came_before_a_part_is_not_counted() {
    let mut watched = Watched::new(false);
    assert!(!watched.book.sets.are_canaries_counted());
    let canary = watched.canary;
    assert!(
        watched.stop(canary, [4, 2, 0]).is_err(),
        "its own words do not justify it"
    );
    watched.stop(canary, [1_000, 999, 0]).unwrap();
}
