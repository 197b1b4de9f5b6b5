//! A front that was taken over says what the policies said. It cannot choose which.

use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_proto::gate::{Narrowing, StringList};
use sealwright_statement::policy::{Canary, Mode, Revision, bucket};

use super::people::{Front, People, allowed, decided, entry, revision};
use crate::hostile::refused;
use crate::world::{Order, World, alone};

const SALT: &[u8] = b"12345678";

/// `a` for all with a canary for half, `b` for one namespace, `c` for another, `d` as a shadow.
struct Policies {
    a: Revision,
    canary: Revision,
    b: Revision,
    c: Revision,
    d: Revision,
}

impl Policies {
    fn new() -> Self {
        let mut b = revision("b", b"same");
        b.scope.namespaces = vec!["default".into()];
        // The same code and settings: only the scope differs.
        let mut c = revision("b-elsewhere", b"same");
        c.policy = "b".parse().unwrap();
        c.scope.namespaces = vec!["elsewhere".into()];
        Self {
            a: revision("a", b"first"),
            canary: revision("a", b"second"),
            b,
            c,
            d: revision("d", b"shadow"),
        }
    }

    async fn activate(&self, front: &Front<'_>) {
        for (revision, module) in [
            (&self.a, &b"first"[..]),
            (&self.canary, b"second"),
            (&self.b, b"same"),
            (&self.d, b"shadow"),
        ] {
            front.push(revision, module).await;
        }
        let half = Mode::Canary(Canary {
            hundredths: 5_000,
            salt: SALT.to_vec(),
        });
        front
            .activate(vec![
                entry(&self.a, Mode::Enforce),
                entry(&self.b, Mode::Enforce),
                entry(&self.d, Mode::Shadow),
                entry(&self.canary, half),
            ])
            .await;
    }
}

fn of(world: &World, id: &str, by: &[&Revision]) -> Order {
    let mut order = decided(world, 1, by);
    order.fields.sans = vec![format!("URI:{id}").parse().unwrap()];
    order.caller().identities = vec![id.into()];
    order.tell_policies(serde_json::json!({}));
    order
}

/// A workload of that namespace, inside the canary's bucket or outside.
fn workload(namespace: &str, inside: bool) -> String {
    (0..1000)
        .map(|n| format!("spiffe://cluster.local/ns/{namespace}/sa/w{n}"))
        .find(|id| (bucket(&"a".parse().unwrap(), SALT, id) < 5_000) == inside)
        .unwrap()
}

#[test]
fn evidence_is_exactly_the_list_that_the_gate_computes() {
    alone(
        "sets::evidence::evidence_is_exactly_the_list_that_the_gate_computes",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let p = Policies::new();
            p.activate(&front).await;

            let out = workload("default", false);
            let inside = workload("default", true);
            let elsewhere = workload("elsewhere", false);
            let order = |id: &str, by: &[&Revision]| of(&world, id, by);
            let table = [
                ("an enforcing policy left out", order(&out, &[&p.a])),
                ("all left out", order(&out, &[])),
                ("another order", order(&out, &[&p.b, &p.a])),
                ("one more, a shadow", order(&out, &[&p.a, &p.b, &p.d])),
                ("a shadow in the place of one", order(&out, &[&p.a, &p.d])),
                ("a revision of another scope", order(&out, &[&p.a, &p.c])),
                ("twice the same", order(&out, &[&p.a, &p.a])),
                ("the canary outside its bucket", order(&out, &[&p.b, &p.canary])),
                ("the old one inside the bucket", order(&inside, &[&p.a, &p.b])),
                ("both inside the bucket", order(&inside, &[&p.a, &p.b, &p.canary])),
                ("one more, of another namespace", order(&elsewhere, &[&p.a, &p.b])),
            ];
            for (what, order) in table {
                refused(&running, what, order.request(), "evidence").await;
            }
            let cheat = |change: &dyn Fn(&mut Order)| {
                let mut order = order(&out, &[&p.a, &p.b]);
                change(&mut order);
                order.request()
            };
            let minutes =
                |by: i64| move |order: &mut Order| order.decision().decided_at_micros += by * 61_000_000;
            let table = [
                ("no set number", cheat(&|order| order.decision().set_number = 0)),
                (
                    "no revision",
                    cheat(&|order| order.decision().policies[0].revision.clear()),
                ),
                (
                    "a denial",
                    cheat(&|order| order.decision().policies[1].verdict = "deny".into()),
                ),
                (
                    "an aborted one",
                    cheat(&|order| order.decision().policies[1].verdict = "aborted".into()),
                ),
                ("decided long ago", cheat(&minutes(-1))),
                ("decided later", cheat(&minutes(1))),
                (
                    "longer than narrowed",
                    cheat(&|order| {
                        order.decision().policies[1].narrowing = Some(Narrowing {
                            lifetime_seconds: Some(60),
                            ..Narrowing::default()
                        });
                    }),
                ),
                (
                    "another name than narrowed",
                    cheat(&|order| {
                        order.decision().policies[0].narrowing = Some(Narrowing {
                            names: Some(StringList {
                                items: vec!["URI:spiffe://cluster.local/ns/default/sa/other".into()],
                            }),
                            ..Narrowing::default()
                        });
                    }),
                ),
                (
                    "another module under the name",
                    cheat(&|order| {
                        let module = p.canary.module.to_string();
                        order.decision().policies[0].module = module;
                    }),
                ),
            ];
            for (what, request) in table {
                refused(&running, what, request, "evidence").await;
            }

            // Honest, in and out of the bucket and in another namespace.
            for order in [
                order(&out, &[&p.a, &p.b]),
                order(&inside, &[&p.b, &p.canary]),
                order(&elsewhere, &[&p.a]),
            ] {
                running.issue(order.request()).await.unwrap();
            }
            let row = running.newest().await;
            assert_eq!((&row["set"], &row["approvals"]), (&1.into(), &2.into()), "{row}");
            running.end().await;
        },
    );
}

#[test]
fn a_stale_number_is_answered_with_the_one_in_force() {
    alone(
        "sets::evidence::a_stale_number_is_answered_with_the_one_in_force",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let (old, new) = (revision("a", b"old"), revision("a", b"new"));
            front.push(&old, b"old").await;
            front.push(&new, b"new").await;
            front.activate(vec![entry(&old, Mode::Enforce)]).await;
            running
                .issue(decided(&world, 1, &[&old]).request())
                .await
                .unwrap();
            front.activate(vec![entry(&new, Mode::Enforce)]).await;
            let before = running.newest().await;
            for set in [1, 3] {
                let stale = running.issue(decided(&world, set, &[&old]).request()).await;
                assert!(
                    matches!(stale, Err(ClientError::Stale { set_number: 2 })),
                    "{stale:?}"
                );
            }
            // It is nobody's fault, and no record is made of it.
            assert_eq!(running.newest().await, before);
            running
                .issue(decided(&world, 2, &[&new]).request())
                .await
                .unwrap();
            running.end().await;
        },
    );
}

#[test]
fn requests_go_on_while_sets_change() {
    alone(
        "sets::evidence::requests_go_on_while_sets_change",
        async |mut world| {
            let people = People::new(2);
            people.settle(&mut world);
            let running = world.start().await;
            let front = Front::new(&world, &running, &people);
            let revisions = [revision("a", b"0"), revision("a", b"1")];
            front.push(&revisions[0], b"0").await;
            front.push(&revisions[1], b"1").await;
            front.activate(vec![entry(&revisions[0], Mode::Enforce)]).await;
            // As a front does it: what is stale is decided again.
            let ask = async |order: Order| {
                let mut set = 1;
                loop {
                    let mut order = order.clone();
                    order.decision().set_number = set;
                    let revision = &revisions[usize::try_from(set + 1).unwrap() % 2];
                    order.decision().policies = vec![allowed(revision)];
                    match running.issue(order.request()).await {
                        Err(ClientError::Stale { set_number }) => set = set_number,
                        outcome => return outcome,
                    }
                }
            };
            let requests = futures::future::join_all((0..64).map(|_| ask(decided(&world, 1, &[]))));
            let changes = async {
                for n in 1..8 {
                    front
                        .activate(vec![entry(&revisions[n % 2], Mode::Enforce)])
                        .await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let (answers, ()) = tokio::join!(requests, changes);
            for answer in answers {
                answer.unwrap();
            }
            running.end().await;
        },
    );
}
