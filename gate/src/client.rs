//! The front's view of the gate: a cheap handle that many requests share.
//!
//! Requests are pipelined over one Unix stream: a writer task batches them, a reader task
//! hands answers to whoever waits. The stream may end at any time (the gate is built to
//! crash and be started again); the client is then handed a new one by whoever supervises
//! the gate, and until that happens every call fails with [`ClientError::Unavailable`] at
//! once rather than wait.
//!
//! Every call is bounded three times: by the number of calls in flight, by its deadline,
//! and by the life of its connection. A call whose future is dropped tells the gate that
//! nobody waits any longer. A call that ended without an answer says nothing about whether
//! the gate signed: only the ledger does.

mod connection;
mod dial;
mod error;

use std::sync::Arc;
use std::time::Duration;

use sealwright_proto::gate::{
    DenialRecorded, Evidence, IssueRequest, Issued, Origin, OriginRequest, PolicyFetch, PolicyFetched,
    PolicyState, PolicyStateRequest, PolicyStatement, PolicyTaken, PolicyUpload, PolicyUploaded,
    QueryRequest, QueryResponse, RecordDenial, ServingRequest, Status, StatusRequest, request, response,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tracing::{info, warn};

use self::connection::Connection;
pub use self::dial::dial;
pub use self::error::ClientError;

/// What bounds a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Calls in flight; one more is [`ClientError::Overloaded`] at once.
    pub in_flight: usize,
    /// How long the gate may refuse to read before the stream is given up.
    pub write_stall: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            in_flight: 1024,
            write_stall: Duration::from_secs(15),
        }
    }
}

/// A stream to the gate, as a supervisor or a connecting task hands it over.
#[derive(Debug)]
pub enum GateStream {
    /// A descriptor received from another process.
    Std(std::os::unix::net::UnixStream),
    /// A stream made in this runtime.
    Tokio(tokio::net::UnixStream),
    /// A stream whose maker wants to know when it is no longer used: the guard is dropped then.
    Watched(tokio::net::UnixStream, DropGuard),
}

impl From<std::os::unix::net::UnixStream> for GateStream {
    fn from(stream: std::os::unix::net::UnixStream) -> Self {
        Self::Std(stream)
    }
}

impl From<tokio::net::UnixStream> for GateStream {
    fn from(stream: tokio::net::UnixStream) -> Self {
        Self::Tokio(stream)
    }
}

/// Whether calls can reach a gate now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// No stream: calls fail at once.
    Disconnected,
    /// The n-th stream since the client was made.
    Connected {
        /// Counts from 1.
        generation: u64,
    },
}

/// Talks to the gate. Clones share one connection.
#[derive(Clone, Debug)]
pub struct GateClient {
    limits: ClientLimits,
    permits: Arc<Semaphore>,
    current: watch::Receiver<Option<Arc<Connection>>>,
    state: watch::Receiver<ConnectionState>,
}

impl GateClient {
    /// A client over the streams that `streams` yields, each replacing the one before.
    ///
    /// Must be called within a Tokio runtime. When the sender of `streams` is gone, the
    /// last stream is used until it ends.
    pub fn new<S>(streams: mpsc::Receiver<S>, limits: ClientLimits) -> Self
    where
        S: Into<GateStream> + Send + 'static,
    {
        let (current_sender, current) = watch::channel(None);
        let (state_sender, state) = watch::channel(ConnectionState::Disconnected);
        tokio::spawn(keep_connected(streams, limits, current_sender, state_sender));
        Self {
            limits,
            permits: Arc::new(Semaphore::new(limits.in_flight)),
            current,
            state,
        }
    }

    /// The state, and every change of it.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// Whether there is a stream now.
    pub fn is_connected(&self) -> bool {
        *self.state.borrow() != ConnectionState::Disconnected
    }

    /// Calls that wait for an answer now.
    pub fn in_flight(&self) -> usize {
        self.limits
            .in_flight
            .saturating_sub(self.permits.available_permits())
    }

    /// Has a certificate recorded, signed and verified.
    ///
    /// `evidence.decision.engine_profile` may be set every time: it is sent only when the
    /// connection has not seen its digest.
    pub async fn issue(&self, request: IssueRequest, deadline: Instant) -> Result<Issued, ClientError> {
        match self.call(request::Body::Issue(request), deadline).await? {
            response::Body::Issued(issued) => Ok(issued),
            other => Err(unexpected("issued", &other)),
        }
    }

    /// Has a serving certificate signed for the key of `csr` (DER of a PKCS#10 request).
    pub async fn serving(&self, csr: Vec<u8>, deadline: Instant) -> Result<Issued, ClientError> {
        let body = request::Body::Serving(ServingRequest { csr });
        match self.call(body, deadline).await? {
            response::Body::Issued(issued) => Ok(issued),
            other => Err(unexpected("issued", &other)),
        }
    }

    /// What the gate says of itself.
    pub async fn status(&self, deadline: Instant) -> Result<Status, ClientError> {
        let body = request::Body::Status(StatusRequest {});
        match self.call(body, deadline).await? {
            response::Body::Status(status) => Ok(status),
            other => Err(unexpected("status", &other)),
        }
    }

    /// Has the denial of an authenticated caller recorded.
    pub async fn record_denial(
        &self,
        denial: RecordDenial,
        deadline: Instant,
    ) -> Result<DenialRecorded, ClientError> {
        match self.call(request::Body::Denial(denial), deadline).await? {
            response::Body::Denial(recorded) => Ok(recorded),
            other => Err(unexpected("denial", &other)),
        }
    }

    /// Asks where a client certificate (DER) comes from.
    pub async fn origin(&self, certificate: Vec<u8>, deadline: Instant) -> Result<Origin, ClientError> {
        let body = request::Body::Origin(OriginRequest { certificate });
        match self.call(body, deadline).await? {
            response::Body::Origin(origin) => Ok(origin),
            other => Err(unexpected("origin", &other)),
        }
    }

    /// Uploads a piece of something that a policy consists of.
    pub async fn policy_upload(
        &self,
        upload: PolicyUpload,
        deadline: Instant,
    ) -> Result<PolicyUploaded, ClientError> {
        match self.call(request::Body::PolicyUpload(upload), deadline).await? {
            response::Body::PolicyUpload(uploaded) => Ok(uploaded),
            other => Err(unexpected("policy upload", &other)),
        }
    }

    /// Has a policy statement kept, enacted or dropped.
    pub async fn policy_statement(
        &self,
        statement: PolicyStatement,
        deadline: Instant,
    ) -> Result<PolicyTaken, ClientError> {
        match self
            .call(request::Body::PolicyStatement(statement), deadline)
            .await?
        {
            response::Body::PolicyStatement(taken) => Ok(taken),
            other => Err(unexpected("policy statement", &other)),
        }
    }

    /// What decides, and what waits.
    pub async fn policy_state(&self, deadline: Instant) -> Result<PolicyState, ClientError> {
        let body = request::Body::PolicyState(PolicyStateRequest {});
        match self.call(body, deadline).await? {
            response::Body::PolicyState(state) => Ok(state),
            other => Err(unexpected("policy state", &other)),
        }
    }

    /// Reads a piece of a statement or blob.
    pub async fn policy_fetch(
        &self,
        fetch: PolicyFetch,
        deadline: Instant,
    ) -> Result<PolicyFetched, ClientError> {
        match self.call(request::Body::PolicyFetch(fetch), deadline).await? {
            response::Body::PolicyFetch(fetched) => Ok(fetched),
            other => Err(unexpected("policy fetch", &other)),
        }
    }

    /// Reads entries of the ledger.
    pub async fn query(&self, query: QueryRequest, deadline: Instant) -> Result<QueryResponse, ClientError> {
        match self.call(request::Body::Query(query), deadline).await? {
            response::Body::Query(rows) => Ok(rows),
            other => Err(unexpected("query", &other)),
        }
    }

    async fn call(&self, body: request::Body, deadline: Instant) -> Result<response::Body, ClientError> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_full| ClientError::Overloaded { retry_after: None })?;
        let connection = self
            .current
            .borrow()
            .clone()
            .ok_or_else(|| ClientError::Unavailable {
                reason: "the gate is not running".into(),
            })?;
        let call = connection.start(body, deadline, permit)?;
        match call.answer(deadline).await? {
            response::Body::Refusal(refusal) => Err(refusal.into()),
            body => Ok(body),
        }
    }
}

/// Holds the newest stream and forgets it when it ends.
async fn keep_connected<S: Into<GateStream>>(
    mut streams: mpsc::Receiver<S>,
    limits: ClientLimits,
    current: watch::Sender<Option<Arc<Connection>>>,
    state: watch::Sender<ConnectionState>,
) {
    let mut generation = 0u64;
    let mut supplied = true;
    let mut next = streams.recv().await;
    while let Some(stream) = next.take() {
        let (stream, guard) = match open(stream.into()) {
            Ok(opened) => opened,
            Err(error) => {
                warn!(%error, "a stream to the gate could not be used");
                next = streams.recv().await;
                continue;
            }
        };
        generation += 1;
        let connection = Connection::open(stream, &limits);
        current.send_replace(Some(Arc::clone(&connection)));
        state.send_replace(ConnectionState::Connected { generation });
        info!(generation, "connected to the gate");

        let replacement = loop {
            tokio::select! {
                () = connection.ended() => break None,
                stream = streams.recv(), if supplied => match stream {
                    Some(stream) => break Some(stream),
                    None => supplied = false,
                },
                // Every handle is gone: nobody can call.
                () = current.closed() => return connection.close("the client is gone"),
            }
        };
        current.send_replace(None);
        state.send_replace(ConnectionState::Disconnected);
        connection.close("the gate's stream ended");
        info!(generation, "the gate's stream ended");
        // Before the next is waited for: whoever makes it may wait for this.
        drop(guard);
        next = match replacement {
            Some(stream) => Some(stream),
            None => streams.recv().await,
        };
    }
}

fn open(stream: GateStream) -> std::io::Result<(tokio::net::UnixStream, Option<DropGuard>)> {
    match stream {
        GateStream::Tokio(stream) => Ok((stream, None)),
        GateStream::Watched(stream, guard) => Ok((stream, Some(guard))),
        GateStream::Std(stream) => {
            stream.set_nonblocking(true)?;
            Ok((tokio::net::UnixStream::from_std(stream)?, None))
        }
    }
}

fn unexpected(wanted: &'static str, body: &response::Body) -> ClientError {
    let got = match body {
        response::Body::Issued(_) => "issued",
        response::Body::Status(_) => "status",
        response::Body::Denial(_) => "denial",
        response::Body::Query(_) => "query",
        response::Body::Refusal(_) => "refusal",
        response::Body::Origin(_) => "origin",
        response::Body::PolicyUpload(_) => "policy upload",
        response::Body::PolicyStatement(_) => "policy statement",
        response::Body::PolicyState(_) => "policy state",
        response::Body::PolicyFetch(_) => "policy fetch",
    };
    ClientError::Protocol { wanted, got }
}

/// The evidence of a request that has any.
fn evidence_mut(body: &mut request::Body) -> Option<&mut Evidence> {
    match body {
        request::Body::Issue(issue) => issue.evidence.as_mut(),
        request::Body::Denial(denial) => denial.evidence.as_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
