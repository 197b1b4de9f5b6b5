//! The long tests: the same faults as in `faults`, for longer, more often, and mixed. `make soak` runs them one by one.
//!
//! Each prints lines `figure: NAME VALUE`, which `make soak` keeps. The variables `SOAK_KILLS`, `SOAK_OUTAGE` (seconds)
//! and `SOAK_MINUTES` say how much is done.

mod kills;
mod mixed;
mod overload;

use std::time::Duration;

use crate::faults;

/// A number from the environment, as `make soak` passes it on.
fn amount(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}={text:?}: {error}")),
        Err(_) => otherwise,
    }
}

/// One line that `make soak` keeps.
#[allow(clippy::print_stdout, reason = "the figures are read from the test's output")]
fn figure(name: &str, value: impl std::fmt::Display) {
    println!("figure: {name} {value}");
}

/// Numbers that look random and are the same for a seed, which is printed: a run can be had again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = amount("SOAK_SEED", u64::from(std::process::id()));
        figure("seed", seed);
        Self(seed.wrapping_mul(2) + 1)
    }

    /// Less than `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn a_gate_killed_two_hundred_times_while_it_starts() {
    faults::kill_in_start(amount("SOAK_KILLS", 200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn a_long_outage_of_the_token() {
    faults::outage_of_the_token(Duration::from_secs(amount("SOAK_OUTAGE", 180))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn a_module_that_crashes_for_minutes() {
    faults::crashes_for(Duration::from_secs(amount("SOAK_OUTAGE", 180))).await;
}
