//! A bounded map that forgets what was not used lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps the entries that were put or asked for last, at least half of its capacity of them.
///
/// It has two halves: when the younger is full the older is dropped and the younger takes its
/// place; what is asked for in the older moves to the younger. No lock, no clock.
#[derive(Clone, Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Keeps at most `capacity` entries, an odd one more; none for 0. Takes no memory yet.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: capacity.div_ceil(2),
        }
    }

    /// The entry of a key, which is then the one used last.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.put(key, value);
        }
        self.young.get(key)
    }

    /// Keeps an entry.
    pub fn put(&mut self, key: K, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets one entry.
    pub fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets all, and gives the memory back.
    pub fn clear(&mut self) {
        self.young = HashMap::new();
        self.old = HashMap::new();
    }

    /// How many entries are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let mut recent = Recent::new(8);
        recent.put(0, "zero");
        for number in 1..1000 {
            recent.put(number, "other");
            recent.put(number, "another");
            assert_eq!(recent.get(&0), Some(&"zero"));
            assert!(recent.len() <= 8);
        }
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&999), Some(&"another"));
        recent.remove(&0);
        assert_eq!(recent.get(&0), None);
        recent.clear();
        assert!(recent.is_empty());
    }

    #[test]
    fn without_room_it_keeps_nothing() {
        let mut recent = Recent::new(0);
        recent.put(1, 1);
        assert_eq!(recent.get(&1), None);
        assert!(recent.is_empty());
    }
}
