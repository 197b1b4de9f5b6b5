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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.lock().chains.len()
    }
}

impl Inner {
    fn is_of(&self, generation: u64) -> bool {
        self.anchors
            .as_ref()
            .is_some_and(|anchors| anchors.generation == generation)
    }
}
