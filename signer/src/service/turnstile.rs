//! Who is worked for next, when more is asked for than can be done.
//!
//! So many requests are in work at a time, fewer than any queue behind this one has room for, so
//! that what is let in is not refused any more. The others wait here and are let in in turn: the
//! callers one after the other, and of each caller the connections one after the other. Whoever
//! asks for much thus waits for itself; who asks for little is let in after one round.
//!
//! A request is refused at once where it would wait too long, and where its connection has filled
//! its share of the room: as much as is still free (so one connection takes a half, two take a third
//! each, and some of it is always free for others), and no caller more than three quarters.
//!
//! With no queue this costs one lock to come in and one to go out.

mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use queue::Queue;

/// The least and the longest time after which a refused client is asked to come back.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Whose turn a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// The caller, as a hash.
    pub(super) caller: u64,
    /// The connection.
    pub(super) connection: u64,
}

/// What bounds a turnstile.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnstileLimits {
    /// Requests in work.
    pub(super) places: usize,
    /// Requests that wait.
    pub(super) room: usize,
    /// Whoever would wait longer is sent away.
    pub(super) patience: Duration,
}

/// Lets requests in, so many at a time, by turns. Clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Turnstile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: TurnstileLimits,
    /// As in the queue: to see without its lock that nobody waits.
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    busy: usize,
    queue: Queue<oneshot::Sender<Place>>,
    pace: Pace,
}

/// A request refused: after this there may be room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) retry_after: Duration,
}

/// A place among the requests in work. The next is let in when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl Turnstile {
    pub(super) fn new(limits: TurnstileLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State {
                busy: 0,
                queue: Queue::default(),
                pace: Pace::default(),
            }),
        }))
    }

    /// Requests in work, and requests that wait.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.0.state.lock();
        (state.busy, state.queue.len())
    }

    /// Whether a request of this lane would be refused now: asked before anything is spent on it.
    pub(super) fn look(&self, lane: Option<Lane>) -> Result<(), Full> {
        if self.0.waiting.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let state = self.0.state.lock();
        match lane {
            Some(lane) => state.admits(lane, &self.0.limits, Instant::now()),
            None if state.queue.len() >= self.0.limits.room => Err(state.full(Instant::now())),
            None => Ok(()),
        }
    }

    /// Comes in, after a wait if there is a queue.
    pub(super) async fn enter(&self, lane: Lane) -> Result<Place, Full> {
        let mut turn = {
            let mut state = self.0.state.lock();
            if state.busy < self.0.limits.places {
                state.busy += 1;
                return Ok(Place(Arc::clone(&self.0)));
            }
            state.admits(lane, &self.0.limits, Instant::now())?;
            if state.queue.len() == 0 {
                state.pace.begin(Instant::now());
            }
            let (sender, place) = oneshot::channel();
            let ticket = state.queue.push(lane, sender);
            self.0.waiting.store(state.queue.len(), Ordering::Relaxed);
            Turn {
                shared: &self.0,
                lane,
                ticket,
                place,
            }
        };
        match timeout(self.0.limits.patience, &mut turn.place).await {
            Ok(Ok(place)) => Ok(place),
            // The sender is dropped by the turn alone.
            Ok(Err(_)) | Err(_) => Err(self.0.state.lock().full(Instant::now())),
        }
    }
}

/// A request that waits. Dropped, it gives up its turn.
struct Turn<'a> {
    shared: &'a Shared,
    lane: Lane,
    ticket: u64,
    place: oneshot::Receiver<Place>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        // Absent when its turn has come: then the place is in the channel, and is dropped with it.
        let _gone = state.queue.remove(self.lane, self.ticket);
        self.shared.waiting.store(state.queue.len(), Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state.lock();
            let next = state.next(Instant::now());
            self.0.waiting.store(state.queue.len(), Ordering::Relaxed);
            next
        };
        if let Some(next) = next {
            // To one that gives up in this moment: the place comes back, and goes to another.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

impl State {
    /// Whose place it is that became free.
    fn next(&mut self, now: Instant) -> Option<oneshot::Sender<Place>> {
        let next = self.queue.pop();
        match next {
            Some(_) => self.pace.let_in(now, self.queue.len()),
            None => self.busy = self.busy.saturating_sub(1),
        }
        next
    }

    fn admits(&self, lane: Lane, limits: &TurnstileLimits, now: Instant) -> Result<(), Full> {
        let free = limits.room.saturating_sub(self.queue.len());
        let own = self.queue.of(lane);
        let greedy = own.connection >= free || own.caller >= limits.room.div_ceil(4) * 3;
        if greedy || self.pace.wait(own.ahead, now) > limits.patience {
            return Err(self.full(now));
        }
        Ok(())
    }

    fn full(&self, now: Instant) -> Full {
        let (least, longest) = RETRY_AFTER;
        Full {
            retry_after: self.pace.wait(self.queue.len(), now).clamp(least, longest),
        }
    }
}

/// How fast the queue moves.
#[derive(Debug, Default)]
struct Pace {
    /// Seconds from one to the next, a moving average.
    step: f64,
    /// When the last was let in, or the first began to wait.
    last: Option<Instant>,
}

impl Pace {
    /// About so many steps make the average.
    const MEMORY: f64 = 64.0;

    /// Somebody waits where nobody did.
    fn begin(&mut self, now: Instant) {
        self.last = Some(now);
    }

    fn let_in(&mut self, now: Instant, waiting: usize) {
        if let Some(last) = self.last {
            let step = now.saturating_duration_since(last).as_secs_f64();
            self.step += (step - self.step) / Self::MEMORY;
        }
        self.last = (waiting > 0).then_some(now);
    }

    /// What one behind so many would wait; a queue that stands still makes it longer.
    fn wait(&self, ahead: usize, now: Instant) -> Duration {
        if ahead == 0 {
            return Duration::ZERO;
        }
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let moving = Duration::try_from_secs_f64(self.step * f64::from(ahead)).unwrap_or(Duration::MAX);
        let standing = self
            .last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        moving.saturating_add(standing)
    }
}

#[cfg(test)]
mod tests;
