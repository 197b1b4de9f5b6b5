//! The ledger's database: locked by somebody else, read-only, on a full disk. Nothing is signed that is not recorded, it
//! is said why, and it passes with its cause.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use sealwright_tests::{
    Home,
    fault::{Answers, Scene},
    signer::signal,
    within,
};
use sqlx::{Connection as _, SqliteConnection};

use super::AGAIN;

/// What a command says that does not work on this machine, with what is then not tried.
#[allow(clippy::print_stdout, reason = "whoever reads the output shall know")]
fn skip(why: &str) {
    println!("skipped: {why}");
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Takes the database as a program does that another one has to wait for.
async fn locked(home: &Home) -> SqliteConnection {
    let url = format!("sqlite://{}", home.file("gate/ledger.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    // The gate may be writing at this moment.
    sqlx::raw_sql("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE")
        .execute(&mut other)
        .await
        .unwrap();
    other
}

/// No decision waits for ever for its certificate.
fn nothing_is_open(home: &Home) {
    let rows = home.run(&["log", "list", "--output", "json"]);
    for row in rows.json_lines() {
        assert_ne!(row["outcome"], "pending", "{row}");
    }
}

async fn ends(scene: Scene<'_>, answers: Answers) {
    answers.refused_only_with(&AGAIN);
    let home = scene.home;
    scene.end(&answers);
    nothing_is_open(home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_locked() {
    let home = Home::new();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let gate = scene.process("gate");
    let load = scene.load(4);
    for _ in 0..2 {
        load.issued(5).await;
        let other = locked(&home).await;
        load.refused(8).await;
        let reason = scene.serving.wait_until(503, "ledger").await;
        assert!(reason.contains("locked"), "{reason}");
        scene.serves_pages().await;
        other.close().await.unwrap();
        scene.recovers("database_locked").await;
        scene.serving.wait_until(200, "").await;
    }
    assert_eq!(scene.process("gate"), gate, "repaired in place");
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_locked_at_the_start() {
    let home = Home::new();
    let other = locked(&home).await;
    let serving = home.serve();
    let reason = serving.wait_until(503, "ledger").await;
    assert!(reason.contains("locked"), "{reason}");
    let scene = Scene::new(&home, serving).await;
    let gate = scene.process("gate");
    let load = scene.load(2);
    load.refused(10).await;
    scene.serves_pages().await;
    other.close().await.unwrap();
    scene.recovers("database_locked_at_start").await;
    assert_eq!(scene.process("gate"), gate, "one gate waits");
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
}

/// Files that not even root can write, until it is dropped.
struct Immutable(Vec<PathBuf>);

impl Immutable {
    fn new(files: Vec<PathBuf>) -> Option<Self> {
        let immutable = Self(files);
        immutable.set("+i").then_some(immutable)
    }

    fn set(&self, flag: &str) -> bool {
        works(Command::new("chattr").arg(flag).args(&self.0))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.set("-i");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_becomes_read_only() {
    let home = Home::new();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    load.issued(5).await;
    let files = ["gate/ledger.db", "gate/ledger.db-wal", "gate"];
    let Some(immutable) = Immutable::new(files.map(|name| home.file(name)).to_vec()) else {
        return skip("a file becomes read-only: chattr +i does not work here");
    };
    load.refused(20).await;
    // The next gate says it, after the one that ended.
    scene.serving.wait_until(503, "not permitted").await;
    scene.serves_pages().await;
    drop(immutable);
    scene.recovers("database_read_only").await;
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
}

/// A small disk of its own in the place of a home's folder, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn under(folder: PathBuf, megabytes: usize) -> Option<Self> {
        let away = folder.with_extension("away");
        fs::rename(&folder, &away).unwrap();
        fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("mode=0700,size={megabytes}m"),
            "tmpfs",
        ]);
        if !works(mount.arg(&folder)) {
            return None;
        }
        let disk = Self(folder);
        let mut copy = Command::new("cp");
        assert!(works(copy.arg("-a").arg(away.join(".")).arg(&disk.0)));
        Some(disk)
    }

    /// Mounts it again. It is busy for as long as a killed process's last threads hold its files, which is a
    /// moment longer than `/proc` shows the process as running.
    fn again(&self, how: &str) {
        let mut last = None;
        let mounted = within(|| {
            let mut mount = Command::new("mount");
            mount.args(["-o", &format!("remount,{how}")]).arg(&self.0);
            let output = mount.output().unwrap();
            let mounted = output.status.success().then_some(());
            last = Some(output);
            mounted
        });
        assert!(mounted.is_some(), "{last:?}");
    }

    /// Writes until there is no room.
    fn fill(&self) -> PathBuf {
        let file = self.0.join("filler");
        let error = write_until(&file, usize::MAX).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        works(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// Writes so many pages to a file.
fn write_until(file: &Path, pages: usize) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
    (0..pages).try_for_each(|_| file.write_all(&[0; 4096]))
}

const NO_MOUNT: &str = "a full or read-only disk: this user may not mount a tmpfs";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_read_only_when_a_gate_starts() {
    let home = Home::new();
    let Some(disk) = Disk::under(home.file("gate"), 64) else {
        return skip(NO_MOUNT);
    };
    home.replace("[gate]\n", "[gate]\ndisk_reserve_bytes = 1000000\n");
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(2);
    load.issued(5).await;
    // A file that is open for writing keeps a disk from becoming read-only, so no gate may run meanwhile.
    let gate = scene.process("gate").unwrap();
    scene.serving.signal(Signal::STOP);
    signal(gate.0, Signal::KILL);
    within(|| (!gate.runs()).then_some(())).unwrap();
    disk.again("ro");
    scene.serving.signal(Signal::CONT);
    let reason = scene.serving.wait_until(503, "ledger").await;
    assert!(reason.contains("Read-only"), "{reason}");
    load.refused(10).await;
    scene.serves_pages().await;
    disk.again("rw");
    scene.recovers("disk_read_only").await;
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full() {
    let home = Home::new();
    let Some(disk) = Disk::under(home.file("gate"), 32) else {
        return skip(NO_MOUNT);
    };
    home.replace("[gate]\n", "[gate]\ndisk_reserve_bytes = 0\n");
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    load.issued(5).await;
    let gate = scene.process("gate").unwrap();
    let filler = disk.fill();
    load.refused(20).await;
    let reason = scene.serving.wait_until(503, "ledger").await;
    assert!(reason.contains("full"), "{reason}");
    scene.serves_pages().await;
    fs::remove_file(filler).unwrap();
    scene.recovers("disk_full").await;
    load.issued(5).await;
    assert_eq!(scene.process("gate"), Some(gate), "repaired in place");

    let filler = disk.fill();
    load.refused(20).await;
    let gate = scene.process("gate").unwrap();
    signal(gate.0, Signal::KILL);
    scene.another("gate", gate);
    scene.serving.wait_until(503, "ledger").await;
    load.refused(20).await;
    fs::remove_file(filler).unwrap();
    scene.recovers("disk_full_and_gate_killed").await;
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
    drop(disk);
}

/// With the reserve as it is by default the disk is never full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_nearly_full() {
    let home = Home::new();
    let Some(disk) = Disk::under(home.file("gate"), 96) else {
        return skip(NO_MOUNT);
    };
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load(4);
    load.issued(5).await;
    let filler = disk.0.join("filler");
    write_until(&filler, 40 * 256).unwrap();
    load.refused(10).await;
    let reason = scene.serving.wait_until(503, "ledger").await;
    assert!(reason.contains("kept in reserve"), "{reason}");
    // A new gate is started with as little room.
    let gate = scene.process("gate").unwrap();
    signal(gate.0, Signal::KILL);
    scene.another("gate", gate);
    load.refused(10).await;
    fs::remove_file(filler).unwrap();
    scene.recovers("disk_reserve").await;
    load.issued(5).await;
    let answers = load.stop().await;
    ends(scene, answers).await;
    drop(disk);
}
