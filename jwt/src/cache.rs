//! Tokens that were verified, so that one that comes again costs a digest and a look-up.
//!
//! An entry is named by the SHA-256 of the whole token, signature included, and belongs to the
//! generation of the key set that verified it: a newer set drops all of them. Only good tokens are
//! kept. The cache does not know the time: whoever takes an entry holds its claims against the
//! clock again.
//!
//! It is bounded by two halves: the older one is dropped when the younger one is full, and what
//! is asked for in the older one moves to the younger.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sealwright_identity::Digest;

/// Bounded, and safe to share.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    state: Mutex<State<T>>,
    half: usize,
}

#[derive(Debug)]
struct State<T> {
    generation: u64,
    young: HashMap<Digest, Arc<T>>,
    old: HashMap<Digest, Arc<T>>,
}

impl<T> Cache<T> {
    /// Keeps at most `capacity` entries; none for 0.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                generation: 0,
                young: HashMap::new(),
                old: HashMap::new(),
            }),
            half: capacity.div_ceil(2),
        }
    }

    pub(crate) fn get(&self, token: &Digest, generation: u64) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return None;
        }
        if let Some(entry) = state.young.get(token) {
            return Some(Arc::clone(entry));
        }
        let entry = state.old.remove(token)?;
        state.insert(*token, Arc::clone(&entry), self.half);
        Some(entry)
    }

    /// Keeps an entry, unless a newer key set has been seen.
    pub(crate) fn put(&self, token: Digest, generation: u64, entry: Arc<T>) {
        if self.half == 0 {
            return;
        }
        let mut state = self.state.lock();
        if state.generation > generation {
            return;
        }
        if state.generation < generation {
            state.generation = generation;
            state.young = HashMap::new();
            state.old = HashMap::new();
        }
        state.insert(token, entry, self.half);
    }

    /// Drops an entry that no longer holds.
    pub(crate) fn forget(&self, token: &Digest) {
        let mut state = self.state.lock();
        state.young.remove(token);
        state.old.remove(token);
    }
}

impl<T> State<T> {
    fn insert(&mut self, token: Digest, entry: Arc<T>, half: usize) {
        if self.young.len() >= half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(8);
        cache.put(digest(0), 1, Arc::new(0));
        for number in 1..1000 {
            cache.put(digest(number), 1, Arc::new(number));
            assert_eq!(cache.get(&digest(0), 1).as_deref(), Some(&0));
            let state = cache.state.lock();
            assert!(state.young.len() + state.old.len() <= 8);
        }
        assert!(cache.get(&digest(1), 1).is_none());
        cache.forget(&digest(0));
        assert!(cache.get(&digest(0), 1).is_none());

        let none = Cache::new(0);
        none.put(digest(0), 1, Arc::new(0));
        assert!(none.get(&digest(0), 1).is_none());
    }

    #[test]
    fn a_newer_key_set_drops_everything() {
        let cache = Cache::new(8);
        cache.put(digest(0), 1, Arc::new(0));
        // Nobody has been verified with the newer set yet; what the older one verified is over.
        assert!(cache.get(&digest(0), 2).is_none());
        cache.put(digest(1), 2, Arc::new(1));
        assert!(cache.get(&digest(0), 1).is_none());
        // A verification that took its time does not bring the older set back.
        cache.put(digest(0), 1, Arc::new(0));
        assert!(cache.get(&digest(0), 1).is_none());
        assert!(cache.get(&digest(0), 2).is_none());
        assert_eq!(cache.get(&digest(1), 2).as_deref(), Some(&1));
    }
}
