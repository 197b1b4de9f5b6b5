//! Tokens that were verified, so that one that comes again costs a digest and a look-up.
//!
//! An entry is named by the SHA-256 of the whole token, signature included, and belongs to the
//! generation of the key set that verified it: a newer set drops all of them. Only good tokens are
//! kept. The cache does not know the time: whoever takes an entry holds its claims against the
//! clock again.

use std::sync::Arc;

use parking_lot::Mutex;
use sealwright_identity::{Digest, Recent};

/// Bounded, and safe to share.
#[derive(Debug)]
pub(crate) struct Cache<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    generation: u64,
    entries: Recent<Digest, Arc<T>>,
}

impl<T> Cache<T> {
    /// Keeps at most `capacity` entries, an odd one more; none for 0.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Mutex::new(State {
            generation: 0,
            entries: Recent::new(capacity),
        }))
    }

    pub(crate) fn get(&self, token: &Digest, generation: u64) -> Option<Arc<T>> {
        let mut state = self.0.lock();
        if state.generation != generation {
            return None;
        }
        state.entries.get(token).map(Arc::clone)
    }

    /// Keeps an entry, unless a newer key set has been seen.
    pub(crate) fn put(&self, token: Digest, generation: u64, entry: Arc<T>) {
        let mut state = self.0.lock();
        if state.generation > generation {
            return;
        }
        if state.generation < generation {
            state.generation = generation;
            state.entries.clear();
        }
        state.entries.put(token, entry);
    }

    /// Drops an entry that no longer holds.
    pub(crate) fn forget(&self, token: &Digest) {
        self.0.lock().entries.remove(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_key_set_drops_everything() {
        let digest = |number: u32| Digest::of(&number.to_be_bytes());
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
