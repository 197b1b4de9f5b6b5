//! One finished TLS session with what is known of its peer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::Place;
use crate::authn::{Peer, PeerTls};

/// The peer of a connection, as tonic puts it into the extensions of each request.
#[derive(Clone, Debug)]
pub struct ConnectedPeer(pub Arc<Peer>);

pin_project! {
    /// A TLS session that holds its place among the open connections until it is dropped.
    #[derive(Debug)]
    pub struct ServerIo {
        #[pin]
        session: TlsStream<TcpStream>,
        peer: Arc<Peer>,
        _place: Place,
    }
}

impl ServerIo {
    pub(super) fn new(session: TlsStream<TcpStream>, address: SocketAddr, place: Place) -> Self {
        let chain = session.get_ref().1.peer_certificates();
        let peer = Peer {
            addr: address,
            tls: Some(PeerTls {
                chain: chain.unwrap_or_default().to_vec(),
            }),
        };
        Self {
            session,
            peer: Arc::new(peer),
            _place: place,
        }
    }
}

impl Connected for ServerIo {
    type ConnectInfo = ConnectedPeer;

    fn connect_info(&self) -> ConnectedPeer {
        ConnectedPeer(Arc::clone(&self.peer))
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().session.poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().session.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().session.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().session.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().session.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.session.is_write_vectored()
    }
}
