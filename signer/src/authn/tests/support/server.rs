//! A small HTTP server on loopback that answers as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a path answers with.
#[derive(Clone, Debug)]
pub(in crate::authn) enum Answer {
    /// 200 and this body.
    Ok(String),
    /// A status without a body.
    Status(u16),
    /// 302 to this URL.
    Redirect(String),
    /// 200 and this many bytes, without a length.
    Endless(usize),
    /// 200 and this body, once told to go on.
    Held(Arc<Notify>, String),
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// Paths and `authorization` values, in the order they came.
    requests: Vec<(String, Option<String>)>,
}

/// The server; it is gone when dropped.
pub(in crate::authn) struct TestServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl TestServer {
    pub(in crate::authn) async fn start() -> Self {
        Self::serve(None).await
    }

    pub(in crate::authn) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::serve(Some(acceptor)).await
    }

    async fn serve(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up early is part of the tests.
                let _ = match &acceptor {
                    None => answer(stream, &shared).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => answer(stream, &shared).await,
                        Err(error) => Err(error),
                    },
                };
            }
        });
        Self {
            address,
            scheme,
            state,
            task,
        }
    }

    pub(in crate::authn) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(in crate::authn) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(in crate::authn) fn set(&self, path: &str, answer: Answer) {
        self.state.lock().answers.insert(path.to_owned(), answer);
    }

    pub(in crate::authn) fn hits(&self, path: &str) -> usize {
        let state = self.state.lock();
        state.requests.iter().filter(|(hit, _)| hit == path).count()
    }

    /// The `authorization` values that a path was asked with.
    pub(in crate::authn) fn authorizations(&self, path: &str) -> Vec<Option<String>> {
        let state = self.state.lock();
        let of_path = state.requests.iter().filter(|(hit, _)| hit == path);
        of_path.map(|(_, value)| value.clone()).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let authorization = request.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.to_owned())
    });
    let answer = {
        let mut state = state.lock();
        state.requests.push((path.clone(), authorization));
        state.answers.get(&path).cloned()
    };
    let head = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\n{rest}\r\n");
    let mut answer = answer.unwrap_or(Answer::Status(404));
    if let Answer::Held(release, body) = answer {
        release.notified().await;
        answer = Answer::Ok(body);
    }
    match answer {
        Answer::Ok(body) => {
            let length = format!("content-length: {}\r\n", body.len());
            let text = head("200 OK", &length) + &body;
            stream.write_all(text.as_bytes()).await?;
        }
        Answer::Status(status) => {
            let text = head(&format!("{status} Status"), "content-length: 0\r\n");
            stream.write_all(text.as_bytes()).await?;
        }
        Answer::Redirect(url) => {
            let rest = format!("location: {url}\r\ncontent-length: 0\r\n");
            stream.write_all(head("302 Found", &rest).as_bytes()).await?;
        }
        Answer::Held(..) => {}
        Answer::Endless(bytes) => {
            stream.write_all(head("200 OK", "").as_bytes()).await?;
            let chunk = vec![b' '; 64 * 1024];
            for _ in 0..bytes / chunk.len() {
                stream.write_all(&chunk).await?;
            }
        }
    }
    stream.shutdown().await
}
