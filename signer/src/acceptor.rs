//! The accept loop: TCP connections in, finished TLS sessions out, nothing else.
//!
//! tonic's own TLS settings can neither be reloaded nor take a clock, so the loop is ours.
//! Handshakes run off it, a bounded number at a time and against a deadline; the count of open
//! connections is bounded from the first packet to the last, and a connection on which nobody is
//! authenticated in time is closed. One that does not begin with a TLS handshake is closed and
//! counted: there is no plaintext here, whatever is configured.
//!
//! A client certificate is optional and, when given, verified at the handshake as Istio does.
//! That says nothing about later requests: the authenticators check the chain again for each one.

mod gathered;
mod io;
mod standing;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use sealwright_runtime::tls::ServerIdentity;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::{HandshakeFailure, Metrics, Refused};

pub use io::{ConnectedPeer, ServerIo};
#[cfg(test)]
pub(crate) use standing::OPEN_CALLS;
pub use standing::Standing;

use io::Patience;

/// Finished sessions that may wait to be served.
const BACKLOG: usize = 64;
/// How long the loop rests when the system has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first octet of a TLS record that carries a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// The longest turn of a handshake, many times what its computing takes. Turns keep a crowd in
/// order; a peer that makes us wait loses its turn and goes on without one.
const TURN: Duration = Duration::from_millis(250);

/// What bounds the loop.
#[derive(Clone, Copy, Debug)]
pub struct AcceptorLimits {
    /// Open connections, handshakes included.
    pub connections: usize,
    /// Handshakes at once; the others wait, inside their deadline.
    pub handshakes: usize,
    /// From the accepted connection to the finished handshake.
    pub handshake_timeout: Duration,
    /// From the finished handshake to the first request whose caller is authenticated.
    pub authentication_timeout: Duration,
    /// How long a peer may take none of the answers that wait for it.
    pub answer_timeout: Duration,
}

/// The TLS settings that handshakes use, over parts that can be replaced at any time.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Versions, client verification, HTTP/2.
    pub config: Arc<ServerConfig>,
    /// The serving certificate; while there is none, connections are closed at once.
    pub identity: ServerIdentity,
}

/// Finished sessions, as tonic wants them.
pub type Incoming = ReceiverStream<std::io::Result<ServerIo>>;

/// Accepts on `listener` until `stop`, and hands over finished sessions.
///
/// The listening socket is closed as soon as `stop` is cancelled, so that new clients are refused
/// at once rather than left waiting.
pub fn accept(
    listener: TcpListener,
    tls: ServerTls,
    limits: AcceptorLimits,
    metrics: Metrics,
    stop: CancellationToken,
) -> Incoming {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let acceptor = Acceptor {
        tls,
        timeout: limits.handshake_timeout,
        patience: limits.authentication_timeout,
        answers: limits.answer_timeout,
        connections: Arc::new(Semaphore::new(limits.connections)),
        handshakes: Arc::new(Semaphore::new(limits.handshakes.max(1))),
        sessions: sender,
        metrics,
        stop,
    };
    tokio::spawn(acceptor.run(listener));
    ReceiverStream::new(receiver)
}

#[derive(Clone)]
struct Acceptor {
    tls: ServerTls,
    timeout: Duration,
    patience: Duration,
    answers: Duration,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    sessions: mpsc::Sender<std::io::Result<ServerIo>>,
    metrics: Metrics,
    stop: CancellationToken,
}

/// One place among the open connections, given back when the connection is dropped.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Place {
    fn take(permit: OwnedSemaphorePermit, open: &Gauge) -> Self {
        open.inc();
        Self {
            _permit: permit,
            open: open.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        if !self.tls.identity.is_set() {
            self.metrics.connection_refused(Refused::NoCertificate);
            return;
        }
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.metrics.connection_refused(Refused::Limit);
            return;
        };
        let place = Place::take(permit, self.metrics.connections());
        let acceptor = self.clone();
        let deadline = Instant::now() + self.timeout;
        tokio::spawn(async move {
            let work = acceptor.handshake(stream, address, place);
            match timeout_at(deadline, work).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => acceptor.report(address, &failure),
                Err(_elapsed) => acceptor.report(address, &Failure::Timeout),
            }
        });
    }

    async fn handshake(&self, stream: TcpStream, address: SocketAddr, place: Place) -> Result<(), Failure> {
        // Small answers must not wait for the peer's acknowledgement.
        stream.set_nodelay(true).map_err(Failure::Io)?;
        let mut first = [0u8; 1];
        match stream.peek(&mut first).await.map_err(Failure::Io)? {
            0 => return Ok(()),
            _ if first != [HANDSHAKE_RECORD] => return Err(Failure::Plaintext),
            _ => {}
        }
        let session = self.greet(stream).await.map_err(Failure::of)?;
        let (strangers, stalls) = (self.metrics.strangers(), self.metrics.stalls());
        let patience = Patience::of(self.patience, self.answers, strangers.clone(), stalls.clone());
        let io = ServerIo::new(session, address, place, patience);
        // Nobody takes sessions any more once the server has stopped.
        let _stopped = self.sessions.send(Ok(io)).await;
        Ok(())
    }

    /// Nobody takes a turn before there is something to compute.
    async fn greet(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let turn = self.handshakes.acquire().await;
        let mut handshake = pin!(hello.into_stream(Arc::clone(&self.tls.config)));
        match timeout(TURN, &mut handshake).await {
            Ok(session) => session,
            Err(_elapsed) => {
                drop(turn);
                handshake.await
            }
        }
    }

    fn report(&self, address: SocketAddr, failure: &Failure) {
        match failure {
            Failure::Plaintext => {
                self.metrics.plaintext_connection();
                debug!(%address, "a connection without TLS was closed");
            }
            Failure::Timeout => {
                self.metrics.handshake_failed(HandshakeFailure::Timeout);
                debug!(%address, "a TLS handshake did not finish in time");
            }
            Failure::Tls(error) => {
                self.metrics.handshake_failed(HandshakeFailure::Tls);
                debug!(%address, %error, "a TLS handshake failed");
            }
            Failure::Io(error) => {
                self.metrics.handshake_failed(HandshakeFailure::Io);
                debug!(%address, %error, "a connection broke before its handshake ended");
            }
        }
    }
}

#[derive(Debug)]
enum Failure {
    Plaintext,
    Timeout,
    Tls(std::io::Error),
    Io(std::io::Error),
}

impl Failure {
    /// tokio-rustls wraps what rustls refused into an I/O error of kind `InvalidData`.
    fn of(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::InvalidData {
            Self::Tls(error)
        } else {
            Self::Io(error)
        }
    }
}

#[cfg(test)]
mod tests;
