//! A token in another process, reached through `p11-kit`: as a network HSM, which can go away, come back, and hang.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use sealwright_tests::{Home, Process, fault::Scene, signer::signal, within};
use tokio::time::Instant;

use super::AGAIN_OR_LATE;

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// How long something hangs.
const HANG: Duration = Duration::from_secs(5);

/// The client's module, wherever this machine's architecture has it.
fn client() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let place = |folder: fs::DirEntry| folder.path().join("pkcs11/p11-kit-client.so");
    let mut places = folders.map(|folder| place(folder.unwrap()));
    places
        .find(|place| place.is_file())
        .expect("p11-kit-modules is not installed: make setup")
}

/// `p11-kit server` before a home's token, and the children that it makes, one for each client.
struct Remote {
    server: Child,
    socket: PathBuf,
}

impl Remote {
    fn start(home: &Home) -> Self {
        let socket = home.file("p11.sock");
        fs::remove_file(&socket).ok();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "p11-kit", "server", "--foreground"]);
        command.args(["--provider", SOFTHSM, "--name"]).arg(&socket);
        command
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", home.file("softhsm2.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = command.spawn().unwrap();
        within(|| socket.exists().then_some(())).expect("p11-kit server makes its socket");
        Self { server, socket }
    }

    fn children(&self) -> Vec<u32> {
        let all = Process::all_of(self.server.id());
        all[1..].iter().map(|process| process.0).collect()
    }

    /// To the processes that hold the token.
    fn to_children(&self, which: Signal) {
        for child in self.children() {
            signal(child, which);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // One that is stopped does not see the end of its client.
        self.to_children(Signal::KILL);
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// A home whose gate reaches its token through the server.
fn home() -> Home {
    let home = Home::new();
    let module = |path: &Path| format!("module = {:?}", path.to_str().unwrap());
    home.replace(&module(Path::new(SOFTHSM)), &module(&client()));
    let variables = format!(
        "[gate.env]\nP11_KIT_SERVER_ADDRESS = \"unix:path={}\"\n",
        home.file("p11.sock").display()
    );
    home.replace("[gate.env]\nSOFTHSM2_CONF = \"softhsm2.conf\"\n", &variables);
    home.replace("[gate.token]\n", "[gate.token]\ndeadline = \"1s\"\n");
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_token_that_goes_away() {
    let home = home();
    let mut remote = Remote::start(&home);
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
    remote = Remote::start(&home);
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
    let remote = Remote::start(&home);
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
    signal(remote.server.id(), Signal::STOP);
    remote.to_children(Signal::STOP);
    tokio::time::sleep(HANG).await;
    load.refused(1).await;
    scene.serving.wait_until(503, "").await;
    scene.serves_pages().await;
    signal(remote.server.id(), Signal::CONT);
    remote.to_children(Signal::CONT);
    scene.recovers("remote_server_hangs_5_s").await;
    load.issued(10).await;
    assert_eq!(scene.process("front"), front, "the front stays");
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN_OR_LATE);
    scene.end(&answers);
}
