//! The server of a token issuer's keys: gone, answering garbage, too much, or hardly at all. Known keys serve on until
//! `max_stale`; then callers are told to try again, until it is back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sealwright_tests::{Home, fault::Scene};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::AGAIN_OR_LATE;

/// What the server says.
#[derive(Clone, Copy, Debug)]
enum Says {
    Keys,
    Garbage,
    /// 10 MiB that begin as a key set.
    TooMuch,
    /// A byte each second.
    Slowly,
}

/// A server of keys on a port that stays its own.
struct Source {
    address: SocketAddr,
    keys: Arc<str>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Source {
    async fn start(keys: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (keys, asked): (Arc<str>, _) = (keys.into(), Arc::default());
        let task = tokio::spawn(serve(listener, Says::Keys, Arc::clone(&keys), Arc::clone(&asked)));
        Self {
            address,
            keys,
            asked,
            task,
        }
    }

    /// Nobody listens any more.
    async fn end(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    async fn say(&mut self, what: Says) {
        self.end().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = tokio::spawn(serve(
            listener,
            what,
            Arc::clone(&self.keys),
            Arc::clone(&self.asked),
        ));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, says: Says, keys: Arc<str>, asked: Arc<AtomicUsize>) {
    // Ended with this task.
    let mut answers = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        asked.fetch_add(1, Ordering::Relaxed);
        answers.spawn(answer(stream, says, Arc::clone(&keys)));
    }
}

/// One request on a connection.
async fn answer(mut stream: TcpStream, says: Says, keys: Arc<str>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_gone) => return,
        }
    }
    let body = match says {
        Says::Keys | Says::Slowly => keys.as_bytes().to_vec(),
        Says::Garbage => b"<html>\xff\0 Sign in to continue".to_vec(),
        Says::TooMuch => [keys.trim_end_matches('}').as_bytes(), &[b' '; 10 << 20]].concat(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A client that has heard enough goes away.
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    if !matches!(says, Says::Slowly) {
        stream.write_all(&body).await.ok();
        return;
    }
    for byte in body {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn failures(scene: &Scene<'_>) -> usize {
    scene.serving.log().matches("key set not fetched").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_of_keys_that_fails() {
    let home = Home::new();
    let keys = std::fs::read_to_string(home.file("jwks.json")).unwrap();
    let mut source = Source::start(&keys).await;
    home.replace(
        "jwks_file = \"jwks.json\"\n",
        &format!(
            "jwks_url = \"http://{}/keys\"\nallow_http_loopback = true\nrefresh_interval = \"1s\"\n\
             refresh_cooldown = \"1s\"\nmax_stale = \"4s\"\n",
            source.address
        ),
    );
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let scene = Scene::new(&home, serving).await;
    let front = scene.process("front");
    let load = scene.load(4);
    for (name, says) in [
        ("keys_gone", None),
        ("keys_garbage", Some(Says::Garbage)),
        ("keys_10_mib", Some(Says::TooMuch)),
        ("keys_slow", Some(Says::Slowly)),
    ] {
        load.issued(5).await;
        let (before, refused, asked) = (failures(&scene), load.counts().1, source.asked());
        match says {
            None => source.end().await,
            Some(says) => source.say(says).await,
        }
        // Its failure is known, and those whose keys are known do not notice.
        if !matches!(says, Some(Says::Slowly)) {
            until(|| failures(&scene) > before).await;
        } else {
            until(|| source.asked() > asked).await;
        }
        assert_eq!(load.counts().1, refused, "{name}: the known keys serve on");
        load.issued(5).await;
        load.refused(4).await;
        scene.serves_pages().await;
        source.say(Says::Keys).await;
        scene.recovers(name).await;
    }
    load.issued(5).await;
    assert_eq!(scene.process("front"), front, "the front stays");
    let answers = load.stop().await;
    answers.refused_only_with(&AGAIN_OR_LATE);
    scene.end(&answers);
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s");
}
