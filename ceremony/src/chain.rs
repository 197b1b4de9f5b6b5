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

/// Validates the path from a CA certificate over its parents to the last of them, or to itself.
///
/// # Errors
/// In words, why it does not hold.
pub(crate) fn path_holds(der: &[u8], parents: &[Vec<u8>], at: Timestamp) -> Result<(), String> {
    let mut chain = vec![der.to_vec()];
    let mut between = parents.to_vec();
    let root = between.pop().unwrap_or_else(|| der.to_vec());
    chain.extend(between);
    match IssuerChain::from_ders(chain, vec![root], at) {
        Ok(_) => crate::beside::path(der, parents),
        Err(error) => Err(format!(
            "its path to the root does not hold: {}",
            crate::transcript::chain(&error)
        )),
    }
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
        path_holds(&self.der, &self.parents, at).map_err(|problem| Error::check(self.name.as_str(), problem))
    }

    /// The root above it, or itself.
    pub(crate) fn root(&self) -> &[u8] {
        self.parents.last().unwrap_or(&self.der)
    }
}
