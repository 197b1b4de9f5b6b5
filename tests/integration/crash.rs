//! Killing what can be killed: the gate, under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use der::Decode as _;
use rustix::process::Signal;
use sealwright_tests::{Client, Csr, Signer, signer::signal};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

fn serial(leaf: &str) -> String {
    let (_, der) = der::pem::decode_vec(leaf.as_bytes()).unwrap();
    let certificate = x509_cert::Certificate::from_der(&der).unwrap();
    let octets = certificate.tbs_certificate().serial_number().as_bytes().to_vec();
    hex::encode(octets.strip_prefix(&[0]).unwrap_or(&octets))
}

/// Waits, within a bound, until a condition holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_killed_under_load_comes_back_and_nothing_is_lost() {
    let signer = Signer::dev(&[]);
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    let running = Arc::new(AtomicBool::new(true));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, token, running) = (client.clone(), token.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let mut received = Vec::new();
                let csr = Csr::ztunnel(WEB).pem;
                while running.load(Ordering::Relaxed) {
                    match client.create(&token, &csr, 3600).await {
                        Ok(chain) => received.push(serial(&chain[0])),
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                received
            })
        })
        .collect();

    let front = signer.children("front");
    assert_eq!(front.len(), 1);
    for _ in 0..3 {
        let mut before = Vec::new();
        eventually("a gate runs", async || {
            before = signer.children("gate");
            !before.is_empty() && signer.http("/readyz").await.0 == 200
        })
        .await;
        signal(before[0], Signal::KILL);
        eventually("another gate runs", async || {
            let now = signer.children("gate");
            !now.is_empty() && now != before
        })
        .await;
    }
    eventually("it signs again", async || {
        client.create(&token, &Csr::ztunnel(WEB).pem, 60).await.is_ok()
    })
    .await;
    running.store(false, Ordering::Relaxed);
    assert_eq!(signer.children("front"), front, "the front stays");

    let mut received = BTreeSet::new();
    for task in load {
        for serial in task.await.unwrap() {
            assert!(received.insert(serial), "a serial came twice");
        }
    }
    let mut outcomes: BTreeMap<String, String> = BTreeMap::new();
    for row in signer.log_list(&["--limit", "1000000"]) {
        if let Some(serial) = row["serial"].as_str() {
            let outcome = row["outcome"].as_str().unwrap().to_owned();
            assert!(
                outcomes.insert(serial.to_owned(), outcome).is_none(),
                "{serial} is recorded twice"
            );
        }
    }
    assert!(!received.is_empty());
    for serial in &received {
        assert_eq!(
            outcomes.get(serial).map(String::as_str),
            Some("issued"),
            "{serial}"
        );
    }
    let home = signer.home().to_owned();
    assert_eq!(signer.stop(), 0);
    sealwright_tests::run(["log", "verify", "--home", home.to_str().unwrap()]);
}
