//! A scripted API server on loopback: it answers TokenReviews as it is told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What every review is answered with.
#[derive(Clone, Debug)]
pub(in crate::authn) enum Reply {
    /// 201 and a TokenReview of this status, the token echoed as a real server does.
    Status(Value),
    /// The same, once a permit is added to the semaphore.
    Held(Arc<Semaphore>, Value),
    /// A status and a body in which `TOKEN` is replaced by the token.
    Raw(u16, String),
    /// The connection is closed without a word.
    HangUp,
    /// Nothing, ever.
    Silence,
}

#[derive(Debug)]
struct State {
    reply: Reply,
    /// What `/openid/v1/jwks` has; nothing answers 403.
    keys: Option<String>,
    /// Our credential and the body of each question.
    asked: Vec<(String, Value)>,
    now: usize,
    most: usize,
}

/// The server; it is gone when dropped.
pub(in crate::authn) struct ApiServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    pub(in crate::authn) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            reply,
            keys: None,
            asked: Vec::new(),
            now: 0,
            most: 0,
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // A client that hangs up early is part of the tests.
                connections.spawn(async move { drop(answer(stream, &shared).await) });
            }
        });
        Self { address, state, task }
    }

    pub(in crate::authn) fn set(&self, reply: Reply) {
        self.state.lock().reply = reply;
    }

    /// Publishes keys.
    pub(in crate::authn) fn publish(&self, keys: Option<String>) {
        self.state.lock().keys = keys;
    }

    pub(in crate::authn) fn asked(&self) -> usize {
        self.state.lock().asked.len()
    }

    pub(in crate::authn) fn last(&self) -> (String, Value) {
        self.state.lock().asked.last().unwrap().clone()
    }

    /// The most questions that were open at one time.
    pub(in crate::authn) fn most_at_once(&self) -> usize {
        self.state.lock().most
    }

    /// Waits until so many questions have come.
    pub(in crate::authn) async fn wait_for(&self, asked: usize) {
        while self.asked() < asked {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Writes a kubeconfig that leads here.
    pub(in crate::authn) fn kubeconfig(&self, path: &Path, token: &str) {
        std::fs::write(path, kubeconfig(&format!("http://{}", self.address), token)).unwrap();
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(in crate::authn) fn kubeconfig(server: &str, token: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    if head.starts_with("GET /openid/v1/jwks HTTP/1.1\r\n") {
        let keys = state.lock().keys.clone();
        let (status, text) = keys.map_or((403, String::new()), |keys| (200, keys));
        return send(&mut stream, status, &text).await;
    }
    assert!(
        head.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\n"),
        "{head}"
    );
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut body = vec![0; field("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let reply = {
        let mut state = state.lock();
        state.asked.push((field("authorization"), body.clone()));
        state.now += 1;
        state.most = state.most.max(state.now);
        state.reply.clone()
    };
    let (status, text) = match reply {
        Reply::Status(status) => (201, review(&body, &status)),
        Reply::Held(gate, status) => {
            gate.acquire().await.unwrap().forget();
            (201, review(&body, &status))
        }
        Reply::Raw(status, text) => (
            status,
            text.replace("TOKEN", body["spec"]["token"].as_str().unwrap()),
        ),
        Reply::HangUp => return Ok(()),
        Reply::Silence => std::future::pending().await,
    };
    state.lock().now -= 1;
    send(&mut stream, status, &text).await
}

async fn send(stream: &mut TcpStream, status: u16, text: &str) -> std::io::Result<()> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status} Status\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + text).as_bytes()).await?;
    stream.shutdown().await
}

fn review(question: &Value, status: &Value) -> String {
    json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
           "spec": question["spec"], "status": status})
    .to_string()
}
