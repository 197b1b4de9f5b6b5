//! Certificates that a ceremony made or imported, with what is above them.

use sealwright_identity::{KeyType, Timestamp};
use sealwright_statement::policy::Name;
use sealwright_x509::{AuthorityTbs, IssuerChain};

use crate::error::Error;

/// A key that is in a token.
#[derive(Clone, Debug)]
pub(crate) struct MadeKey {
    pub(crate) name: Name,
    pub(crate) token: Name,
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
    pub(crate) key_type: KeyType,
    pub(crate) spki: Vec<u8>,
}

/// A CA certificate.
#[derive(Clone, Debug)]
pub(crate) struct MadeCertificate {
    pub(crate) name: Name,
    pub(crate) der: Vec<u8>,
    /// The certificates above it, its issuer first, the root last; none for a root.
    pub(crate) parents: Vec<Vec<u8>>,
    /// What it was built from, for what it issues; none when it came from elsewhere.
    pub(crate) built: Option<AuthorityTbs>,
    /// The key that it is for.
    pub(crate) key: MadeKey,
}

impl MadeCertificate {
    /// Validates the path to the root, by ourselves.
    pub(crate) fn validate(&self, at: Timestamp) -> Result<(), Error> {
        let invalid = |error: &dyn std::error::Error| {
            let source = error.source().map(|source| format!(": {source}"));
            Error::check(
                self.name.as_str(),
                format!(
                    "its path to the root does not hold: {error}{}",
                    source.unwrap_or_default()
                ),
            )
        };
        let mut chain = vec![self.der.clone()];
        let mut between = self.parents.clone();
        let root = between.pop().unwrap_or_else(|| self.der.clone());
        chain.extend(between);
        IssuerChain::from_ders(chain, vec![root], at).map_err(|error| invalid(&error))?;
        Ok(())
    }

    /// The root above it, or itself.
    pub(crate) fn root(&self) -> &[u8] {
        self.parents.last().unwrap_or(&self.der)
    }
}
