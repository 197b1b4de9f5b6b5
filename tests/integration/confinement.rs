//! What a hostile PKCS#11 module can do from inside the gate, tried by one, and that honest ones go on.

use std::{collections::BTreeMap, fs};

use sealwright_tests::{
    Home, Process, Serving,
    fault::{Faulty, Scene},
    within,
};

const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// What may never work in a confined gate.
const REFUSED: [&str; 13] = [
    "execve",
    "fork",
    "socket_inet",
    "socket_inet6",
    "socket_vsock",
    "ptrace",
    "process_vm_readv",
    "kill_parent",
    "unshare",
    "bpf",
    "keyctl",
    "perf_event_open",
    "io_uring_setup",
];

fn process(serving: &Serving, role: &str) -> Process {
    let all = Process::all_of(serving.pid());
    *all.iter().find(|process| process.role() == role).unwrap()
}

fn home(confinement: &str) -> Faulty {
    let faulty = Faulty::new();
    faulty
        .home
        .append(&format!("[gate.confinement]\n{confinement}\n"));
    faulty
}

/// The errno of each attempt of a module that is asked for a signature, which it makes as well.
async fn probe(faulty: &Faulty, scene: &Scene<'_>) -> BTreeMap<String, i32> {
    let report = faulty.home.file("gate/probe");
    faulty.inject(&format!("sign=probe:{} count:1", report.display()));
    scene.ask().await.unwrap();
    let text = within(|| fs::read_to_string(&report).ok())
        .unwrap_or_else(|| panic!("no report:\n{}", scene.serving.log()));
    faulty.lift();
    let line = |line: &str| {
        let (name, errno) = line.split_once('=').unwrap();
        (name.to_owned(), errno.parse().unwrap())
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn a_hostile_module_is_refused_what_the_gate_gave_up() {
    let faulty = home("");
    let scene = faulty.start().await;
    let found = probe(&faulty, &scene).await;
    for name in REFUSED {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
    assert_eq!(found["userfaultfd"], EPERM);
    assert_eq!(
        found["write_outside"], EACCES,
        "SoftHSM's folder is known: {found:?}"
    );
    for name in ["thread", "socket_unix", "read_outside"] {
        assert_eq!(found[name], 0, "{name}: {found:?}");
    }
    let gate = process(&scene.serving, "gate");
    // DAC_OVERRIDE and IPC_LOCK, where it had them.
    let held = u64::from_str_radix(&gate.status("CapPrm").unwrap(), 16).unwrap();
    assert_eq!(held & !(1 << 1 | 1 << 14), 0, "{held:x}");
    assert_eq!(gate.status("NoNewPrivs").unwrap(), "1");
    assert_eq!(gate.status("Seccomp").unwrap(), "2");
    assert_eq!(process(&scene.serving, "front").status("Seccomp").unwrap(), "2");
    let log = scene.serving.log();
    let said = log
        .lines()
        .find(|line| line.contains("the gate is confined"))
        .unwrap();
    assert!(said.contains("no network"), "{said}");
}

#[tokio::test]
async fn the_strictest_setting_signs_and_reads_only_what_is_listed() {
    let faulty = home("mode = \"strict\"");
    let (code, items) = faulty.home.check();
    assert_eq!(code, 0, "{items:?}");
    let item = items.iter().find(|item| item["check"] == "confinement").unwrap();
    assert!(
        item["found"].as_str().unwrap().contains("reads listed files"),
        "{item}"
    );
    let scene = faulty.start().await;
    let found = probe(&faulty, &scene).await;
    for name in REFUSED {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
    assert_eq!(
        (found["read_outside"], found["write_outside"]),
        (EACCES, EACCES),
        "{found:?}"
    );
    // A reload reads chains and policies again, behind Landlock; then it still signs.
    scene.serving.signal(rustix::process::Signal::HUP);
    let read_again = || {
        let log = scene.serving.log();
        log.contains("issuers and policies were read again").then_some(())
    };
    within(read_again).unwrap_or_else(|| panic!("{}", scene.serving.log()));
    scene.ask().await.unwrap();
}

#[tokio::test]
async fn what_a_module_needs_can_be_given_back() {
    let faulty = home("network = true\nprocesses = true\nwrite = [\"/tmp\"]");
    let scene = faulty.start().await;
    let found = probe(&faulty, &scene).await;
    for name in ["execve", "fork", "socket_inet", "write_outside"] {
        assert_eq!(found[name], 0, "{name}: {found:?}");
    }
    for name in [
        "ptrace",
        "process_vm_readv",
        "kill_parent",
        "unshare",
        "bpf",
        "socket_vsock",
    ] {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
}

#[tokio::test]
async fn off_takes_nothing_and_says_so() {
    let faulty = home("mode = \"off\"");
    let (code, items) = faulty.home.check();
    assert_eq!(code, 0, "{items:?}");
    let item = items.iter().find(|item| item["check"] == "confinement").unwrap();
    assert_eq!(item["state"], "warning", "{item}");
    let scene = faulty.start().await;
    let found = probe(&faulty, &scene).await;
    for name in ["execve", "fork", "socket_inet", "write_outside", "read_outside"] {
        assert_eq!(found[name], 0, "{name}: {found:?}");
    }
}

#[tokio::test]
async fn a_module_that_misses_something_is_told_what_holds() {
    let home = Home::new();
    home.append("[gate.confinement]\nmode = \"strict\"");
    // The linker does not look where SoftHSM is.
    home.replace("/usr/lib/softhsm/libsofthsm2.so", "libsofthsm2.so");
    let outcome = home.refused();
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("gate.confinement") && outcome.stderr.contains("reads listed files"),
        "{}",
        outcome.stderr
    );
}
