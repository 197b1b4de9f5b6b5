//! Overload in its full size: the scenes of `overload`, against a signer with the default settings.

use super::amount;
use crate::overload::{
    Size, many_connections, one_greedy_connection, slow_handshakes, slow_readers, ten_times_the_capacity,
    vanishing_clients, without_a_credential,
};

/// The seconds of each part of a scene.
fn seconds() -> u64 {
    amount("SOAK_OVERLOAD", 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn ten_times_what_can_be_done() {
    let size = Size {
        connections: 8,
        in_flight: 7200,
        seconds: seconds(),
    };
    ten_times_the_capacity("full", "", size).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn a_connection_with_a_thousand_streams() {
    // A request in work for each stream that a connection may have would be no overload.
    one_greedy_connection("full_greedy", "max_buffered_bytes = 8388608", 1000, seconds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn ten_thousand_connections() {
    many_connections("full_connections", 9_900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn a_hundred_thousand_streams_without_a_credential() {
    without_a_credential("full_strangers", 8, 100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn many_slow_readers() {
    slow_readers("full_slow_readers", "", 40, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn clients_that_vanish_again_and_again() {
    vanishing_clients("full_vanishing", "", 40, 900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make soak"]
async fn thousands_of_slow_handshakes() {
    slow_handshakes("full_handshakes", "", 8000).await;
}
