//! Figures of the write side alone: `cargo run --release -p sealwright-ledger --example load`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a tool for measurements"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/ledger/support.rs"]
mod support;

use std::{fs, time::Duration};

use support::{Home, certificate, config, decision};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "in flight  certificates/s  cpu us/certificate  us/certificate  records/sync  bytes/certificate"
    );
    for in_flight in [1u64, 16, 64] {
        let home = Home::new();
        let ledger = home.open_with(config()).await;
        let each = if in_flight == 1 { 500 } else { 8000 / in_flight };
        let (started, cpu) = (tokio::time::Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for lane in 0..in_flight {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                let mut entry = decision(lane);
                entry.evidence = vec![7; 1600];
                for number in 0..each {
                    entry.serial = Some(support::serial(lane * 1_000_000 + number));
                    let appended = ledger.append(&entry).await.unwrap();
                    ledger
                        .complete(&certificate(appended.sequence, &entry))
                        .await
                        .unwrap();
                }
            });
        }
        tasks.join_all().await;
        let (took, cpu) = (started.elapsed(), self::cpu() - cpu);
        let certificates = each * in_flight;
        let stats = ledger.stats();
        ledger.close().await;
        let bytes = fs::metadata(home.path()).unwrap().len();
        println!(
            "{in_flight:9}  {:14.0}  {:18.1}  {:14.1}  {:12.1}  {:17}",
            per_second(certificates, took),
            cpu.as_secs_f64() * 1e6 / count(certificates),
            took.as_secs_f64() * 1e6 / count(certificates),
            count(stats.records) / count(stats.commits),
            bytes / certificates,
        );
    }
}

fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn per_second(number: u64, took: Duration) -> f64 {
    count(number) / took.as_secs_f64()
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}
