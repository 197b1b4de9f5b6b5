//! A writer that is killed in the midst of its work.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use sealwright_identity::{Clock as _, SystemClock, Timestamp};
use sealwright_ledger::{Error, Filter, Ledger, LedgerConfig, LedgerReader, Outcome, PruneWish};

use crate::{
    prune::{MINUTE, export, plan, ten_minutes},
    support::{Home, certificate, config, decision, verify},
};

const FOLDER: &str = "SEALWRIGHT_TEST_LEDGER";

/// Not a test of its own: the process that [`a_killed_writer_loses_nothing_it_answered`] kills.
#[test]
#[ignore = "started by another test"]
fn victim() {
    in_child(async |ledger| {
        let begin = ledger.reader().head().await.unwrap().sequence * 1000;
        ledger.mark_unreleased().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..8 {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                for number in 0.. {
                    let entry = decision(begin + number * 8 + lane);
                    let appended = ledger.append(&entry).await.unwrap();
                    println!("\nD {} {}", appended.sequence, appended.hash);
                    let completed = ledger
                        .complete(&certificate(appended.sequence, &entry))
                        .await
                        .unwrap();
                    println!("\nC {} {}", completed.sequence, completed.hash);
                }
            });
        }
        tasks.join_all().await;
    });
}

/// Not a test of its own: the process of [`large_batches_open_no_file`], which may open none.
#[test]
#[ignore = "started by another test"]
fn writes_without_opening() {
    in_child(async |ledger| {
        // What is opened once is open, each cache that there is has been filled.
        ledger.append(&decision(0)).await.unwrap();
        let limit = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        std::fs::File::open("/proc/self/stat").unwrap_err();
        for round in 0..8 {
            let mut tasks = tokio::task::JoinSet::new();
            for lane in 0..512 {
                let ledger = ledger.clone();
                tasks.spawn(async move {
                    let mut entry = decision(1 + round * 512 + lane);
                    entry.evidence = vec![7; 24 * 1024];
                    ledger.append(&entry).await.unwrap();
                });
            }
            tasks.join_all().await;
        }
    });
}

#[test]
fn large_batches_open_no_file() {
    let home = Home::new();
    assert!(
        child(&home, "crash::writes_without_opening")
            .status()
            .unwrap()
            .success()
    );
}

/// Not a test of its own: the process that [`a_killed_pruning_is_done_again`] kills. It says each step that it has done,
/// and waits for a line before the next.
#[test]
#[ignore = "started by another test"]
fn prunes() {
    in_child(async |ledger| {
        let folder = ledger.path().parent().unwrap();
        let whole = [folder.join("whole.jsonl")];
        let wish = PruneWish {
            before: std::env::var("SEALWRIGHT_TEST_BEFORE").unwrap().parse().unwrap(),
            now: SystemClock.now(),
            counted_after: None,
            exports: &whole,
            by: "victim".into(),
            valid_until: &|_tbs| Some(Timestamp::from_micros(0)),
        };
        let plan = ledger.reader().plan_pruning(&wish, &mut |_| {}).await.unwrap();
        let mut step = |_| {
            println!("\nSTEP");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        };
        ledger.prune(plan, &mut step).await.unwrap();
    });
}

#[tokio::test]
async fn a_killed_pruning_is_done_again() {
    let home = Home::new();
    let begin = ten_minutes(&home, 0).await;
    let whole = [export(&home, "whole.jsonl", None, None).await];
    let before = begin.saturating_add(MINUTE * 6);
    // The record is the first step of the first run; 18 entries go by two, so nine batches follow it. Each run is killed
    // after so many steps, perhaps in the midst of the next; batches are left for a last one.
    for steps in [1, 2, 1, 1] {
        let mut child = child(&home, "crash::prunes")
            .env("SEALWRIGHT_TEST_BEFORE", before.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut go_on = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..steps {
            while lines.next().unwrap().unwrap() != "STEP" {}
            go_on.write_all(b"\n").unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let report = verify(&home.path()).await;
        assert!(report.is_sound(), "{:?}", report.findings);
        assert!(report.pruned.is_some());
    }
    let plan = plan(&home, before, &whole).await.unwrap();
    assert!(plan.entry().is_none() && plan.leftover() > 0, "{plan:?}");
    let ledger = home.open().await;
    ledger.prune(plan, &mut |_| {}).await.unwrap();
    ledger.close().await;
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.pruned.map(|of| (of.serials, of.leftover)), Some((6, 0)));
}

/// Runs the part of a process of its own, on the ledger that its parent named; nothing in any other.
fn in_child(part: impl AsyncFnOnce(Ledger)) {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = LedgerConfig {
            prune_batch: 2,
            ..config()
        };
        let ledger = Ledger::open(path.as_ref(), config, Arc::new(SystemClock))
            .await
            .unwrap();
        part(ledger).await;
    });
}

/// This binary again, for one of the tests that are not tests.
fn child(home: &Home, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, home.path());
    command
}

fn spawn(home: &Home) -> (Child, BufReader<ChildStdout>) {
    let mut child = child(home, "crash::victim")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The sequence and hash of an answer.
fn answer(line: &str) -> Option<(u64, String)> {
    let mut words = line.split(' ');
    if !matches!(words.next(), Some("D" | "C")) {
        return None;
    }
    let sequence = words.next()?.parse().ok()?;
    Some((sequence, words.next()?.to_owned()))
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_it_answered() {
    let home = Home::new();
    let mut answered: Vec<(u64, String)> = Vec::new();
    for round in 0..4u32 {
        let (mut child, output) = spawn(&home);
        let wanted = answered.len() + 60 + 37 * usize::try_from(round).unwrap();
        let mut lines = output.lines();
        while answered.len() < wanted {
            let line = lines.next().unwrap().unwrap();
            answered.extend(answer(&line));
        }
        if round == 0 {
            read_beside(&home, child.id()).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was answered before the kill and not yet read. The last line may be cut short.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let whole = rest.iter().filter(|line| line.len() > 64);
        answered.extend(
            whole
                .filter_map(|line| answer(line))
                .filter(|(_, hash)| hash.len() == 71),
        );

        let report = verify(&home.path()).await;
        assert!(report.is_sound(), "{:?}", report.findings);
        let reader = LedgerReader::open(&home.path()).await.unwrap();
        for (sequence, hash) in &answered {
            let entry = reader.entry(*sequence).await.unwrap().unwrap();
            assert_eq!(entry.hash.to_string(), *hash, "entry {sequence}");
        }
        reader.close().await;
    }
    let ledger = home.open().await;
    ledger.mark_unreleased().await.unwrap();
    let mut rows = 0;
    let each = |row: sealwright_ledger::Row| {
        rows += 1;
        assert!(matches!(
            row.outcome,
            Outcome::Issued | Outcome::Unreleased | Outcome::Failed
        ));
        Ok(())
    };
    ledger.reader().list_all(&Filter::default(), each).await.unwrap();
    assert!(rows > 100);
}

/// While another process writes: reads work, the chain is sound, and a second writer is told who holds it.
async fn read_beside(home: &Home, pid: u32) {
    let reader = LedgerReader::open(&home.path()).await.unwrap();
    assert!(
        !reader
            .list(&Filter {
                limit: Some(5),
                ..Filter::default()
            })
            .await
            .unwrap()
            .is_empty()
    );
    let report = reader.verify(&mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    reader.close().await;
    let error = Ledger::open(&home.path(), config(), Arc::new(SystemClock))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Held { pid: Some(holder), .. } if holder == pid),
        "{error}"
    );
}
