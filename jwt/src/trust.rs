//! Which trust domains a credential may name, and what the grant will name instead.

use sealwright_identity::{SpiffeId, TrustDomain};

/// The primary trust domain, which every certificate names, and the aliases that are
/// accepted in credentials (a domain that was renamed, say).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The domain of every identity that is granted.
    pub domain: TrustDomain,
    /// Other domains that a presented identity may name.
    pub aliases: Vec<TrustDomain>,
}

/// A presented identity that does not belong here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a SPIFFE ID.
    #[error("not a SPIFFE ID")]
    NotSpiffe(#[source] sealwright_identity::SpiffeIdError),
    /// The trust domain is neither the primary one nor an alias.
    #[error("{id} is neither of trust domain {domain} nor of an alias of it")]
    ForeignDomain {
        /// What was presented.
        id: SpiffeId,
        /// The primary trust domain.
        domain: TrustDomain,
    },
}

/// An identity of the primary trust domain, with what was presented when it differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognized {
    /// Of the primary trust domain.
    pub identity: SpiffeId,
    /// As it was presented, of an alias.
    pub presented: Option<SpiffeId>,
}

impl Trust {
    /// Takes a presented SPIFFE ID into the primary trust domain.
    ///
    /// # Errors
    /// When the text is no SPIFFE ID, or one of a foreign trust domain.
    pub fn recognize(&self, text: &str) -> Result<Recognized, Error> {
        let id: SpiffeId = text.parse().map_err(Error::NotSpiffe)?;
        if *id.trust_domain() == self.domain {
            return Ok(Recognized {
                identity: id,
                presented: None,
            });
        }
        if !self.aliases.contains(id.trust_domain()) {
            let domain = self.domain.clone();
            return Err(Error::ForeignDomain { id, domain });
        }
        let identity = id.in_trust_domain(&self.domain).map_err(Error::NotSpiffe)?;
        Ok(Recognized {
            identity,
            presented: Some(id),
        })
    }
}
