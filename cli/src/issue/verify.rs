//! Checks a signer's answer before a workload relies on it.

use sealwright_identity::{SpiffeId, Timestamp};
use sealwright_x509::{CertificateRef, IssuerChain, LeafTbs, SpkiRef, pem};

use crate::failure::{Class, Failure, OrFail};

/// A verified answer.
#[derive(Debug)]
pub(crate) struct Issued {
    /// The leaf, then the intermediates.
    pub(crate) chain_pem: String,
    /// The root bundle.
    pub(crate) roots_pem: String,
    pub(crate) serial: String,
    /// The first URI name; empty when there is none.
    pub(crate) identity: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
}

/// Verifies that the leaf is for our key, valid now, and signed by a chain that ends in the bundle.
pub(crate) fn verify(answer: &[String], spki: &[u8], now: Timestamp) -> Result<Issued, Failure> {
    let bad = |what: &str| format!("the signer's answer is not usable: {what}");
    let text = |what| Failure::text(Class::Internal, bad(what));
    let (roots_pem, certificates) = answer.split_last().ok_or_else(|| text("it is empty"))?;
    let (leaf_pem, intermediates) = certificates.split_first().ok_or_else(|| text("it has no leaf"))?;
    let leaf_der = pem::decode_one(&[pem::CERTIFICATE], leaf_pem)
        .or_fail_doing(Class::Internal, bad("the leaf is no certificate"))?;
    let leaf =
        CertificateRef::parse(&leaf_der).or_fail_doing(Class::Internal, bad("the leaf is no certificate"))?;
    if leaf.spki_der() != spki {
        return Err(text("the leaf is for another key"));
    }
    let validity = leaf.validity();
    if now < validity.not_before() || now > validity.not_after() {
        return Err(text("the leaf is not valid now; compare the clocks"));
    }
    // Where a root issues leaves itself there is no intermediate.
    let chain_text = if intermediates.is_empty() {
        roots_pem.clone()
    } else {
        intermediates.concat()
    };
    let chain = IssuerChain::load(chain_text.as_bytes(), roots_pem.as_bytes(), now)
        .or_fail_doing(Class::Internal, bad("the chain does not end in the bundle"))?;
    let issuer = SpkiRef::parse(chain.spki_der()).or_fail(Class::Internal)?;
    leaf.verify_signed_by(&issuer)
        .or_fail_doing(Class::Internal, bad("the leaf's signature is not the issuer's"))?;
    Ok(Issued {
        chain_pem: certificates.concat(),
        roots_pem: roots_pem.clone(),
        serial: leaf.serial().to_string(),
        identity: identity(leaf.tbs_der())
            .map(|id| id.to_string())
            .unwrap_or_default(),
        not_before: validity.not_before().to_string(),
        not_after: validity.not_after().to_string(),
    })
}

/// The first SPIFFE ID of a leaf, when the leaf is of this product's profile.
fn identity(tbs: &[u8]) -> Option<SpiffeId> {
    let leaf = LeafTbs::decode(tbs).ok()?;
    leaf.fields().sans.iter().find_map(|san| match san {
        sealwright_identity::San::Uri(id) => Some(id.clone()),
        _ => None,
    })
}
