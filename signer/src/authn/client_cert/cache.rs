//! Chains that were verified against the current trust bundle, bounded.
//!
//! Only good chains enter, so a stranger can neither fill the cache nor push others
//! out of it. A new generation of the bundle empties it. Dates are not its business.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use super::chain::{Anchors, Verified};

/// The most chains that are remembered, about 300 bytes each.
const CAPACITY: usize = 16_384;

/// A digest over a whole chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChainDigest([u8; SHA256_OUTPUT_LEN]);

impl ChainDigest {
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let mut context = Context::new(&SHA256);
        for certificate in chain {
            // The lengths keep two chains with the same bytes, cut elsewhere, apart.
            context.update(&(certificate.len() as u64).to_be_bytes());
            context.update(certificate);
        }
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

#[derive(Debug, Default)]
pub(super) struct ChainCache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    anchors: Option<Arc<Anchors>>,
    chains: HashMap<ChainDigest, Arc<Verified>>,
    /// The chains in the order they came.
    order: VecDeque<ChainDigest>,
}

impl ChainCache {
    /// The parsed roots of `generation`; parses them once, and forgets all chains then.
    pub(super) fn anchors(&self, generation: u64, parse: impl FnOnce() -> Anchors) -> Arc<Anchors> {
        let mut inner = self.inner.lock();
        if let Some(anchors) = &inner.anchors
            && anchors.generation == generation
        {
            return Arc::clone(anchors);
        }
        let anchors = Arc::new(parse());
        *inner = Inner {
            anchors: Some(Arc::clone(&anchors)),
            ..Inner::default()
        };
        anchors
    }

    pub(super) fn get(&self, generation: u64, digest: &ChainDigest) -> Option<Arc<Verified>> {
        let inner = self.inner.lock();
        if !inner.is_of(generation) {
            return None;
        }
        inner.chains.get(digest).cloned()
    }

    pub(super) fn insert(&self, generation: u64, digest: ChainDigest, verified: Arc<Verified>) {
        let mut inner = self.inner.lock();
        // Verified against roots that have been replaced meanwhile: not worth keeping.
        if !inner.is_of(generation) {
            return;
        }
        if inner.chains.insert(digest, verified).is_none() {
            inner.order.push_back(digest);
        }
        if inner.order.len() > CAPACITY
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.chains.remove(&oldest);
        }
    }
}

impl Inner {
    fn is_of(&self, generation: u64) -> bool {
        self.anchors
            .as_ref()
            .is_some_and(|anchors| anchors.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use sealwright_identity::TrustBundle;

    use super::super::leaf;
    use super::*;
    use crate::authn::tests::support::pki::TestCa;

    fn anchors(generation: u64) -> Anchors {
        Anchors::parse(&TrustBundle::from_ders(generation, []))
    }

    fn digest(number: usize) -> ChainDigest {
        ChainDigest::of(&[CertificateDer::from(number.to_be_bytes().to_vec())])
    }

    fn verified() -> Arc<Verified> {
        let window = leaf::window(&TestCa::root("root").der).unwrap();
        let uri = "spiffe://cluster.local/a".to_owned();
        Arc::new(Verified { uri, window })
    }

    #[test]
    fn holds_so_many_and_drops_the_oldest() {
        let (cache, verified) = (ChainCache::default(), verified());
        cache.anchors(1, || anchors(1));
        for number in 0..CAPACITY + 3 {
            cache.insert(1, digest(number), Arc::clone(&verified));
        }
        assert_eq!(cache.inner.lock().chains.len(), CAPACITY);
        assert!(cache.get(1, &digest(2)).is_none());
        assert!(cache.get(1, &digest(3)).is_some());
        // Known already: takes no second place.
        cache.insert(1, digest(3), verified);
        assert_eq!(cache.inner.lock().order.len(), CAPACITY);
    }

    #[test]
    fn forgets_with_the_bundle() {
        let (cache, verified) = (ChainCache::default(), verified());
        cache.anchors(1, || anchors(1));
        cache.insert(1, digest(1), Arc::clone(&verified));
        cache.anchors(1, || panic!("parsed twice"));
        assert!(cache.get(1, &digest(1)).is_some());
        cache.anchors(2, || anchors(2));
        assert!(cache.get(2, &digest(1)).is_none());
        // A verification that began before the change comes too late.
        cache.insert(1, digest(1), verified);
        assert!(cache.get(1, &digest(1)).is_none());
        assert!(cache.get(2, &digest(1)).is_none());
    }

    #[test]
    fn tells_chains_with_the_same_bytes_apart() {
        let of = |parts: &[&[u8]]| {
            let chain: Vec<_> = parts.iter().map(|part| CertificateDer::from(*part)).collect();
            ChainDigest::of(&chain)
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
    }
}
