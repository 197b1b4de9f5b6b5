//! What separates the processes of a signer, as the system shows it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use sealwright_tests::{Client, Csr, Home, Process, command::binary, dev_token};

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A home, and the program, where every user can reach them.
fn open_home() -> (Home, PathBuf) {
    let home = Home::new();
    let folder = home.path().parent().unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("sealwright");
    fs::copy(binary(), &program).unwrap();
    (home, program)
}

/// Supervisor, gate and front.
fn processes(supervisor: u32) -> [Process; 3] {
    let all = Process::all_of(supervisor);
    let role = |role: &str| *all.iter().find(|process| process.role() == role).unwrap();
    [role("serve"), role("gate"), role("front")]
}

async fn signs(home: &Home, server: &str) {
    let token = dev_token(home.path(), "default", "web");
    let client = Client::connect_to(server, &home.file("roots.pem")).await;
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web");
    client.create(&token, &csr.pem, 60).await.unwrap();
}

#[tokio::test]
async fn as_root_the_front_is_another_user() {
    if !is_root() {
        return;
    }
    let (home, program) = open_home();
    let serving = home.serve_as(&[], &program, &[], &[]);
    serving.wait_until(200, "").await;
    signs(&home, serving.grpc()).await;
    let [supervisor, gate, front] = processes(serving.pid());
    assert_eq!((supervisor.user(), gate.user(), front.user()), (0, 0, NOBODY));
    let groups = front.status("Groups").unwrap();
    assert!(!groups.split_whitespace().any(|group| group == "0"), "{groups}");
    for capabilities in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        let held = front.status(capabilities).unwrap();
        assert!(held.bytes().all(|digit| digit == b'0'), "{capabilities}: {held}");
    }
    // What the front's user cannot read, nor list.
    for name in [
        "pin",
        "so-pin",
        "jwt-issuer.key",
        "gate/ledger.db",
        "token",
        "token.copy",
    ] {
        assert!(!readable_by_nobody(&home.file(name)), "{name}");
    }
    assert!(readable_by_nobody(&home.file("roots.pem")));
    assert_eq!(serving.stop(), 0);
}

fn readable_by_nobody(path: &Path) -> bool {
    let (flag, program) = if path.is_dir() {
        ("-a", "ls")
    } else {
        ("--", "cat")
    };
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            program,
            flag,
        ])
        .arg(path)
        .output()
        .unwrap();
    output.status.success()
}

#[tokio::test]
async fn landlock_alone_signs_too() {
    let (home, program) = open_home();
    home.replace("[gate]\n", "[gate]\nboundary = \"landlock\"\n");
    let (code, items) = home.check();
    if code != 0 {
        // A kernel without: said, and nothing is started.
        assert!(
            items
                .iter()
                .any(|item| item["check"] == "boundary" && item["state"] == "failed"),
            "{items:?}"
        );
        assert_eq!(home.refused().code, 2);
        return;
    }
    let serving = home.serve_as(&[], &program, &[], &[]);
    serving.wait_until(200, "").await;
    signs(&home, serving.grpc()).await;
    let [_, gate, front] = processes(serving.pid());
    assert_eq!(gate.user(), front.user());
    assert!(
        serving.log().contains("Landlock on the front"),
        "{}",
        serving.log()
    );
    assert_eq!(front.status("NoNewPrivs").unwrap(), "1");
}

#[tokio::test]
async fn no_boundary_is_said_at_the_start_and_by_a_check() {
    const SAID: &str = "one user, not a boundary against a taken-over front";
    let home = Home::new();
    home.without_grants();
    home.replace("[gate]\n", "[gate]\nboundary = \"none\"\n");
    let (code, items) = home.check();
    assert_eq!(code, 0, "{items:?}");
    let boundary = items.iter().find(|item| item["check"] == "boundary").unwrap();
    assert_eq!(boundary["state"], "warning");
    assert!(boundary["found"].as_str().unwrap().contains(SAID), "{boundary}");
    let serving = home.serve();
    let log = serving.log();
    let line = log.lines().find(|line| line.contains(SAID)).unwrap();
    assert!(line.contains("\"WARN\""), "{line}");
}

#[test]
fn two_users_that_do_not_work_are_no_start() {
    let home = Home::new();
    home.without_grants();
    home.replace(
        "[gate]\n",
        "[gate]\nboundary = \"users\"\nfront_user = \"no-such-user\"\n",
    );
    let outcome = home.refused();
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("gate.boundary"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("listen"), "{}", outcome.stderr);
}

#[tokio::test]
async fn no_process_shows_the_pin() {
    let (home, program) = open_home();
    home.without_grants();
    let secrets = ["pin", "so-pin"].map(|name| fs::read_to_string(home.file(name)).unwrap());
    let variables = [("LEAKED", "1"), ("SOFTHSM2_CONF", "/nowhere")];
    let serving = home.serve_as(&[], &program, &[], &variables);
    serving.wait_until(200, "").await;
    let [_, gate, front] = processes(serving.pid());
    for process in processes(serving.pid()) {
        let line = process.file("cmdline").unwrap();
        assert!(secrets.iter().all(|secret| !line.contains(secret)), "{line}");
    }
    // Who may not read it, which is as good, sees nothing here.
    for process in [gate, front] {
        let environment = process.file("environ").unwrap_or_default();
        assert!(
            secrets.iter().all(|secret| !environment.contains(secret)),
            "{}",
            process.role()
        );
    }
    let environment = gate.file("environ").unwrap_or_default();
    for variable in environment.split('\0').filter(|variable| !variable.is_empty()) {
        let known = variable == "SOFTHSM2_CONF=softhsm2.conf" || variable.starts_with("SEALWRIGHT__");
        assert!(known, "only [gate.env] and what is over the file: {variable}");
    }
    assert!(secrets.iter().all(|secret| !serving.log().contains(secret)));
}

#[tokio::test]
async fn no_process_can_be_dumped_or_gain_privileges() {
    let (home, program) = open_home();
    // As root everything is root's, whatever it says: so as nobody.
    let options: &[&str] = if is_root() {
        let everything = home.path();
        let status = Command::new("chown")
            .args(["-R", "65534:65534"])
            .arg(everything)
            .status()
            .unwrap();
        assert!(status.success());
        &["--reuid", "65534", "--regid", "65534", "--clear-groups"]
    } else {
        &[]
    };
    let serving = home.serve_as(options, &program, &[], &[]);
    serving.wait_until(200, "").await;
    signs(&home, serving.grpc()).await;
    for process in processes(serving.pid()) {
        let role = process.role();
        assert_ne!(process.user(), 0, "{role}");
        assert_eq!(process.owner_of_memory(), 0, "{role} can be dumped");
        assert_eq!(process.status("NoNewPrivs").unwrap(), "1", "{role}");
        let limits = process.file("limits").unwrap_or_default();
        if let Some(core) = limits.lines().find(|line| line.starts_with("Max core file size")) {
            assert_eq!(core.split_whitespace().rev().nth(1), Some("0"), "{role}: {core}");
        }
    }
    assert_eq!(serving.stop(), 0);
}
