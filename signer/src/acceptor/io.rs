//! One finished TLS session with what is known of its peer.
//!
//! A session on which nobody is authenticated in time ends itself: reads, writes and the shutdown
//! fail from then on, so that neither silence nor a peer that stops reading can hold its place.

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
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

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

pin_project! {
    /// A TLS session that holds its place among the open connections until it is dropped.
    #[derive(Debug)]
    pub struct ServerIo {
        #[pin]
        session: TlsStream<TcpStream>,
        peer: ConnectedPeer,
        patience: Patience,
        _place: Place,
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
        Self {
            session,
            peer: ConnectedPeer {
                peer: Arc::new(peer),
                standing: Arc::default(),
            },
            patience,
            _place: place,
        }
    }

    /// The session, unless its peer has been a stranger for too long.
    fn session(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> io::Result<Pin<&mut TlsStream<TcpStream>>> {
        let this = self.project();
        if !this.peer.standing.is_known() && this.patience.is_over(context) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody was authenticated on this connection in time",
            ));
        }
        Ok(this.session)
    }
}

/// How long a connection may stay on which nobody is authenticated.
#[derive(Debug)]
pub(super) struct Patience {
    left: Pin<Box<Sleep>>,
    over: bool,
    count: Counter,
}

impl Patience {
    pub(super) fn of(time: Duration, count: Counter) -> Self {
        Self {
            left: Box::pin(sleep(time)),
            over: false,
            count,
        }
    }

    /// Wakes the connection's task when it ends.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if !self.over && self.left.as_mut().poll(context).is_ready() {
            self.over = true;
            self.count.inc();
        }
        self.over
    }
}

impl Connected for ServerIo {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        self.peer.clone()
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.session(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.session(context)?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session(context)?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session(context)?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.session(context)?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.session.is_write_vectored()
    }
}
