//! Faults of every kind in an order that nobody chose, under load, for some minutes. The front lives through all of it,
//! and neither its memory nor its descriptors may grow.

use std::{fs, time::Duration};

use rustix::process::Signal;
use sealwright_tests::{
    Process,
    fault::{Faulty, Scene},
    signer::signal,
};
use tokio::time::Instant;

use super::{Dice, amount, figure};

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(50);

/// What the fault module is told.
const MODULE: [&str; 11] = [
    "sign=general_error",
    "sign=device_removed",
    "sign=segfault",
    "sign=absurd_length",
    "sign=wrong_signature",
    "sign=sleep:1500",
    "sign=hang",
    "sign_init=session_handle_invalid",
    "open_session=device_error\nsign=device_error",
    "sign_init=close_session count:2",
    "sign_init=logout count:2",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn faults_of_every_kind() {
    let faulty = Faulty::new();
    faulty
        .home
        .replace("[gate.token]\n", "[gate.token]\ndeadline = \"1s\"\n");
    let scene = faulty.start().await;
    let front = scene.process("front").unwrap();
    let load = scene.load_with(4, PAUSE);
    let mut dice = Dice::new();
    let end = Instant::now() + Duration::from_secs(60 * amount("SOAK_MINUTES", 10));
    let mut rounds = 0;
    let mut times = Vec::new();
    let mut sizes = Vec::new();
    while Instant::now() < end {
        load.issued(20).await;
        times.push(one_fault(&faulty, &scene, &mut dice).await);
        scene.serves_pages().await;
        load.issued(20).await;
        sizes.push(Size::of(front));
        assert_eq!(scene.process("front"), Some(front), "{}", scene.serving.log());
        rounds += 1;
    }
    let answers = load.stop().await;
    times.sort();
    figure("faults", rounds);
    figure("certificates", answers.issued.len());
    figure("refused", answers.refused.len());
    figure("recovery_median_ms", times[times.len() / 2].as_millis());
    figure("recovery_longest_ms", times[times.len() - 1].as_millis());
    Size::do_not_grow(&sizes);
    scene.end(&answers);
}

/// Lets something break for a while; gives the time from its end to the next certificate.
async fn one_fault(faulty: &Faulty, scene: &Scene<'_>, dice: &mut Dice) -> Duration {
    let length = Duration::from_millis(dice.roll(4000));
    let kinds = u64::try_from(MODULE.len()).unwrap();
    let kind = dice.roll(kinds + 3);
    if let Some(fault) = MODULE.get(usize::try_from(kind).unwrap()) {
        faulty.inject(fault);
        tokio::time::sleep(length).await;
        faulty.lift();
        let name = fault.split_whitespace().next().unwrap();
        return scene.recovers(name).await;
    }
    let gate = scene.process("gate");
    let since = Instant::now();
    match (kind - kinds, gate) {
        (0, Some(Process(pid))) => {
            signal(pid, Signal::KILL);
            scene.recovers_since("gate_killed", since).await
        }
        (1, Some(Process(pid))) => {
            signal(pid, Signal::STOP);
            tokio::time::sleep(length).await;
            signal(pid, Signal::CONT);
            scene.recovers("gate_stopped").await
        }
        _ => {
            scene.serving.signal(Signal::HUP);
            scene.recovers_since("reload", since).await
        }
    }
}

/// What a process holds.
struct Size {
    kilobytes: u64,
    descriptors: usize,
}

impl Size {
    fn of(process: Process) -> Self {
        let resident = process.status("VmRSS").unwrap();
        Self {
            kilobytes: resident.trim_end_matches(" kB").parse().unwrap(),
            descriptors: fs::read_dir(format!("/proc/{}/fd", process.0)).unwrap().count(),
        }
    }

    /// Compares the most of a first part with the most of the last.
    fn do_not_grow(sizes: &[Self]) {
        let part = sizes.len().div_ceil(3);
        let most = |sizes: &[Self]| {
            let kilobytes = sizes.iter().map(|size| size.kilobytes).max().unwrap();
            let descriptors = sizes.iter().map(|size| size.descriptors).max().unwrap();
            (kilobytes, descriptors)
        };
        let (first, last) = (most(&sizes[..part]), most(&sizes[sizes.len() - part..]));
        figure("front_rss_kb", format!("{} then {}", first.0, last.0));
        figure("front_descriptors", format!("{} then {}", first.1, last.1));
        assert!(last.0 < first.0 + first.0 / 4 + 16 * 1024, "memory grows");
        assert!(last.1 <= first.1 + 8, "descriptors are lost");
    }
}
