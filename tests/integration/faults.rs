//! Faults of the token, its module and the processes, under load: each is survived without an
//! operator, nothing that a client holds is missing in the ledger, and nothing wrong is released.
//!
//! Each test prints `recovery: FAULT MILLISECONDS` lines; docs/reliability.md has the table.

mod clock;
mod database;
mod hostile;
mod keys;
mod remote;

pub(crate) use clock::library;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use sealwright_tests::{
    Home,
    command::binary,
    fault::{Faulty, Scene, rename, report},
    signer::signal,
    within,
};
use tokio::time::Instant;
use tonic::Code;

/// What a client is told when the token does not sign: to try again.
const AGAIN: [Code; 1] = [Code::Unavailable];

/// The same when calls take their time: it may also be told that its own is up.
const AGAIN_OR_LATE: [Code; 3] = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted];

/// Serves under load, with each fault for a while; what is refused meanwhile has these codes.
async fn survives(faults: &[(&str, &str)], deadline: &str, codes: &[Code]) {
    let faulty = Faulty::new();
    let deadline = format!("[gate.token]\ndeadline = {deadline:?}\n");
    faulty.home.replace("[gate.token]\n", &deadline);
    let scene = faulty.start().await;
    let front = scene.process("front").unwrap();
    let load = scene.load(4);
    for (name, fault) in faults {
        load.issued(5).await;
        faulty.inject(fault);
        load.refused(12).await;
        scene.serves_pages().await;
        faulty.lift();
        scene.recovers(name).await;
    }
    load.issued(5).await;
    scene.serving.wait_until(200, "").await;
    assert_eq!(scene.process("front"), Some(front), "the front stays");
    let answers = load.stop().await;
    answers.refused_only_with(codes);
    scene.end(&answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_device_are_survived() {
    let faults = [
        ("general_error", "sign=general_error"),
        ("device_removed", "sign=device_removed"),
    ];
    survives(&faults, "5s", &AGAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_survived() {
    let faults = [
        ("segfault", "sign=segfault"),
        ("absurd_length", "sign=absurd_length"),
        ("absurd_length_4EiB", "sign=absurd_length:4611686018427387904"),
    ];
    survives(&faults, "5s", &AGAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_and_hung_calls_are_survived() {
    let faults = [
        ("sleep_beyond_deadline", "sign=sleep:1500"),
        ("hang", "sign=hang"),
    ];
    survives(&faults, "1s", &AGAIN_OR_LATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_not_to_be_had_are_survived() {
    let faults = [
        ("session_lost", "sign_init=session_handle_invalid"),
        ("open_session", "open_session=device_error\nsign=device_error"),
    ];
    survives(&faults, "5s", &AGAIN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_for_by_one_gate() {
    // Three looks of a second each.
    outage_of_the_token(Duration::from_secs(3)).await;
}

/// A long outage must not end in a long wait: processes that end one after another are started
/// later and later, so one gate stays and looks.
pub(crate) async fn outage_of_the_token(outage: Duration) {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    let first = scene.process("gate").unwrap();
    let load = scene.load(2);
    load.issued(5).await;
    faulty.inject("sign=general_error");
    let second = scene.another("gate", first);
    scene.serving.wait_until(503, "does not sign").await;
    tokio::time::sleep(outage).await;
    // After a minute and a half the gate makes room for another, in case the illness is its own.
    let in_place = outage < Duration::from_secs(60);
    if in_place {
        assert_eq!(scene.process("gate"), Some(second), "{}", scene.serving.log());
    }
    faulty.lift();
    scene.recovers("general_error_outage").await;
    if in_place {
        assert_eq!(scene.process("gate"), Some(second), "repaired in place");
    }
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN);
    scene.end(&answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_crashes_for_long_does_not_make_the_wait_long() {
    crashes_for(Duration::from_secs(15)).await;
}

/// Each gate of a time ends in a crash.
pub(crate) async fn crashes_for(outage: Duration) {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    faulty.inject("sign=segfault");
    let load = scene.load(2);
    load.refused(1).await;
    tokio::time::sleep(outage).await;
    faulty.lift();
    scene.recovers("segfault_outage").await;
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN);
    let log = scene.serving.log();
    scene.end(&answers);
    let waits = log
        .lines()
        .filter_map(|line| line.split_once("\"wait_ms\":")?.1.split(',').next());
    for wait in waits {
        let wait: u64 = wait.trim_matches('"').parse().unwrap();
        assert!(wait <= 2000, "{wait} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signature_is_never_released() {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    let load = scene.load(4);
    load.issued(5).await;
    faulty.inject("sign=wrong_signature");
    load.refused(12).await;
    scene.serves_pages().await;
    faulty.lift();
    scene.recovers("wrong_signature").await;
    load.issued(5).await;
    let answers = load.stop().await;
    // Each certificate that was received is verified by the end of the scene.
    answers.refused_only_with(&[Code::Internal, Code::Unavailable]);
    let home = scene.home;
    scene.end(&answers);
    let rows = home.run(&["log", "list", "--output", "json"]).json_lines();
    assert!(
        rows.iter().any(|row| row["outcome"] == "failed"),
        "recorded as failed"
    );
}

/// What another party does to sessions and login: less often than a request is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_closed_and_logged_out_by_another_party_are_repaired_unseen() {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    let gate = scene.process("gate");
    let load = scene.load(4);
    for (name, fault) in [("session_closed", "close_session"), ("logged_out", "logout")] {
        for round in 0..5 {
            load.issued(5).await;
            // Another text counts anew.
            faulty.inject(&format!("sign_init={fault} count:2\nround={round}"));
            load.issued(10).await;
        }
        scene.recovers(name).await;
    }
    assert_eq!(scene.process("gate"), gate, "repaired in place");
    let answers = load.stop().await;
    assert!(answers.refused.is_empty(), "{:?}", answers.refused);
    scene.end(&answers);
}

/// How often a gate was started, by the supervisor's log.
fn starts(log: &str) -> usize {
    let started =
        |line: &&str| line.contains("\"message\":\"started\"") && line.contains("\"name\":\"gate\"");
    log.lines().filter(started).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_the_token_refuses_at_the_start_is_tried_once() {
    for (fault, said) in [
        ("pin_incorrect", "incorrect"),
        ("pin_locked", "locked"),
        ("pin_expired", "expired"),
    ] {
        let faulty = Faulty::new();
        let marker = faulty.home.file("gate/pin-refused");
        faulty.inject(&format!("login={fault}"));
        let serving = faulty.home.serve();
        let reasons = serving.wait_until(503, "PIN").await;
        assert!(reasons.contains(said), "{fault}: {reasons}");
        assert!(marker.exists(), "{fault}");
        assert_eq!(serving.page("/livez").await.0, 200);
        let log = serving.log();
        assert_eq!(starts(&log), 1, "started once: {log}");
        assert!(
            log.contains("\"restarts\":false") && log.contains("code 7"),
            "{log}"
        );
        faulty.lift();
        assert_eq!(faulty.home.run(&["gate", "reset-pin"]).code, 0);
        let scene = Scene::new(&faulty.home, serving).await;
        scene.serving.signal(Signal::HUP);
        scene.recovers(fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_lost_and_refused_ends_the_gate_for_good() {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    let load = scene.load(2);
    load.issued(5).await;
    faulty.inject("login=pin_locked\nsign_init=logout count:1");
    load.refused(10).await;
    scene.serving.wait_until(503, "locked").await;
    scene.serves_pages().await;
    assert!(faulty.home.file("gate/pin-refused").exists());
    let before = starts(&scene.serving.log());
    load.refused(50).await;
    assert_eq!(starts(&scene.serving.log()), before, "nobody starts it again");
    assert!(scene.process("gate").is_none());
    faulty.lift();
    assert_eq!(faulty.home.run(&["gate", "reset-pin"]).code, 0);
    scene.serving.signal(Signal::HUP);
    scene.recovers("login_locked_while_serving").await;
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN);
    scene.end(&answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_folder_that_is_moved_away_and_back() {
    let faulty = Faulty::new();
    // Else the gate puts the copy in the place of what is missing, which is another test.
    rename(&faulty.home, "token.copy", "copy.away");
    let scene = faulty.start().await;
    let load = scene.load(4);
    load.issued(5).await;
    rename(&faulty.home, "token", "token.away");
    load.refused(20).await;
    scene.serves_pages().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // A gate that is started meanwhile may have made the folder.
    fs::remove_dir(faulty.home.file("token")).ok();
    rename(&faulty.home, "token.away", "token");
    scene.recovers("token_moved_away_and_back").await;
    load.issued(5).await;
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN);
    scene.end(&answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_appears_after_the_start() {
    let home = Home::new();
    rename(&home, "token.copy", "copy.away");
    rename(&home, "token", "token.away");
    fs::create_dir(home.file("token")).unwrap();
    let serving = home.serve();
    serving.wait_until(503, "token").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(2);
    load.refused(10).await;
    scene.serves_pages().await;
    assert!(!home.run(&["log", "list", "--output", "json"]).stdout.is_empty());
    fs::remove_dir(home.file("token")).unwrap();
    rename(&home, "token.away", "token");
    scene.recovers("token_appears").await;
    let answers = {
        load.issued(5).await;
        load.stop().await
    };
    answers.refused_only_with(&AGAIN);
    scene.end(&answers);
}

/// A gate of its own, as with a named socket; ended by its id when it is dropped.
struct Gate(Child);

impl Gate {
    fn start(home: &Home, log: &fs::File) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary());
        command.args(["gate", "--config"]).arg(home.config());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(log.try_clone().unwrap()).spawn().unwrap())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_killed_again_and_again_while_it_starts() {
    kill_in_start(20).await;
}

/// With a socket by name, where nobody waits between two starts of a gate.
pub(crate) async fn kill_in_start(kills: u64) {
    let home = Home::new();
    let log = fs::File::create(home.file("gate.log")).unwrap();
    let user = rustix::process::geteuid().as_raw();
    home.replace(
        "[gate]\n",
        &format!(
            "[gate]\nsocket = {:?}\npeers = [{{ uid = {user}, roles = [\"issue\", \"read\"] }}]\n",
            home.file("run/gate.sock")
        ),
    );
    let mut gate = Gate::start(&home, &log);
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(2);
    load.issued(5).await;
    for round in 0..kills {
        drop(gate);
        gate = Gate::start(&home, &log);
        // From the first instruction to well after the login.
        tokio::time::sleep(Duration::from_millis(round * 37 % 300)).await;
    }
    scene.recovers("gate_killed_in_start").await;
    // What a kill in the midst of a login leaves, should none of them have met one.
    drop(gate);
    destroy_token(&home);
    let since = Instant::now();
    let gate = Gate::start(&home, &log);
    scene.recovers_since("token_file_destroyed", since).await;
    load.issued(5).await;
    scene.serves_pages().await;
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN);
    drop(gate);
    scene.end(&answers);
    let said = fs::read_to_string(home.file("gate.log")).unwrap();
    assert!(said.contains("put back from their copy"), "{said}");
}

/// Cuts SoftHSM's file of the token short, which it rewrites in place at each login.
fn destroy_token(home: &Home) {
    let token = fs::read_dir(home.file("token")).unwrap().next().unwrap();
    let file = token.unwrap().path().join("token.object");
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(20)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_killed_under_load() {
    let home = Home::new();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    for _ in 0..2 {
        load.issued(10).await;
        let front = scene.process("front").unwrap();
        let since = Instant::now();
        signal(front.0, Signal::KILL);
        scene.another("front", front);
        scene.recovers_since("front_killed", since).await;
    }
    load.issued(5).await;
    let answers = load.stop().await;
    scene.end(&answers);
}

/// A request that was accepted is answered; one that comes later finds no listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_under_load_answers_every_accepted_request() {
    let faulty = Faulty::new();
    let scene = faulty.start().await;
    // Slow enough that requests are in work when the signal comes.
    faulty.inject("sign=sleep:100");
    let load = scene.load(12);
    load.issued(4).await;
    let since = Instant::now();
    scene.serving.signal(Signal::TERM);
    let all = sealwright_tests::Process::all_of(scene.serving.pid());
    let ended = within(|| all[1..].iter().all(|process| !process.runs()).then_some(()));
    assert!(ended.is_some(), "{}", scene.serving.log());
    report("end_under_load", since.elapsed());
    let answers = load.stop().await;
    // The client's own words for a request that it never sent; anything else was a lost request.
    for refused in &answers.refused {
        let unsent = match refused {
            (Code::Unavailable, message) => message.contains("tcp connect error"),
            (Code::Cancelled, message) => message.contains("operation was canceled"),
            _ => false,
        };
        assert!(unsent, "{refused:?}");
    }
    let home = scene.home;
    scene.end(&answers);
    let rows = home.run(&["log", "list", "--output", "json"]).json_lines();
    for row in &rows {
        assert_ne!(row["outcome"], "pending", "{row}");
    }
    let issued = rows
        .iter()
        .filter(|row| row["identity"] == sealwright_tests::fault::WEB);
    assert_eq!(
        issued.count(),
        answers.issued.len(),
        "each that was made was received"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signer_disturbs_nobody_and_a_killed_gate_comes_back() {
    let home = Home::new();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(2);
    load.issued(5).await;
    for _ in 0..3 {
        let refused = home.refused();
        assert_eq!(refused.code, 7, "{}", refused.stderr);
        assert!(refused.stderr.contains("held by another running signer"));
    }
    load.issued(5).await;
    assert_eq!(load.counts().1, 0, "nobody else noticed");

    let gate = scene.process("gate").unwrap();
    let since = Instant::now();
    signal(gate.0, Signal::KILL);
    scene.another("gate", gate);
    scene.recovers_since("gate_killed", since).await;
    let answers = load.stop().await;
    scene.end(&answers);
}
