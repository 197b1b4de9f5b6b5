//! Good answers, kept for a short time: bounded in number, and keyed by a digest of the token.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};

use crate::authn::caller::KubernetesFacts;

/// The answers of one cluster.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Digest, Entry>,
    /// Oldest first. All have the same life, so what is to be forgotten is in front.
    order: VecDeque<Digest>,
    keep_for: Duration,
    capacity: usize,
}

#[derive(Debug)]
struct Entry {
    facts: Arc<KubernetesFacts>,
    from: Timestamp,
    until: Timestamp,
}

impl Cache {
    pub(super) fn new(keep_for: Duration, capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            keep_for,
            capacity,
        }
    }

    /// A clock that was set back does not lengthen a life: nothing counts before it was kept.
    pub(super) fn get(&self, token: &Digest, now: Timestamp) -> Option<Arc<KubernetesFacts>> {
        let entry = self.entries.get(token)?;
        (entry.from <= now && now < entry.until).then(|| Arc::clone(&entry.facts))
    }

    /// Keeps an answer that was asked for at `asked_at`, never past `expires_at`.
    pub(super) fn put(
        &mut self,
        token: Digest,
        facts: Arc<KubernetesFacts>,
        asked_at: Timestamp,
        expires_at: Timestamp,
    ) {
        let until = asked_at.saturating_add(self.keep_for).min(expires_at);
        if self.capacity == 0 || until <= asked_at {
            return;
        }
        self.forget_what_is_over(asked_at);
        let entry = Entry {
            facts,
            from: asked_at,
            until,
        };
        if self.entries.insert(token, entry).is_none() {
            self.order.push_back(token);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    fn forget_what_is_over(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front() {
            let over = self.entries.get(oldest).is_none_or(|entry| entry.until <= now);
            if !over && self.order.len() < self.capacity {
                return;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn facts() -> Arc<KubernetesFacts> {
        Arc::new(KubernetesFacts {
            namespace: "shop".into(),
            service_account: "cart".into(),
            service_account_uid: None,
            pod: None,
            node: None,
        })
    }

    fn token(number: u32) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn keeps_for_its_time_and_not_past_exp() {
        let mut cache = Cache::new(Duration::from_secs(30), 10);
        cache.put(token(1), facts(), at(100), at(1_000));
        cache.put(token(2), facts(), at(100), at(110));
        cache.put(token(3), facts(), at(100), at(100));
        let kept = |now, number| cache.get(&token(number), at(now)).is_some();
        assert!(kept(100, 1) && kept(129, 1) && !kept(130, 1));
        assert!(kept(109, 2) && !kept(110, 2));
        assert!(!kept(100, 3));
        assert!(!kept(99, 1), "the clock was set back");
    }

    #[test]
    fn is_bounded_and_forgets_the_oldest() {
        let mut cache = Cache::new(Duration::from_secs(30), 3);
        for number in 0..1_000 {
            cache.put(token(number), facts(), at(100), at(1_000));
            assert!(cache.entries.len() <= 3 && cache.order.len() <= 3);
        }
        assert!(cache.get(&token(996), at(100)).is_none());
        assert!((997..1_000).all(|number| cache.get(&token(number), at(100)).is_some()));
        cache.put(token(997), facts(), at(140), at(1_000));
        assert_eq!(cache.entries.len(), 1, "what is over is forgotten");
        cache.clear();
        assert!(cache.get(&token(997), at(140)).is_none());
        let mut none = Cache::new(Duration::from_secs(30), 0);
        none.put(token(1), facts(), at(100), at(1_000));
        assert!(none.entries.is_empty());
    }
}
