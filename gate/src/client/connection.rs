//! One stream to the gate: a reader task, a writer task, and the calls that wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use parking_lot::Mutex;
use sealwright_proto::gate::{Request, Response, request, response};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{ClientError, ClientLimits, evidence_mut};
use crate::protocol::{MessageCodec, ProtocolError, encode_frame};

/// Requests the writer puts into one write.
const WRITE_BATCH: usize = 64;

type Answer = Result<response::Body, ClientError>;

/// Shared by the handle, the two tasks and every call in flight.
#[derive(Debug)]
pub(super) struct Connection {
    next_id: AtomicU64,
    outgoing: mpsc::Sender<Request>,
    /// `None` once closed: nothing can begin to wait on a dead stream.
    waiting: Mutex<Option<HashMap<u64, Waiting>>>,
    closed: CancellationToken,
}

/// A call that waits; its permit is given back when it is answered or given up.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

/// A call on its way. Dropped before its answer, it cancels.
#[derive(Debug)]
pub(super) struct Call {
    connection: Arc<Connection>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Connection {
    pub(super) fn open(stream: UnixStream, limits: &ClientLimits) -> Arc<Self> {
        // Twice the calls: each may be followed by its cancellation.
        let (outgoing, requests) = mpsc::channel(limits.in_flight.saturating_mul(2).max(1));
        let connection = Arc::new(Self {
            next_id: AtomicU64::new(1),
            outgoing,
            waiting: Mutex::new(Some(HashMap::new())),
            closed: CancellationToken::new(),
        });
        let (read_half, write_half) = stream.into_split();
        tokio::spawn(read(Arc::clone(&connection), read_half));
        tokio::spawn(write(
            Arc::clone(&connection),
            write_half,
            requests,
            limits.write_stall,
        ));
        connection
    }

    /// Registers the call and queues its request.
    pub(super) fn start(
        self: &Arc<Self>,
        body: request::Body,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Result<Call, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Deadline);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let waiting = Waiting {
            answer: sender,
            _permit: permit,
        };
        match self.waiting.lock().as_mut() {
            Some(calls) => calls.insert(id, waiting),
            None => return Err(ended("the gate's stream ended")),
        };
        let call = Call {
            connection: Arc::clone(self),
            id,
            answer,
            answered: false,
        };
        let request = Request {
            id,
            timeout_ms: milliseconds(left),
            body: Some(body),
        };
        match self.outgoing.try_send(request) {
            Ok(()) => Ok(call),
            Err(error) => {
                call.forget();
                Err(match error {
                    mpsc::error::TrySendError::Full(_) => ClientError::Overloaded { retry_after: None },
                    mpsc::error::TrySendError::Closed(_) => ended("the gate's stream ended"),
                })
            }
        }
    }

    /// Returns when the stream has ended, for whatever reason.
    pub(super) async fn ended(&self) {
        self.closed.cancelled().await;
    }

    /// Ends both tasks and fails every call that waits.
    pub(super) fn close(&self, reason: &str) {
        self.closed.cancel();
        let calls = self.waiting.lock().take();
        for waiting in calls.into_iter().flat_map(HashMap::into_values) {
            // Whoever no longer listens has dropped the call.
            let _gone = waiting.answer.send(Err(ended(reason)));
        }
    }

    fn answer(&self, id: u64, answer: Answer) {
        let waiting = self.take(id);
        match waiting {
            Some(waiting) => {
                let _gone = waiting.answer.send(answer);
            }
            None => debug!(id, "an answer came for a call that was given up"),
        }
    }

    fn take(&self, id: u64) -> Option<Waiting> {
        self.waiting.lock().as_mut()?.remove(&id)
    }
}

impl Call {
    /// Waits until `deadline`. Dropping the future cancels the call in the gate.
    pub(super) async fn answer(mut self, deadline: Instant) -> Answer {
        match timeout_at(deadline, &mut self.answer).await {
            Ok(received) => {
                self.answered = true;
                received.unwrap_or_else(|_gone| Err(ended("the gate's stream ended")))
            }
            Err(_elapsed) => Err(ClientError::Deadline),
        }
    }

    /// Ends the call without telling the gate, which never heard of it.
    fn forget(mut self) {
        self.answered = true;
        self.connection.take(self.id);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.answered || self.connection.take(self.id).is_none() {
            return;
        }
        let cancel = Request {
            id: 0,
            timeout_ms: 0,
            body: Some(request::Body::Cancel(self.id)),
        };
        // A full queue loses the word; the gate has the deadline as well.
        let _lost = self.connection.outgoing.try_send(cancel);
    }
}

async fn read(connection: Arc<Connection>, stream: OwnedReadHalf) {
    let codec = MessageCodec::<Response, Request>::default();
    let mut frames = FramedRead::with_capacity(stream, codec, 64 * 1024);
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            () = connection.ended() => return,
        };
        match frame {
            Some(Ok(Response { id, body: Some(body) })) => connection.answer(id, Ok(body)),
            Some(Ok(Response { id, body: None })) => {
                warn!(id, "the gate sent an answer without a body");
                break;
            }
            Some(Err(error)) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "reading from the gate failed"
                );
                break;
            }
            None => break,
        }
    }
    connection.close("the gate's stream ended");
}

async fn write(
    connection: Arc<Connection>,
    mut stream: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Request>,
    stall: Duration,
) {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let mut profile = String::new();
    loop {
        let taken = tokio::select! {
            taken = requests.recv_many(&mut batch, WRITE_BATCH) => taken,
            () = connection.ended() => return,
        };
        if taken == 0 {
            break;
        }
        // Answers of policies come in crowds: who is ready too goes along, in one write.
        yield_now().await;
        while batch.len() < WRITE_BATCH
            && let Ok(request) = requests.try_recv()
        {
            batch.push(request);
        }
        for mut request in batch.drain(..) {
            if let Some(body) = request.body.as_mut() {
                elide_engine_profile(body, &mut profile);
            }
            if let Err(error) = encode_frame(&request, &mut buffer) {
                profile.clear();
                connection.answer(request.id, Err(unsendable(&error)));
            }
        }
        match timeout(stall, stream.write_all_buf(&mut buffer)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(%error, "writing to the gate failed");
                break;
            }
            Err(_elapsed) => {
                warn!("the gate stopped reading; its stream is given up");
                break;
            }
        }
    }
    connection.close("the gate's stream ended");
}

/// Leaves the engine profile out when this connection has carried it; `sent` is its digest.
fn elide_engine_profile(body: &mut request::Body, sent: &mut String) {
    let Some(decision) = evidence_mut(body).and_then(|evidence| evidence.decision.as_mut()) else {
        return;
    };
    if decision.engine_profile.is_empty() {
        return;
    }
    if *sent == decision.engine_profile_digest {
        decision.engine_profile = String::new();
    } else {
        sent.clone_from(&decision.engine_profile_digest);
    }
}

fn unsendable(error: &ProtocolError) -> ClientError {
    match error {
        ProtocolError::TooLarge { bytes } => ClientError::TooLarge { bytes: *bytes },
        other => ended(&other.to_string()),
    }
}

fn ended(reason: &str) -> ClientError {
    ClientError::Unavailable {
        reason: reason.to_owned(),
    }
}

/// Rounded up, so that a deadline below a millisecond is not "the gate's own limit".
fn milliseconds(left: Duration) -> u32 {
    u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}
