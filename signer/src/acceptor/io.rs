//! One finished TLS session with what is known of its peer.
//!
//! A session on which nobody is authenticated in time ends itself: reads, writes and the shutdown
//! fail from then on, so that neither silence nor a peer that stops reading can hold its place. So
//! does one whose peer takes none of the answers that wait for it: what they hold is given back.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::gathered::Gathered;
use super::{Place, Standing};
use crate::authn::{Peer, PeerTls};

/// The peer of a connection, as tonic puts it into the extensions of each request.
#[derive(Clone, Debug)]
pub struct ConnectedPeer {
    /// Who is at the other end.
    pub peer: Arc<Peer>,
    /// What the connection may do.
    pub standing: Arc<Standing>,
}

/// A connection that holds its place among the open ones until it is dropped.
#[derive(Debug)]
pub struct ServerIo(Gathered<Session>);

pin_project! {
    /// A TLS session, and the patience with its peer.
    #[derive(Debug)]
    struct Session {
        #[pin]
        session: TlsStream<TcpStream>,
        peer: ConnectedPeer,
        patience: Patience,
        written: Written,
        _place: Place,
    }
}

/// What went into the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    /// Writes that took something.
    times: u64,
    /// The last one found the session full.
    full: bool,
}

impl Written {
    fn note<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.full = outcome.is_pending();
        self.times = self.times.wrapping_add(u64::from(outcome.is_ready()));
        outcome
    }
}

impl ServerIo {
    pub(super) fn new(
        session: TlsStream<TcpStream>,
        address: SocketAddr,
        place: Place,
        patience: Patience,
    ) -> Self {
        let chain = session.get_ref().1.peer_certificates();
        let peer = Peer {
            addr: address,
            tls: Some(PeerTls {
                chain: chain.unwrap_or_default().to_vec(),
            }),
        };
        Self(Gathered::new(Session {
            session,
            peer: ConnectedPeer {
                peer: Arc::new(peer),
                standing: Arc::default(),
            },
            patience,
            written: Written::default(),
            _place: place,
        }))
    }

    fn gathered(self: Pin<&mut Self>) -> Pin<&mut Gathered<Session>> {
        Pin::new(&mut self.get_mut().0)
    }

    /// The same to write to: nothing is gathered for a peer with whom the patience is over.
    fn writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> io::Result<Pin<&mut Gathered<Session>>> {
        let mut gathered = self.gathered();
        Pin::new(gathered.stream_mut()).writable(context)?;
        Ok(gathered)
    }
}

impl Session {
    /// The session to read from, unless the patience with its peer is over. A connection is always
    /// being read from, so it is woken here.
    fn readable(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> io::Result<Pin<&mut TlsStream<TcpStream>>> {
        let this = self.project();
        this.patience.look(context, &this.peer.standing, *this.written)?;
        Ok(this.session)
    }

    /// The session to write to, under the same condition.
    fn writable(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> io::Result<(Pin<&mut TlsStream<TcpStream>>, &mut Written)> {
        let this = self.project();
        if !this.peer.standing.is_known() {
            this.patience.look(context, &this.peer.standing, *this.written)?;
        }
        this.patience.check()?;
        Ok((this.session, this.written))
    }
}

/// How long a connection may stay on which nobody is authenticated, and then, how long its peer may
/// take nothing of what is sent to it.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    answers: Duration,
    strangers: Counter,
    stalls: Counter,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Stranger,
    /// With what was known at the last look.
    Known(Progress),
    Over(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    waits: bool,
    sent: usize,
    writes: u64,
}

impl Patience {
    pub(super) fn of(stranger: Duration, answers: Duration, strangers: Counter, stalls: Counter) -> Self {
        Self {
            timer: Box::pin(sleep(stranger)),
            answers,
            strangers,
            stalls,
            phase: Phase::Stranger,
        }
    }

    /// Wakes the connection's task when it ends.
    fn look(&mut self, context: &mut Context<'_>, standing: &Standing, written: Written) -> io::Result<()> {
        if matches!(self.phase, Phase::Stranger) && standing.is_known() {
            self.phase = Phase::Known(Progress::of(standing, written));
            self.timer.as_mut().reset(Instant::now() + self.answers);
        }
        let mut ended = false;
        while !matches!(self.phase, Phase::Over(_)) && self.timer.as_mut().poll(context).is_ready() {
            let now = Progress::of(standing, written);
            self.phase = match self.phase {
                Phase::Stranger => {
                    ended = true;
                    self.strangers.inc();
                    Phase::Over("nobody was authenticated on this connection in time")
                }
                Phase::Known(before) if before.waits && before == now => {
                    ended = true;
                    self.stalls.inc();
                    Phase::Over("the peer takes none of its answers")
                }
                Phase::Known(_) | Phase::Over(_) => {
                    self.timer.as_mut().reset(Instant::now() + self.answers);
                    Phase::Known(now)
                }
            };
        }
        if ended {
            // Whoever of this task waits to write has no other to be woken by.
            context.waker().wake_by_ref();
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        match self.phase {
            Phase::Over(reason) => Err(io::Error::new(io::ErrorKind::TimedOut, reason)),
            Phase::Stranger | Phase::Known(_) => Ok(()),
        }
    }
}

impl Progress {
    fn of(standing: &Standing, written: Written) -> Self {
        let (unsent, sent) = standing.answers();
        Self {
            waits: unsent > 0 || written.full,
            sent,
            writes: if unsent > 0 { 0 } else { written.times },
        }
    }
}

impl Connected for ServerIo {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        self.0.stream().peer.clone()
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.gathered().poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writable(context)?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable(context)?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gathered().poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writable(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl AsyncRead for Session {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.readable(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Session {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (session, written) = self.writable(context)?;
        written.note(session.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (session, written) = self.writable(context)?;
        let flushed = session.poll_flush(context);
        written.full = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable(context)?.0.poll_shutdown(context)
    }
}
