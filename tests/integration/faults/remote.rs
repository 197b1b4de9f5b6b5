//! A token in another process, reached through `p11-kit`: as a network HSM, which can go away, come back, and hang.

use std::{path::Path, time::Duration};

use rustix::process::Signal;
use sealwright_tests::{
    Home,
    fault::Scene,
    remote::{Remote, SOFTHSM, client},
    signer::signal,
};
use tokio::time::Instant;

use super::AGAIN_OR_LATE;

/// How long something hangs.
const HANG: Duration = Duration::from_secs(5);

/// A home whose gate reaches its token through the server.
fn home() -> Home {
    let home = Home::new();
    let module = |path: &Path| format!("module = {:?}", path.to_str().unwrap());
    home.replace(&module(Path::new(SOFTHSM)), &module(&client()));
    let variables = format!(
        "[gate.env]\nP11_KIT_SERVER_ADDRESS = {:?}\n",
        Remote::address(home.path())
    );
    home.replace("[gate.env]\nSOFTHSM2_CONF = \"softhsm2.conf\"\n", &variables);
    home.replace("[gate.token]\n", "[gate.token]\ndeadline = \"1s\"\n");
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_token_that_goes_away() {
    let home = home();
    let mut remote = Remote::start(home.path());
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let front = scene.process("front");
    let load = scene.load(4);
    for _ in 0..3 {
        load.issued(10).await;
        assert!(!remote.children().is_empty());
        let since = Instant::now();
        remote.to_children(Signal::KILL);
        load.refused(1).await;
        scene.recovers_since("remote_killed", since).await;
    }
    load.issued(10).await;
    drop(remote);
    load.refused(20).await;
    scene.serving.wait_until(503, "token").await;
    scene.serves_pages().await;
    remote = Remote::start(home.path());
    assert!(remote.socket.exists());
    scene.recovers("remote_server_gone_and_back").await;
    load.issued(10).await;
    assert_eq!(scene.process("front"), front, "the front stays");
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN_OR_LATE);
    scene.end(&answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_token_that_hangs() {
    let home = home();
    let remote = Remote::start(home.path());
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let front = scene.process("front");
    let load = scene.load(4);
    load.issued(10).await;
    // Only the one that serves us: a new connection has a new one.
    let since = Instant::now();
    remote.to_children(Signal::STOP);
    load.refused(1).await;
    scene
        .recovers_since("remote_hangs_until_another_connection", since)
        .await;
    remote.to_children(Signal::CONT);
    load.issued(10).await;
    // The whole server: nobody is to be reached.
    signal(remote.pid(), Signal::STOP);
    remote.to_children(Signal::STOP);
    tokio::time::sleep(HANG).await;
    load.refused(1).await;
    scene.serving.wait_until(503, "").await;
    scene.serves_pages().await;
    signal(remote.pid(), Signal::CONT);
    remote.to_children(Signal::CONT);
    scene.recovers("remote_server_hangs_5_s").await;
    load.issued(10).await;
    assert_eq!(scene.process("front"), front, "the front stays");
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN_OR_LATE);
    scene.end(&answers);
}
