//! More than can be done: who is served, what the others are told, and what it costs.
//!
//! Each scene has a size, so that seconds of it are in `make test` and all of it in `make soak`. Each
//! prints lines `overload: NAME VALUE`; docs/reliability.md has a table of them.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use sealwright_tests::load::{Asking, Crowd, Stage, Tally, call, percentile, unfinished, whole};
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tonic::Code;

/// A signer that is overloaded by little: four requests in work, sixty-four that wait.
const SMALL: &str = "max_in_work = 4\nmax_message_bytes = 262144\nmax_buffered_bytes = 1048576";

/// How long anything that is waited for may take.
const SOON: Duration = Duration::from_secs(60);

#[allow(clippy::print_stdout, reason = "the figures are read from the test's output")]
pub(super) fn figure(name: &str, value: impl std::fmt::Display) {
    println!("overload: {name} {value}");
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

/// Memory of both processes, and which build it is.
fn end_figures(stage: &Stage, scene: &str) {
    for (role, mebibytes) in stage.peak_memory() {
        figure(&format!("{scene}_peak_rss_mib_{role}"), mebibytes);
    }
    figure(&format!("{scene}_build"), build());
}

/// Somebody modest who asks beside the others for a while, and what came of it.
struct Modest {
    running: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<Tally>,
}

impl Modest {
    fn start(client: Asking, pause: Duration) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let asking = tokio::spawn(client.go_on(Arc::clone(&running), pause));
        Self { running, asking }
    }

    async fn served_throughout(self, scene: &str) -> Tally {
        self.running.store(false, Ordering::Relaxed);
        let tally = self.asking.await.unwrap();
        assert!(tally.refused.is_empty(), "{:?}", tally.refused);
        assert!(!tally.issued.is_empty());
        figure(&format!("{scene}_modest_issued"), tally.issued.len());
        for percent in [50, 99] {
            let time = percentile(&tally.issued, percent);
            figure(&format!("{scene}_modest_p{percent}_ms"), format!("{time:.1}"));
        }
        tally
    }
}

/// How large a crowd is.
pub(super) struct Size {
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) seconds: u64,
}

/// Capacity, half of it, and ten times as much: each for a while, with a modest client beside.
pub(super) async fn ten_times_the_capacity(scene: &str, server: &str, size: Size) {
    let stage = Stage::new(server, "").await;
    let lasting = Duration::from_secs(size.seconds);
    let mut greedy = Vec::new();
    for number in 0..size.connections {
        greedy.push(stage.client(&format!("greedy-{number}")).await);
    }
    let modest = stage.client("modest").await;
    let measure = async |name: &str, each: usize, rate: f64| {
        let beside = Modest::start(modest.clone(), Duration::from_millis(20));
        let crowd = Crowd::start(&greedy, each, rate);
        tokio::time::sleep(lasting).await;
        let (tally, seconds) = crowd.stop().await;
        beside.served_throughout(&format!("{scene}_{name}")).await;
        let issued = tally.issued.len() as f64 / seconds;
        figure(&format!("{scene}_{name}_issued_per_s"), format!("{issued:.0}"));
        (tally, seconds, issued)
    };
    let (tally, _, capacity) = measure("capacity", 16_usize.div_ceil(size.connections), 1e6).await;
    assert!(tally.refused.is_empty(), "{:?}", tally.refused);
    let (tally, _, half) = measure("half", 16_usize.div_ceil(size.connections), capacity / 2.0).await;
    assert!(tally.refused.is_empty(), "{:?}", tally.refused);
    let (tally, seconds, issued) =
        measure("tenfold", size.in_flight / size.connections, capacity * 10.0).await;
    tally.only_overloads();
    assert!(!tally.refusals.is_empty(), "it was no overload");
    let offered = (tally.issued.len() + tally.refusals.len()) as f64 / seconds;
    figure(&format!("{scene}_tenfold_offered_per_s"), format!("{offered:.0}"));
    for percent in [50, 99] {
        let refusal = percentile(&tally.refusals, percent);
        figure(
            &format!("{scene}_tenfold_refusal_p{percent}_ms"),
            format!("{refusal:.1}"),
        );
        let accepted = percentile(&tally.issued, percent);
        figure(
            &format!("{scene}_tenfold_accepted_p{percent}_ms"),
            format!("{accepted:.1}"),
        );
    }
    figure(
        &format!("{scene}_rate_held_of_capacity"),
        format!("{:.2}", issued / capacity),
    );
    figure(
        &format!("{scene}_rate_of_half_load"),
        format!("{:.2}", issued / half),
    );
    end_figures(&stage, scene);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_too_much_is_refused_and_the_rest_is_done() {
    let size = Size {
        connections: 2,
        in_flight: 240,
        seconds: 2,
    };
    ten_times_the_capacity("small", SMALL, size).await;
}

/// One connection with as many streams as it may have, and others that ask one by one: somebody else,
/// and the same identity over another connection.
pub(super) async fn one_greedy_connection(scene: &str, server: &str, streams: usize, seconds: u64) {
    let stage = Stage::new(server, "").await;
    let greedy = stage.client("greedy").await;
    let sibling = stage.client("greedy").await;
    let modest = stage.client("modest").await;
    let pause = Duration::from_millis(20);
    let lasting = Duration::from_secs(seconds);
    let alone = Modest::start(modest.clone(), pause);
    tokio::time::sleep(lasting).await;
    let alone = alone.served_throughout(&format!("{scene}_alone")).await;

    let crowd = Crowd::start(&[greedy], streams, 4000.0);
    let others = [Modest::start(modest, pause), Modest::start(sibling, pause)];
    tokio::time::sleep(lasting).await;
    let (tally, _) = crowd.stop().await;
    tally.only_overloads();
    assert!(!tally.refusals.is_empty(), "it was no overload");
    for (name, other) in ["beside", "sibling"].into_iter().zip(others) {
        let beside = other.served_throughout(&format!("{scene}_{name}")).await;
        let times = percentile(&beside.issued, 99) / percentile(&alone.issued, 99);
        figure(&format!("{scene}_{name}_p99_times_alone"), format!("{times:.1}"));
    }
    end_figures(&stage, scene);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_connection_starves_nobody() {
    one_greedy_connection("greedy", SMALL, 200, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_identity_is_held_to_its_rate_and_recorded_once() {
    let stage = Stage::new(
        "identity_rate = { certificates_per_second = 5.0, burst = 20 }",
        "",
    )
    .await;
    let greedy = stage.client("greedy").await;
    let modest = Modest::start(stage.client("modest").await, Duration::from_millis(250));
    let crowd = Crowd::start(std::slice::from_ref(&greedy), 64, 2000.0);
    stage
        .metric_until("sealwright_rate_refusals_total{recorded=\"no\"}", |refused| {
            refused > 500
        })
        .await;
    let (tally, seconds) = crowd.stop().await;
    tally.only_overloads();
    let most = 20.0 + 5.0 * seconds + 1.0;
    assert!(
        tally.issued.len() >= 20 && tally.issued.len() as f64 <= most,
        "{}",
        tally.issued.len()
    );
    modest.served_throughout("rate").await;

    // The delay is enough.
    let status = loop {
        if let Err(status) = greedy.ask().await {
            break status;
        }
    };
    let delay = tonic_types::StatusExt::get_details_retry_info(&status).unwrap();
    tokio::time::sleep(delay.retry_delay.unwrap()).await;
    greedy.ask().await.unwrap();

    let log = stage.serving.log();
    let events = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    let refusals: Vec<Value> = events.filter(|event: &Value| event["code"] == "RATE").collect();
    // Another minute, another record.
    assert!(
        (1..=1 + seconds as usize / 60).contains(&refusals.len()),
        "{refusals:?}"
    );
    let sequence = refusals[0]["sequence"].to_string();
    let record = stage
        .home
        .run(&["log", "show", "--output", "json", &sequence])
        .success();
    for word in [
        "spiffe://cluster.local/ns/default/sa/greedy",
        "RATE",
        "5 certificates a second",
    ] {
        assert!(record.contains(word), "{word} in {record}");
    }
    let recorded = stage
        .metric("sealwright_rate_refusals_total{recorded=\"yes\"}")
        .await;
    assert_eq!(usize::try_from(recorded).unwrap(), refusals.len());
    stage.end().await;
}

/// Requests whose bodies do not come, more than can be in work: they hold no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_come_hold_up_nobody() {
    let stage = Stage::new(&format!("{SMALL}\nrequest_timeout = \"3s\""), "").await;
    let modest = stage.client("modest").await;
    let token = stage.token("slow");
    let channel = stage.channel(|endpoint| endpoint).await;
    // The connection is known from its first request on, whatever came of that.
    assert_ne!(
        call(channel.clone(), Some(&token), whole(b"")).await.unwrap(),
        Code::Unauthenticated
    );
    let mut slow = JoinSet::new();
    for _ in 0..40 {
        // It says that a kilobyte comes.
        let body = unfinished(&[0, 0, 0, 4, 0, 1, 2, 3]);
        let (channel, token) = (channel.clone(), token.clone());
        slow.spawn(async move { call(channel, Some(&token), body).await.unwrap() });
    }
    stage
        .metric_until("sealwright_buffered_bytes", |bytes| bytes >= 40 * 8192)
        .await;
    for _ in 0..10 {
        modest.ask().await.unwrap();
    }
    while let Some(code) = slow.join_next().await {
        assert_eq!(code.unwrap(), Code::DeadlineExceeded);
    }
    stage.end().await;
}

/// Clients that take none of their answers: what is kept for them is given back.
pub(super) async fn slow_readers(scene: &str, server: &str, connections: usize, streams: usize) {
    let stage = Stage::new(&format!("{server}\nrequest_timeout = \"3s\""), "").await;
    let modest = Modest::start(stage.client("modest").await, Duration::from_millis(50));
    let mut slow = JoinSet::new();
    let csr = sealwright_tests::Csr::ztunnel("spiffe://cluster.local/ns/default/sa/slow").pem;
    let message = message(&csr);
    let token = stage.token("slow");
    for _ in 0..connections {
        // With such a window not one octet of an answer may be sent.
        let channel = stage
            .channel(|endpoint| endpoint.initial_stream_window_size(0))
            .await;
        for _ in 0..streams {
            let (channel, token, body) = (channel.clone(), token.clone(), whole(&message));
            slow.spawn(async move { never_read(channel, &token, body).await });
        }
    }
    let ended = async { while slow.join_next().await.is_some() {} };
    tokio::time::timeout(2 * SOON, ended)
        .await
        .expect("their connections end");
    stage
        .metric_until("sealwright_connections_stalled_total", |count| count >= 1)
        .await;
    modest.served_throughout(scene).await;
    let stalled = stage.metric("sealwright_connections_stalled_total").await;
    figure(&format!("{scene}_connections_closed"), stalled);
    end_figures(&stage, scene);
    stage.end().await;
}

fn message(csr: &str) -> Vec<u8> {
    let csr = csr.as_bytes();
    // Field 1, a string of two octets of length.
    let [low, high] = [csr.len() & 0x7f | 0x80, csr.len() >> 7].map(|part| u8::try_from(part).unwrap());
    [&[0x0a, low, high], csr].concat()
}

/// Waits for the end of an answer that is never taken: an error, when the connection is closed.
async fn never_read(channel: tonic::transport::Channel, token: &str, body: tonic::body::Body) {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    let request = http::Request::post("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"));
    if let Ok(answer) = channel.oneshot(request.body(body).unwrap()).await {
        // A refusal has no body; a certificate never comes.
        let _end = answer.into_body().collect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answers_loses_the_connection() {
    slow_readers("slow_readers", "", 2, 20).await;
}

/// Streams with bodies of 4 MiB, and nothing that says who sends them.
pub(super) async fn without_a_credential(scene: &str, connections: usize, streams: usize) {
    let stage = Stage::new("", "").await;
    let modest = Modest::start(stage.client("modest").await, Duration::from_millis(20));
    let body: Arc<[u8]> = vec![0; 4 << 20].into();
    let bytes = bytes::Bytes::from_owner(body);
    let start = Instant::now();
    let mut strangers = JoinSet::new();
    for number in 0..connections {
        let share = streams / connections + usize::from(number < streams % connections);
        for part in split(share, 100) {
            let channel = stage.channel(|endpoint| endpoint).await;
            let bytes = bytes.clone();
            strangers.spawn(async move {
                let mut codes = Vec::new();
                let all = (0..part).map(|_| {
                    let body = tonic::body::Body::new(http_body_util::Full::new(bytes.clone()));
                    call(channel.clone(), None, body)
                });
                for answer in futures::future::join_all(all).await {
                    codes.push(answer.unwrap_or(Code::Unavailable));
                }
                codes
            });
            while strangers.len() >= connections.max(1) {
                count(strangers.join_next().await.unwrap().unwrap());
            }
        }
    }
    while let Some(codes) = strangers.join_next().await {
        count(codes.unwrap());
    }
    let seconds = start.elapsed().as_secs_f64();
    figure(
        &format!("{scene}_streams_per_s"),
        format!("{:.0}", streams as f64 / seconds),
    );
    modest.served_throughout(scene).await;
    end_figures(&stage, scene);
    let [(_, front), _] = stage.peak_memory();
    assert!(front < 400, "{front} MiB");
    stage.end().await;

    fn count(codes: Vec<Code>) {
        for code in codes {
            // A connection may be closed on whoever resets too many streams.
            assert!(
                [Code::Unauthenticated, Code::ResourceExhausted, Code::Unavailable].contains(&code),
                "{code:?}"
            );
        }
    }
}

fn split(all: usize, part: usize) -> impl Iterator<Item = usize> {
    (0..all.div_ceil(part)).map(move |number| part.min(all - number * part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_of_strangers_cost_no_memory() {
    without_a_credential("strangers", 4, 400).await;
}

/// Clients that go away in the middle of what they asked for.
pub(super) async fn vanishing_clients(scene: &str, server: &str, rounds: usize, streams: usize) {
    let stage = Stage::new(server, "").await;
    let modest = Modest::start(stage.client("modest").await, Duration::from_millis(20));
    for _ in 0..rounds {
        let client = stage.client("vanishing").await;
        let (first, mut one) = tokio::sync::mpsc::channel(streams);
        let mut all = JoinSet::new();
        for _ in 0..streams {
            let (client, first) = (client.clone(), first.clone());
            all.spawn(async move {
                let _answer = client.ask().await;
                first.send(()).await.ok();
            });
        }
        drop(client);
        // With the first answer, the others are on their way or wait.
        one.recv().await;
        all.shutdown().await;
    }
    modest.served_throughout(scene).await;
    stage
        .metric_until("sealwright_connections", |open| open == 0)
        .await;
    end_figures(&stage, scene);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_vanishes_leaves_nothing_behind() {
    vanishing_clients("vanishing", SMALL, 3, 100).await;
}

/// Handshakes that begin and do not go on.
pub(super) async fn slow_handshakes(scene: &str, server: &str, count: usize) {
    let stage = Stage::new(&format!("{server}\nhandshake_timeout = \"3s\""), "").await;
    let known = stage.client("modest").await;
    // A connection is known by its first request.
    known.ask().await.unwrap();
    let modest = Modest::start(known, Duration::from_millis(20));
    let mut stalled = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(stage.serving.grpc()).await.unwrap();
        // The first octet of a TLS record.
        stream.try_write(&[22]).unwrap();
        stalled.push(stream);
    }
    let started = Instant::now();
    let newcomer = stage.client("newcomer").await;
    newcomer.ask().await.unwrap();
    let first = started.elapsed().as_secs_f64() * 1000.0;
    figure(&format!("{scene}_newcomer_ms"), format!("{first:.0}"));
    let timeouts = "sealwright_tls_handshake_failures_total{reason=\"timeout\"}";
    let all = i64::try_from(count).unwrap();
    stage.metric_until(timeouts, |ended| ended >= all).await;
    modest.served_throughout(scene).await;
    end_figures(&stage, scene);
    drop(stalled);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_hold_up_nobody() {
    slow_handshakes("slow_handshakes", "", 300).await;
}

/// Sessions that were greeted and ask for nothing, as many as there may be, and one that asks.
pub(super) async fn many_connections(scene: &str, count: usize) {
    let files = sealwright_tests::load::raise_open_files();
    assert!(
        files > count as u64 + 100,
        "{files} open files are too few for {count} connections"
    );
    let stage = Stage::new("", "").await;
    let known = stage.client("modest").await;
    known.ask().await.unwrap();
    let modest = Modest::start(known, Duration::from_millis(50));
    let tls = stage.tls();
    let start = Instant::now();
    let mut sessions = Vec::new();
    let mut greetings = JoinSet::new();
    for _ in 0..count {
        let (tls, server) = (tls.clone(), stage.serving.grpc().to_owned());
        greetings.spawn(async move {
            let stream = TcpStream::connect(server).await.unwrap();
            let name = "localhost".try_into().unwrap();
            tls.connect(name, stream).await.unwrap()
        });
        while greetings.len() >= 128 {
            sessions.push(greetings.join_next().await.unwrap().unwrap());
        }
    }
    sessions.extend(greetings.join_all().await);
    let seconds = start.elapsed().as_secs_f64();
    figure(&format!("{scene}_count"), sessions.len());
    figure(
        &format!("{scene}_handshakes_per_s"),
        format!("{:.0}", count as f64 / seconds),
    );
    figure(
        &format!("{scene}_open"),
        stage.metric("sealwright_connections").await,
    );
    let served = modest.served_throughout(scene).await;
    assert!(!served.issued.is_empty());
    end_figures(&stage, scene);
    drop(sessions);
    stage
        .metric_until("sealwright_connections", |open| open == 0)
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_connections_are_kept() {
    many_connections("connections", 300).await;
}
