//! One connection: frames in, work in many tasks, answers out in any order.
//!
//! Bounded on every side: frames by size, work by number and deadline, answers by a queue
//! whose fullness stops the reading. What a frame cannot be is answered by closing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use parking_lot::Mutex;
use sealwright_proto::gate::{Request, Response, request, response};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::refused::Refused;
use crate::config::Role;
use crate::protocol::{MessageCodec, ProtocolError, encode_frame};

/// Answers the writer puts into one write.
const WRITE_BATCH: usize = 64;

/// How long the other end may refuse to read.
const WRITE_STALL: Duration = Duration::from_secs(15);

/// How long work that has begun may take once the connection ends.
const DRAIN: Duration = Duration::from_secs(8);

/// What answers requests.
pub(super) trait Handler: Send + Sync + 'static {
    /// Called in the order of the frames, before the request is handled.
    fn prepare(
        &self,
        body: &mut request::Body,
        roles: Roles,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Called for many requests at once; runs to its end even when nobody waits any more.
    fn handle(&self, body: request::Body, context: Context) -> impl Future<Output = response::Body> + Send;
}

/// What bounds a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Requests in work.
    pub(super) in_flight: usize,
    /// The longest deadline.
    pub(super) timeout: Duration,
}

/// What a connection may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    issue: bool,
    read: bool,
}

impl Roles {
    /// The peer of an inherited stream, who is the front.
    pub(super) const ALL: Self = Self {
        issue: true,
        read: true,
    };

    pub(super) fn of(roles: &[Role]) -> Self {
        Self {
            issue: roles.contains(&Role::Issue),
            read: roles.contains(&Role::Read),
        }
    }

    /// Refuses unless the role is there.
    pub(super) fn require(self, role: Role) -> Result<(), Refused> {
        match role {
            Role::Issue if !self.issue => Err(Refused::Forbidden("the role \"issue\"")),
            Role::Read if !self.read => Err(Refused::Forbidden("the role \"read\"")),
            Role::Issue | Role::Read => Ok(()),
        }
    }
}

/// What a request carries besides its body.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) roles: Roles,
    pub(super) deadline: Instant,
    cancelled: Arc<AtomicBool>,
}

impl Context {
    /// Refuses when nobody waits any more: asked before anything that cannot be undone.
    pub(super) fn still_wanted(&self) -> Result<(), Refused> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Refused::Cancelled);
        }
        if self.deadline <= Instant::now() {
            return Err(Refused::Deadline);
        }
        Ok(())
    }
}

/// The requests in work, by id.
type Calls = Arc<Mutex<HashMap<u64, Arc<AtomicBool>>>>;

/// Serves until the stream ends, fails, or `stop` is cancelled; then lets work that has
/// begun come to its end. After `stop` that work is still answered; after the end of the
/// stream whatever was not yet recorded is given up.
pub(super) async fn serve<H: Handler>(
    stream: UnixStream,
    roles: Roles,
    handler: Arc<H>,
    bounds: Bounds,
    stop: CancellationToken,
) -> Result<(), ProtocolError> {
    let (read_half, write_half) = stream.into_split();
    let (answers, outgoing) = mpsc::channel(bounds.in_flight);
    let unwritable = CancellationToken::new();
    let writer = tokio::spawn(write(write_half, outgoing, unwritable.clone()));
    let desk = Desk {
        roles,
        handler,
        bounds,
        answers,
        permits: Arc::new(Semaphore::new(bounds.in_flight)),
        calls: Calls::default(),
    };
    let codec = MessageCodec::<Request, Response>::default();
    let mut frames = FramedRead::with_capacity(read_half, codec, 64 * 1024);
    let outcome = loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            () = stop.cancelled() => break Ok(()),
            () = unwritable.cancelled() => break Ok(()),
        };
        match frame {
            Some(Ok(request)) => {
                if let Err(error) = desk.take(request).await {
                    break Err(error);
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    if !stop.is_cancelled() {
        desk.give_up();
    }
    desk.drain().await;
    drop(desk);
    if timeout(WRITE_STALL, writer).await.is_err() {
        warn!("the last answers could not be written");
    }
    outcome
}

/// Takes requests and hands each to a task of its own.
struct Desk<H> {
    roles: Roles,
    handler: Arc<H>,
    bounds: Bounds,
    answers: mpsc::Sender<Response>,
    permits: Arc<Semaphore>,
    calls: Calls,
}

impl<H: Handler> Desk<H> {
    async fn take(&self, request: Request) -> Result<(), ProtocolError> {
        let Request { id, timeout_ms, body } = request;
        let mut body = match body {
            Some(request::Body::Cancel(id)) => {
                if let Some(cancelled) = self.calls.lock().get(&id) {
                    cancelled.store(true, Ordering::Relaxed);
                }
                return Ok(());
            }
            Some(body) => body,
            None => return Err(garbage("a request without a body")),
        };
        let prepared = self.handler.prepare(&mut body, self.roles).await;
        let admitted = match prepared {
            Ok(()) => Arc::clone(&self.permits)
                .try_acquire_owned()
                .map_err(|_full| Refused::overloaded()),
            Err(refused) => Err(refused),
        };
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refused) => {
                let body = Some(response::Body::Refusal(refused.into()));
                // The writer is gone only when the connection is.
                let _gone = self.answers.send(Response { id, body }).await;
                return Ok(());
            }
        };
        let cancelled = match self.calls.lock().entry(id) {
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::default())),
            Entry::Occupied(_) => return Err(garbage("an id that is in use")),
        };
        let asked = match timeout_ms {
            0 => self.bounds.timeout,
            ms => self.bounds.timeout.min(Duration::from_millis(ms.into())),
        };
        let context = Context {
            roles: self.roles,
            deadline: Instant::now() + asked,
            cancelled,
        };
        self.work(id, body, context, permit);
        Ok(())
    }

    fn work(&self, id: u64, body: request::Body, context: Context, permit: OwnedSemaphorePermit) {
        let handler = Arc::clone(&self.handler);
        let answers = self.answers.clone();
        let calls = Arc::clone(&self.calls);
        tokio::spawn(async move {
            let deadline = context.deadline;
            let mut work = std::pin::pin!(handler.handle(body, context));
            let answer = tokio::select! {
                biased;
                answer = &mut work => Some(answer),
                () = sleep_until(deadline) => None,
            };
            let late = answer.is_none();
            let body = answer.unwrap_or_else(|| response::Body::Refusal(Refused::Deadline.into()));
            calls.lock().remove(&id);
            let body = Some(body);
            let _gone = answers.send(Response { id, body }).await;
            if late {
                // What was recorded is brought to its end, and counts until then.
                work.await;
            }
            drop(permit);
        });
    }

    fn give_up(&self) {
        for cancelled in self.calls.lock().values() {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    async fn drain(&self) {
        let every = u32::try_from(self.bounds.in_flight).unwrap_or(u32::MAX);
        if timeout(DRAIN, self.permits.acquire_many(every)).await.is_err() {
            warn!("requests were still in work when their connection ended");
        }
    }
}

async fn write(
    mut stream: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Response>,
    unwritable: CancellationToken,
) {
    // However this ends, reading on would be for nothing.
    let _guard = unwritable.drop_guard();
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    while outgoing.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        // Answers come in flocks, a commit's at a time: who waits until the others of the flock
        // have had their turn puts them all into one write.
        tokio::task::yield_now().await;
        while batch.len() < WRITE_BATCH {
            let Ok(response) = outgoing.try_recv() else { break };
            batch.push(response);
        }
        for response in batch.drain(..) {
            if let Err(error) = encode_frame(&response, &mut buffer) {
                warn!(%error, "an answer could not be sent");
                let refusal = Refused::Internal(error.to_string());
                let response = Response {
                    id: response.id,
                    body: Some(response::Body::Refusal(refusal.into())),
                };
                if encode_frame(&response, &mut buffer).is_err() {
                    return;
                }
            }
        }
        match timeout(WRITE_STALL, stream.write_all_buf(&mut buffer)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return,
            Err(_elapsed) => {
                warn!("a peer stopped reading its answers; its connection is closed");
                return;
            }
        }
    }
}

fn garbage(what: &'static str) -> ProtocolError {
    ProtocolError::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests;
