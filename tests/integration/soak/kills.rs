//! Gate, front or both killed with -9 under load and during their start, in an order that nobody chose.

use std::time::Duration;

use rustix::process::Signal;
use sealwright_tests::{Home, Process, fault::Scene, signer::signal};
use tokio::time::Instant;

use super::{Dice, amount, figure};

/// Roles to kill.
const VICTIMS: [&[&str]; 3] = [&["gate"], &["front"], &["gate", "front"]];

/// Between two requests of one client: a soak is long, and each certificate is kept until its end.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn gate_front_or_both_under_load_and_during_start() {
    let home = Home::new();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let load = scene.load_with(4, PAUSE);
    load.issued(5).await;
    let mut dice = Dice::new();
    let kills = amount("SOAK_KILLS", 200);
    let mut times = Vec::new();
    for round in 0..kills {
        let victims = VICTIMS[usize::try_from(dice.roll(3)).unwrap()];
        let since = Instant::now();
        // Whoever is between two lives now is not killed in this round.
        for Process(pid) in victims.iter().filter_map(|role| scene.process(role)) {
            signal(pid, Signal::KILL);
        }
        if round % 2 == 0 {
            // Into the start of what follows.
            tokio::time::sleep(Duration::from_millis(dice.roll(1500))).await;
        } else {
            let name = format!("{}_killed", victims.join("_and_"));
            times.push(scene.recovers_since(&name, since).await);
            load.issued(1 + usize::try_from(dice.roll(20)).unwrap()).await;
        }
    }
    scene.recovers("after_the_last_kill").await;
    load.issued(5).await;
    scene.serves_pages().await;
    let answers = load.stop().await;
    times.sort();
    figure("kills", kills);
    figure("certificates", answers.issued.len());
    figure("refused", answers.refused.len());
    if let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) {
        figure("recovery_median_ms", median.as_millis());
        figure("recovery_longest_ms", longest.as_millis());
    }
    scene.end(&answers);
}
