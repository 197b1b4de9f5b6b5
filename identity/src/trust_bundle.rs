//! The roots that a verifier trusts.

use std::sync::Arc;

use crate::Digest;

/// Root certificates of one trust domain, in DER; old and new ones together while a root is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    generation: u64,
    roots: Arc<[Vec<u8>]>,
}

impl TrustBundle {
    /// A bundle; duplicates are dropped, the order of the first ones is kept.
    #[must_use]
    pub fn from_ders(generation: u64, roots: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut unique: Vec<Vec<u8>> = Vec::new();
        for root in roots {
            if !unique.contains(&root) {
                unique.push(root);
            }
        }
        Self {
            generation,
            roots: unique.into(),
        }
    }

    /// Counts the bundles that were loaded; what was verified against an older one is verified again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// A digest over the roots in their order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let each: Vec<u8> = self
            .roots
            .iter()
            .flat_map(|root| *Digest::of(root).as_bytes())
            .collect();
        Digest::of(&each)
    }
}
