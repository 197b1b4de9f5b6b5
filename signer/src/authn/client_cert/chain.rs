//! Verification of a client's chain against the trust bundle of this moment.
//!
//! Path building and signatures are `webpki`'s, the verifier that rustls itself uses.
//! What it leaves out is added: the leaf must carry clientAuth (an absent extended key
//! usage is not "any" here), and a root that has expired vouches for nobody.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sealwright_identity::{SharedClock, Timestamp, TrustBundle};
use tokio::sync::watch;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use super::Error;
use super::cache::{ChainCache, ChainDigest};
use super::leaf::{self, Window};

/// The longest chain that is looked at.
pub(super) const MAX_CHAIN: usize = 8;

/// A chain that was good, for as long as every certificate of its path is valid.
#[derive(Debug)]
pub(super) struct Verified {
    /// The one URI name of the leaf.
    pub(super) uri: String,
    /// While each certificate of the path, root included, is valid.
    pub(super) window: Window,
}

/// Verifies chains, and remembers those that were good.
#[derive(Debug)]
pub(super) struct ChainVerifier {
    bundle: watch::Receiver<TrustBundle>,
    clock: SharedClock,
    cache: ChainCache,
}

/// The roots of one generation of the trust bundle, parsed.
#[derive(Debug)]
pub(super) struct Anchors {
    pub(super) generation: u64,
    roots: Vec<(TrustAnchor<'static>, Window)>,
}

impl ChainVerifier {
    pub(super) fn new(bundle: watch::Receiver<TrustBundle>, clock: SharedClock) -> Self {
        Self {
            bundle,
            clock,
            cache: ChainCache::default(),
        }
    }

    pub(super) fn verify(&self, chain: &[CertificateDer<'static>]) -> Result<Arc<Verified>, Error> {
        let (leaf, intermediates) = chain.split_first().ok_or(Error::NoCertificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(Error::TooManyCertificates { count: chain.len() });
        }
        let anchors = self.anchors();
        let digest = ChainDigest::of(chain);
        let now = self.clock.now();
        // Outside of the remembered path's window there may be another path, or none:
        // either is found, and said exactly, by verifying again.
        if let Some(known) = self.cache.get(anchors.generation, &digest)
            && known.window.contains(now)
        {
            return Ok(known);
        }
        let verified = Arc::new(anchors.verify(leaf, intermediates, now)?);
        self.cache
            .insert(anchors.generation, digest, Arc::clone(&verified));
        Ok(verified)
    }

    fn anchors(&self) -> Arc<Anchors> {
        let bundle = self.bundle.borrow();
        self.cache
            .anchors(bundle.generation(), || Anchors::parse(&bundle))
    }
}

impl Anchors {
    pub(super) fn parse(bundle: &TrustBundle) -> Self {
        let parse = |der: &Vec<u8>| {
            let window = leaf::window(der).ok()?;
            let der = CertificateDer::from_slice(der);
            let anchor = anchor_from_trusted_cert(&der).ok()?.to_owned();
            Some((anchor, window))
        };
        let roots: Vec<_> = bundle.roots().iter().filter_map(parse).collect();
        if roots.len() < bundle.roots().len() {
            // The issuers' loader checks the bundle; here an unreadable root only vouches for nobody.
            tracing::warn!(
                generation = bundle.generation(),
                unreadable = bundle.roots().len() - roots.len(),
                "trust bundle has roots that cannot be read"
            );
        }
        Self {
            generation: bundle.generation(),
            roots,
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> Result<Verified, Error> {
        let failed = |source| Error::Chain {
            generation: self.generation,
            source,
        };
        let live: Vec<TrustAnchor<'_>> = self
            .roots
            .iter()
            .filter(|(_, window)| window.contains(now))
            .map(|(anchor, _)| anchor.clone())
            .collect();
        let end_entity = EndEntityCert::try_from(leaf).map_err(failed)?;
        let path = end_entity
            .verify_for_usage(
                algorithms(),
                &live,
                intermediates,
                unix_time(now),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(failed)?;
        let facts = leaf::read(leaf)?;
        if !facts.client_auth {
            return Err(Error::Usage);
        }
        Ok(Verified {
            window: self.path_window(&path, facts.window, now)?,
            uri: facts.uri,
        })
    }

    fn path_window(&self, path: &VerifiedPath<'_>, leaf: Window, now: Timestamp) -> Result<Window, Error> {
        let mut window = leaf;
        for intermediate in path.intermediate_certificates() {
            window = window.intersect(leaf::window(&intermediate.der())?);
        }
        // Several roots may share key and name and differ in their dates: any live one will do.
        let anchor = path.anchor();
        let root = self
            .roots
            .iter()
            .find(|(known, root)| known == anchor && root.contains(now));
        Ok(root.map_or(window, |(_, root)| window.intersect(*root)))
    }
}

fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    webpki::ALL_VERIFICATION_ALGS
}

fn unix_time(now: Timestamp) -> UnixTime {
    // Before 1970 nothing is valid, and nothing is at 1970 either.
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}
