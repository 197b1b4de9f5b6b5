//! The messages of a call on their way in, each charged to the budget before its bytes are read.
//!
//! tonic decodes the messages; this reads only their headers, as the bytes go by. A message that
//! is too large, or does not fit the budget, ends the call there: nothing of it is held.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::super::admission::Sizes;
use super::super::budget::{Budget, Charge};
use super::super::status::RequestError;
use crate::acceptor::Standing;

const HEADER_BYTES: usize = 5;

/// What is known of the messages that came.
#[derive(Clone, Debug)]
pub(in crate::service) struct Inbox {
    state: Arc<Mutex<State>>,
    sizes: Sizes,
    budget: Budget,
    holder: Arc<Standing>,
}

#[derive(Debug, Default)]
struct State {
    header: Vec<u8>,
    /// Bytes of the message at hand that have not come.
    missing: usize,
    /// Since when a message is there in part.
    incomplete: Option<Instant>,
    /// Of the messages that have begun and were not taken.
    charges: VecDeque<Charge>,
    failure: Option<RequestError>,
}

/// A request body that tells its [`Inbox`] of each message.
#[derive(Debug)]
pub(in crate::service) struct Metered {
    body: Body,
    inbox: Inbox,
}

impl Inbox {
    pub(in crate::service) fn new(sizes: Sizes, budget: Budget, holder: Arc<Standing>) -> Self {
        Self {
            state: Arc::default(),
            sizes,
            budget,
            holder,
        }
    }

    /// The body as seen by this inbox.
    pub(in crate::service) fn meter(&self, body: Body) -> Metered {
        let inbox = self.clone();
        Metered { body, inbox }
    }

    /// The charge of the message that was decoded last.
    pub(super) fn take(&self) -> Option<Charge> {
        self.state.lock().charges.pop_front()
    }

    /// Why the messages ended, when they did not end well.
    pub(super) fn failure(&self) -> RequestError {
        let failure = self.state.lock().failure.take();
        failure.unwrap_or(RequestError::MessageMalformed)
    }

    /// Whether a message has been there in part for so long.
    pub(super) fn is_stuck(&self, longest: Duration) -> bool {
        let since = self.state.lock().incomplete;
        since.is_some_and(|since| since.elapsed() > longest)
    }

    /// Nothing was read for a while, for reasons of ours.
    pub(super) fn excuse(&self) {
        if let Some(since) = &mut self.state.lock().incomplete {
            *since = Instant::now();
        }
    }

    fn see(&self, mut data: &[u8]) -> Result<(), Status> {
        let mut state = self.state.lock();
        while !data.is_empty() {
            if state.missing == 0 {
                let wanted = HEADER_BYTES - state.header.len();
                let (head, rest) = data.split_at(wanted.min(data.len()));
                state.header.extend_from_slice(head);
                data = rest;
                if let Some(bytes) = length(&state.header) {
                    state.header.clear();
                    match self.admit(bytes) {
                        Ok(charge) => state.charges.push_back(charge),
                        Err(failure) => {
                            state.failure = Some(failure);
                            // Replaced by the failure where the call ends.
                            return Err(Status::resource_exhausted("refused"));
                        }
                    }
                    state.missing = bytes;
                }
            } else {
                let (_, rest) = data.split_at(state.missing.min(data.len()));
                state.missing -= data.len() - rest.len();
                data = rest;
            }
        }
        let whole = state.missing == 0 && state.header.is_empty();
        state.incomplete = (!whole).then(|| state.incomplete.unwrap_or_else(Instant::now));
        Ok(())
    }

    fn admit(&self, bytes: usize) -> Result<Charge, RequestError> {
        self.sizes.check(bytes)?;
        let whole = bytes.saturating_add(HEADER_BYTES);
        self.budget
            .charge(whole, &self.holder)
            .ok_or(RequestError::Overloaded)
    }
}

fn length(header: &[u8]) -> Option<usize> {
    let header: [u8; HEADER_BYTES] = header.try_into().ok()?;
    let [_flag, length @ ..] = header;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(status) = self.inbox.see(data)
        {
            return Poll::Ready(Some(Err(status)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
