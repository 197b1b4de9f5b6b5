//! Kryoptic, a second real PKCS#11 module: `make test-kryoptic` builds it and runs these.
//!
//! `SEALWRIGHT_KRYOPTIC` names its library.

mod ceremony;

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Signal;
use sealwright_tests::{
    Client, Csr, Home,
    client::request,
    fault::{Scene, WEB},
    signer::signal,
};
use tokio::time::Instant;
use tonic::Code;

fn home() -> Home {
    let module = std::env::var_os("SEALWRIGHT_KRYOPTIC").expect("run make test-kryoptic");
    Home::of_module(&PathBuf::from(module), "KRYOPTIC_CONF", |folder| {
        let database = folder.join("token.sql");
        format!(
            "[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = {:?}\n",
            database.to_str().unwrap()
        )
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kryoptic: make test-kryoptic"]
async fn issues_renews_and_verifies() {
    let home = home();
    let signer = home.start();
    let first = Csr::ztunnel(WEB);
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    let chain = client.create(&token, &first.pem, 3600).await.unwrap();
    let presented = chain[..chain.len() - 1].concat();
    let itself = Client::connect_with(&signer, &presented, &first.key.serialize_pem())
        .await
        .unwrap();
    let message = request(&Csr::ztunnel(WEB).pem, 3600);
    let renewed = itself.create_with(&[], message).await.unwrap();
    assert_ne!(renewed[0], chain[0]);
    assert_eq!(signer.stop(), 0);

    // Again on the token that is there, with the chains verified by OpenSSL at the end.
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    load.issued(200).await;
    let answers = load.stop().await;
    assert!(answers.refused.is_empty(), "{:?}", answers.refused);
    scene.end(&answers);
}

/// Kryoptic locks a PIN at the tenth try: the gate has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kryoptic: make test-kryoptic"]
async fn a_wrong_pin_is_tried_once() {
    let home = home();
    let right = fs::read_to_string(home.file("pin")).unwrap();
    fs::write(home.file("pin"), "0000000000000000").unwrap();
    let serving = home.serve();
    let reason = serving.wait_until(503, "PIN").await;
    assert!(reason.contains("incorrect"), "{reason}");
    assert!(home.file("gate/pin-refused").exists());
    assert!(serving.log().contains("\"restarts\":false"), "{}", serving.log());
    fs::write(home.file("pin"), right).unwrap();
    assert_eq!(home.run(&["gate", "reset-pin"]).code, 0);
    serving.signal(Signal::HUP);
    // Without a certificate of its own, as it never signed, the front has none to serve with before.
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    scene.recovers("kryoptic_pin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kryoptic: make test-kryoptic"]
async fn a_gate_killed_again_and_again() {
    let home = home();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    for round in 0..10 {
        load.issued(5).await;
        let gate = scene.process("gate").unwrap();
        let since = Instant::now();
        signal(gate.0, Signal::KILL);
        let next = scene.another("gate", gate);
        if round % 2 == 0 {
            // Into its start.
            tokio::time::sleep(Duration::from_millis(round * 30)).await;
            signal(next.0, Signal::KILL);
        }
        scene.recovers_since("kryoptic_gate_killed", since).await;
    }
    load.issued(5).await;
    let answers = load.stop().await;
    answers.refused_only_with(&[Code::Unavailable]);
    scene.end(&answers);
}
