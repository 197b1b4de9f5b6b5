//! Policies that burn, hoard, trap and loop, active for one issuer while another serves: its callers are all served. How
//! much longer they wait is printed and not asserted: it is a matter of processors.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prost_types::{Struct, Value, value::Kind};
use sealwright_tests::{Client, Csr, Home, client::request, dev_token, fault::WEB};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::policy::{HOSTILE, policy};

/// Ends by fuel, by the bound of its memory, by a trap, by the bound of its stack.
const DEEDS: [&str; 4] = ["loop", "allocate", "panic", "recurse"];

/// Requests of the others in each part.
const REQUESTS: usize = 300;

/// What a client needs.
#[derive(Clone)]
struct Asker {
    client: Client,
    bearer: String,
    csr: String,
}

impl Asker {
    async fn ask(&self, issuer: &str) -> Result<Vec<String>, Status> {
        let mut message = request(&self.csr, 3600);
        let value = Value {
            kind: Some(Kind::StringValue(issuer.to_owned())),
        };
        message.metadata = Some(Struct {
            fields: BTreeMap::from([("CertSigner".to_owned(), value)]),
        });
        self.client
            .create_with(&[("authorization", &self.bearer)], message)
            .await
    }

    /// The times of the others, sorted; every one is served.
    async fn others(&self) -> Vec<Duration> {
        let tasks = (0..2).map(|_| {
            let asker = self.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..REQUESTS / 2 {
                    let since = Instant::now();
                    asker.ask("default").await.unwrap();
                    times.push(since.elapsed());
                    // Below what the machine can do, so that it is not their own load that they wait for.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                times
            })
        });
        let mut times = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            times.extend(task.await.unwrap());
        }
        times.sort();
        times
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_policies_of_another_issuer() {
    let home = Home::new();
    for deed in DEEDS {
        home.append(&policy(deed, HOSTILE, &format!("{{ decide = {deed:?} }}")));
        home.append(&format!(
            "[[issuers]]\nname = {deed:?}\nkey = \"pkcs11:object=issuing\"\nchain = \"issuer-chain.pem\"\n\
             roots = \"roots.pem\"\nrehearsal = true\npolicies = [{deed:?}]\n"
        ));
    }
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let token = dev_token(home.path(), "default", "web");
    let asker = Asker {
        client: Client::connect_to(serving.grpc(), &home.file("roots.pem")).await,
        bearer: format!("Bearer {}", token),
        csr: Csr::ztunnel(WEB).pem,
    };
    asker.others().await;
    let without = asker.others().await;

    let running = Arc::new(AtomicBool::new(true));
    let denied = Arc::new(AtomicUsize::new(0));
    let hostile: Vec<_> = DEEDS
        .map(|deed| {
            let (running, denied) = (Arc::clone(&running), Arc::clone(&denied));
            // A connection of its own, as another caller has.
            let (grpc, roots, mut asker) = (serving.grpc().to_owned(), home.file("roots.pem"), asker.clone());
            tokio::spawn(async move {
                asker.client = Client::connect_to(&grpc, &roots).await;
                while running.load(Ordering::Relaxed) {
                    let status = asker.ask(deed).await.unwrap_err();
                    assert!(
                        matches!(status.code(), Code::PermissionDenied | Code::ResourceExhausted),
                        "{deed}: {status}"
                    );
                    denied.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .into();
    let with = asker.others().await;
    running.store(false, Ordering::Relaxed);
    for task in hostile {
        task.await.unwrap();
    }
    assert!(denied.load(Ordering::Relaxed) > 0);
    assert_eq!(serving.stop(), 0);
    print(&without, &with, denied.load(Ordering::Relaxed));
    home.run(&["log", "verify"]).success();
}

#[allow(clippy::print_stdout, reason = "the figures are read from the test's output")]
fn print(without: &[Duration], with: &[Duration], denied: usize) {
    let at =
        |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    for percent in [50, 99] {
        let (without, with) = (at(without, percent), at(with, percent));
        println!(
            "figure: hostile_p{percent} {without:.1} ms without, {with:.1} ms with, ratio {:.2}",
            with / without
        );
    }
    println!("figure: hostile_decisions {denied}");
}
