//! The queue of a turnstile: callers in turn, of each caller its connections in turn.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::Lane;

/// Who waits. A caller or connection whose last request gave up stays until its turn comes.
#[derive(Debug)]
pub(super) struct Queue<T> {
    tickets: u64,
    waiting: usize,
    callers: Turns<Caller<T>>,
}

/// Items by key, each once in the order of turns.
#[derive(Debug)]
struct Turns<V> {
    order: VecDeque<u64>,
    items: HashMap<u64, V>,
}

#[derive(Debug)]
struct Caller<T> {
    waiting: usize,
    connections: Turns<VecDeque<(u64, T)>>,
}

/// What a lane has in the queue already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Requests of its connection.
    pub(super) connection: usize,
    /// Requests of its caller.
    pub(super) caller: usize,
    /// At most so many are let in before one that came now.
    pub(super) ahead: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            tickets: 0,
            waiting: 0,
            callers: Turns::default(),
        }
    }
}

impl<V> Default for Turns<V> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            items: HashMap::new(),
        }
    }
}

impl<V> Turns<V> {
    fn of(&mut self, key: u64, new: impl FnOnce() -> V) -> &mut V {
        match self.items.entry(key) {
            Entry::Occupied(item) => item.into_mut(),
            Entry::Vacant(place) => {
                self.order.push_back(key);
                place.insert(new())
            }
        }
    }

    /// Takes from whose turn it is. `take` also says how much is left: who has nothing leaves.
    fn take<T>(&mut self, mut take: impl FnMut(&mut V) -> (Option<T>, usize)) -> Option<T> {
        while let Some(key) = self.order.pop_front() {
            let Some(item) = self.items.get_mut(&key) else {
                continue;
            };
            let (taken, left) = take(item);
            if left == 0 {
                self.items.remove(&key);
            } else {
                self.order.push_back(key);
            }
            if taken.is_some() {
                return taken;
            }
        }
        None
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Waits behind the others of its lane. The ticket is for [`Self::remove`].
    pub(super) fn push(&mut self, lane: Lane, item: T) -> u64 {
        self.tickets += 1;
        self.waiting += 1;
        let caller = self.callers.of(lane.caller, || Caller {
            waiting: 0,
            connections: Turns::default(),
        });
        caller.waiting += 1;
        let line = caller.connections.of(lane.connection, VecDeque::new);
        line.push_back((self.tickets, item));
        self.tickets
    }

    /// The next in turn.
    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.callers.take(|caller| {
            let next = caller
                .connections
                .take(|line| (line.pop_front().map(|(_ticket, item)| item), line.len()));
            caller.waiting -= usize::from(next.is_some());
            (next, caller.waiting)
        });
        self.waiting -= usize::from(next.is_some());
        next
    }

    /// Takes out one that gave up, if its turn has not come yet.
    pub(super) fn remove(&mut self, lane: Lane, ticket: u64) -> Option<T> {
        let caller = self.callers.items.get_mut(&lane.caller)?;
        let line = caller.connections.items.get_mut(&lane.connection)?;
        let at = line
            .binary_search_by_key(&ticket, |(ticket, _item)| *ticket)
            .ok()?;
        let (_ticket, item) = line.remove(at)?;
        caller.waiting -= 1;
        self.waiting -= 1;
        Some(item)
    }

    pub(super) fn of(&self, lane: Lane) -> Share {
        let callers = self.callers.items.len().max(1);
        let Some(caller) = self.callers.items.get(&lane.caller) else {
            return Share {
                ahead: callers.min(self.waiting),
                ..Share::default()
            };
        };
        let connections = caller.connections.items.len().max(1);
        let connection = caller
            .connections
            .items
            .get(&lane.connection)
            .map_or(0, VecDeque::len);
        let of_caller = connections.saturating_mul(connection + 1).min(caller.waiting);
        Share {
            connection,
            caller: caller.waiting,
            ahead: callers.saturating_mul(of_caller + 1).min(self.waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(caller: u64, connection: u64) -> Lane {
        Lane { caller, connection }
    }

    fn filled(lanes: &[(u64, u64)]) -> Queue<usize> {
        let mut queue = Queue::default();
        for (number, (caller, connection)) in lanes.iter().enumerate() {
            queue.push(lane(*caller, *connection), number);
        }
        queue
    }

    fn drained(mut queue: Queue<usize>) -> Vec<usize> {
        let all = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(queue.len(), 0);
        assert!(queue.callers.items.is_empty() && queue.callers.order.is_empty());
        all
    }

    #[test]
    fn callers_take_turns_and_their_connections_within() {
        // One caller with four requests on one connection and one on another; a second with two.
        let queue = filled(&[(1, 1), (1, 1), (1, 1), (1, 1), (1, 2), (2, 3), (2, 3)]);
        assert_eq!(drained(queue), [0, 5, 4, 6, 1, 2, 3]);
    }

    #[test]
    fn who_gives_up_is_out_and_counts_no_more() {
        let mut queue = filled(&[(1, 1), (1, 1), (2, 2)]);
        assert_eq!(queue.remove(lane(1, 1), 1), Some(0));
        assert_eq!(queue.remove(lane(1, 1), 1), None);
        assert_eq!(queue.remove(lane(2, 2), 3), Some(2));
        assert_eq!(queue.of(lane(2, 2)).caller, 0);
        assert_eq!(queue.len(), 1);
        // Comes again before its turn: it still has only the one.
        queue.push(lane(2, 2), 9);
        queue.push(lane(2, 2), 10);
        assert_eq!(drained(queue), [1, 9, 10]);
    }

    #[test]
    fn what_is_ahead_is_never_less_than_what_comes_before() {
        let lanes = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 3), (2, 3), (3, 4)];
        for last in [(1, 1), (1, 2), (1, 9), (2, 3), (3, 4), (4, 5)] {
            let before = filled(&lanes).of(lane(last.0, last.1)).ahead;
            let all: Vec<_> = lanes.iter().copied().chain([last]).collect();
            let place = drained(filled(&all)).iter().position(|item| *item == lanes.len());
            assert!(place.unwrap() <= before, "{last:?}: {place:?} {before}");
        }
    }
}
