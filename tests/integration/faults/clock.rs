//! The system's clock set forth and back under a running signer, by `libfaketime`: what is issued then is valid from
//! then, tokens are judged by the new time, and neither the ledger nor any deadline minds.

use std::{fs, path::PathBuf};

use der::Decode as _;
use sealwright_identity::{Clock as _, SystemClock};
use sealwright_tests::{Home, fault::Scene};
use tonic::Code;
use x509_cert::Certificate;

/// An hour, as is asked for.
const LIFETIME: u64 = 3600;
const BACKDATING: u64 = 120;

/// Between two looks at the clock of a busy machine.
const TOLERANCE: u64 = 60;

/// `libfaketime`.
pub(crate) fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let mut places = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    places
        .find(|place| place.is_file())
        .expect("faketime is not installed: make setup")
}

/// The clock of a home's signer, in seconds ahead of this process's.
struct FakeClock {
    /// Every user may read it.
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl FakeClock {
    fn new(ahead: i64) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("clock");
        let clock = Self {
            _folder: folder,
            file,
        };
        clock.set(ahead);
        clock
    }

    fn set(&self, ahead: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{ahead:+}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", library().to_str().unwrap().to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap().to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
        ]
    }
}

fn now() -> u64 {
    u64::try_from(SystemClock.now().unix_seconds()).unwrap()
}

/// From when to when, in seconds since 1970.
fn validity(leaf: &str) -> (u64, u64) {
    let (_, der) = der::pem::decode_vec(leaf.as_bytes()).unwrap();
    let certificate = Certificate::from_der(&der).unwrap();
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    (seconds(validity.not_before), seconds(validity.not_after))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_forth_and_back() {
    // Ahead from the start, so that it can be set back to when the issuer is valid already.
    let clock = FakeClock::new(1800);
    let home = Home::new();
    // Else the front may not read the file with the time in it.
    home.replace("[gate]\n", "[gate]\nboundary = \"none\"\n");
    let variables = clock.variables();
    let env: String = variables
        .iter()
        .map(|(name, value)| format!("{name} = {value:?}\n"))
        .collect();
    home.replace("[gate.env]\n", &format!("[gate.env]\n{env}"));
    home.append(&format!("[server.env]\n{env}"));
    let borrowed: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let serving = home.serve_with(&[], &borrowed);
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let processes = [scene.process("gate"), scene.process("front")];
    let load = scene.load(2);
    load.issued(5).await;
    for ahead in [600, 2700, 0, 1800, 60] {
        clock.set(ahead);
        scene.recovers(&format!("clock_at_{ahead}")).await;
        load.issued(10).await;
        let leaf = scene.ask().await.unwrap().remove(0);
        let (from, to) = validity(&leaf);
        let expected = now() + u64::try_from(ahead).unwrap() - BACKDATING;
        assert!(
            from.abs_diff(expected) < TOLERANCE,
            "{ahead}: {from} and {expected}"
        );
        assert_eq!(to - from, LIFETIME + BACKDATING, "{ahead}");
        assert_eq!(scene.serving.page("/livez").await.0, 200);
    }
    // The client's token has ended by then, and is valid again.
    clock.set(3 * 3600);
    load.refused(5).await;
    clock.set(900);
    scene.recovers("clock_back_before_a_token_ended").await;
    load.issued(5).await;
    scene.serving.wait_until(200, "").await;
    assert_eq!(
        [scene.process("gate"), scene.process("front")],
        processes,
        "nothing ended"
    );
    let answers = load.stop().await;
    // A request between front and gate while the clock jumps has two times; the gate refuses that.
    answers.refused_only_with(&[Code::Unauthenticated, Code::PermissionDenied]);
    let home = scene.home;
    scene.end_at_any_time(&answers);
    let rows = home.run(&["log", "list", "--output", "json"]).json_lines();
    // The list is in the ledger's order, and not in the clock's.
    let times: Vec<_> = rows
        .iter()
        .map(|row| row["recorded_at"].as_str().unwrap())
        .collect();
    assert!(!times.is_sorted(), "the clock was set back");
}
