//! The answers of a call on their way out.
//!
//! An answer keeps its request's place and charge until the connection takes it, so a client that
//! does not read is not read from either; after a while what it left lying is dropped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use sealwright_proto::signing::SignResponse;
use sealwright_proto::signing::sign_response::Outcome;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};

use super::super::budget::Charge;

/// The end where answers are put in.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    state: Arc<Mutex<State>>,
    gone: CancellationToken,
}

/// The end that the connection takes answers from. When it is dropped the client is gone.
#[derive(Debug)]
pub struct Answers {
    state: Arc<Mutex<State>>,
    _gone: DropGuard,
}

/// The duty to answer one request.
#[derive(Debug)]
pub(super) struct Ticket {
    id: u64,
    outbox: Outbox,
    held: Option<(OwnedSemaphorePermit, Charge)>,
}

#[derive(Debug)]
struct State {
    answers: VecDeque<Answer>,
    /// Since when the first answer waits.
    since: Instant,
    end: End,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Answer {
    response: SignResponse,
    /// Given back when the answer is taken.
    _held: (OwnedSemaphorePermit, Charge),
}

#[derive(Debug)]
enum End {
    Open,
    With(Status),
    Over,
}

impl Outbox {
    pub(super) fn new() -> (Self, Answers) {
        let state = Arc::new(Mutex::new(State {
            answers: VecDeque::new(),
            since: Instant::now(),
            end: End::Open,
            waker: None,
        }));
        let gone = CancellationToken::new();
        let answers = Answers {
            state: Arc::clone(&state),
            _gone: gone.clone().drop_guard(),
        };
        (Self { state, gone }, answers)
    }

    /// Cancelled when nobody waits for answers any more.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// The duty to answer `id`.
    pub(super) fn ticket(&self, id: u64, place: OwnedSemaphorePermit, charge: Charge) -> Ticket {
        Ticket {
            id,
            outbox: self.clone(),
            held: Some((place, charge)),
        }
    }

    /// Whether the first answer has waited for so long.
    pub(super) fn is_stalled(&self, longest: Duration) -> bool {
        let state = self.state.lock();
        !state.answers.is_empty() && state.since.elapsed() > longest
    }

    /// Ends the answers: after those that are there, or in their place.
    pub(super) fn end(&self, status: Option<Status>, drop_answers: bool) {
        let (dropped, waker) = {
            let mut state = self.state.lock();
            state.end = status.map_or(End::Over, End::With);
            let dropped = drop_answers.then(|| std::mem::take(&mut state.answers));
            (dropped, state.waker.take())
        };
        drop(dropped);
        wake(waker);
    }

    fn push(&self, answer: Answer) {
        let waker = {
            let mut state = self.state.lock();
            if state.answers.is_empty() {
                state.since = Instant::now();
            }
            state.answers.push_back(answer);
            state.waker.take()
        };
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Ticket {
    /// Answers the request.
    pub(super) fn answer(mut self, outcome: Outcome) {
        self.put(outcome);
    }

    /// Makes the charge what a request costs that is worked on; `false` when that does not fit.
    pub(super) fn raise(&mut self, bytes: usize) -> bool {
        let held = self.held.as_mut();
        held.is_some_and(|(_, charge)| charge.raise(bytes))
    }

    fn put(&mut self, outcome: Outcome) {
        if let Some(held) = self.held.take() {
            let response = SignResponse {
                id: self.id,
                outcome: Some(outcome),
            };
            self.outbox.push(Answer {
                response,
                _held: held,
            });
        }
    }
}

impl Drop for Ticket {
    /// A request whose work broke off is answered too.
    fn drop(&mut self) {
        self.put(Outcome::Error(sealwright_proto::rpc::Status {
            code: Code::Internal.into(),
            message: "CSR signing error (internal)".to_owned(),
            details: Vec::new(),
        }));
    }
}

impl Stream for Answers {
    type Item = Result<SignResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.state.lock();
        if let Some(answer) = state.answers.pop_front() {
            state.since = Instant::now();
            drop(state);
            return Poll::Ready(Some(Ok(answer.response)));
        }
        match std::mem::replace(&mut state.end, End::Over) {
            End::With(status) => Poll::Ready(Some(Err(status))),
            End::Over => Poll::Ready(None),
            End::Open => {
                state.end = End::Open;
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
