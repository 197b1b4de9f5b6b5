//! Where requests come from: the inherited stream, or the named socket.

use std::sync::Arc;
use std::time::Duration;

use sealwright_runtime::Chain;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::super::connection::{self, Bounds, Roles};
use super::super::door::Door;
use super::super::error::GateError;
use super::super::listener::Listener;
use super::super::{StreamSource, never};
use crate::config::GateConfig;

/// Connections to the named socket at a time.
const MAX_CONNECTIONS: usize = 64;

/// Where requests come from, ready to be served.
pub(super) enum Streams {
    Inherited(UnixStream),
    Socket(Listener),
}

impl Streams {
    pub(super) fn open(source: StreamSource, config: &GateConfig) -> Result<Self, GateError> {
        match (source, &config.socket) {
            (StreamSource::Inherited(stream), _) => {
                stream.set_nonblocking(true).map_err(GateError::Runtime)?;
                let stream = UnixStream::from_std(stream).map_err(GateError::Runtime)?;
                Ok(Self::Inherited(stream))
            }
            (StreamSource::Socket, Some(path)) => Ok(Self::Socket(Listener::bind(path, &config.peers)?)),
            (StreamSource::Socket, None) => Err(crate::config::ConfigError::new(
                "gate.socket",
                "a gate that stands alone needs one",
                "write socket and peers",
            )
            .into()),
        }
    }

    /// Returns when the inherited stream has ended, or `stop` was cancelled, and what had
    /// begun has come to its end.
    pub(super) async fn serve(self, door: Arc<Door>, bounds: Bounds, stop: CancellationToken) {
        match self {
            Self::Inherited(stream) => one(stream, Roles::ALL, door, bounds, stop).await,
            Self::Socket(listener) => many(&listener, door, bounds, stop).await,
        }
    }
}

async fn one(stream: UnixStream, roles: Roles, door: Arc<Door>, bounds: Bounds, stop: CancellationToken) {
    door.metrics.connections.inc();
    let served = connection::serve(stream, roles, Arc::clone(&door), bounds, stop).await;
    door.metrics.connections.dec();
    if let Err(error) = served {
        warn!(error = %Chain(&error), "a connection was closed");
    }
}

async fn many(listener: &Listener, door: Arc<Door>, bounds: Bounds, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < MAX_CONNECTIONS;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = async { if room { listener.accept().await } else { never().await } } => {
                match accepted {
                    Ok((stream, Ok(roles))) => {
                        connections.spawn(one(stream, roles, Arc::clone(&door), bounds, stop.clone()));
                    }
                    Ok((_stream, Err(error))) => {
                        door.metrics.strangers.inc();
                        warn!(error = %Chain(&error), "a peer was turned away");
                    }
                    Err(error) => {
                        warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
