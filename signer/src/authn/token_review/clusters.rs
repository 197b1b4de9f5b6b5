//! Which cluster a request means, by its `clusterid` metadata.
//!
//! The value is the caller's word, and only chooses whom to ask: a token is good nowhere but
//! where it was made.

use std::sync::Arc;

use http::HeaderMap;
use sealwright_identity::SharedClock;

use super::access::{self, Access};
use super::desk::Desk;
use crate::authn::caller::Stamp;
use crate::authn::config::{AuthenticatorConfig, ClusterConfig, TokenReviewConfig};
use crate::authn::failure::Unverified;
use crate::authn::jwt::ClusterKeys;

const HEADER: &str = "clusterid";
/// The attribute with the id of the cluster that vouched.
const ATTRIBUTE: &str = "cluster";

/// Why no cluster can be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than one value: more than one claim of where the caller is.
    #[error("{count} values of the metadata clusterid, of which one at most is allowed")]
    Several {
        /// How many.
        count: usize,
    },
    /// No cluster of this id or alias is configured.
    #[error("no cluster is called {id}")]
    Unknown {
        /// What was asked for.
        id: Unverified,
    },
    /// None was named, and none is primary.
    #[error("the request names no cluster, and none is primary")]
    NoPrimary,
}

/// One cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: Arc<str>,
    aliases: Vec<String>,
    primary: bool,
    issuer: Option<String>,
    pub(super) stamp: Stamp,
    pub(super) desk: Desk,
}

impl Cluster {
    pub(super) fn new(
        authenticator: &AuthenticatorConfig,
        config: &TokenReviewConfig,
        cluster: &ClusterConfig,
        clock: &SharedClock,
    ) -> Result<Self, access::Error> {
        let mut attributes = authenticator.attributes.clone();
        attributes.insert(ATTRIBUTE.to_owned(), cluster.id.clone());
        let access = Arc::new(Access::new(cluster, Arc::clone(clock))?);
        let name = format!("{}/{}", authenticator.name, cluster.id);
        let keys = cluster
            .check_signatures
            .then(|| ClusterKeys::new(&name, Arc::clone(&access), Arc::clone(clock)));
        Ok(Self {
            id: cluster.id.as_str().into(),
            aliases: cluster.aliases.clone(),
            primary: cluster.primary,
            issuer: cluster.issuer.clone(),
            stamp: Stamp::new(&authenticator.name, &attributes, authenticator.hands_over),
            desk: Desk::new(access, keys, config, Arc::clone(clock)),
        })
    }

    pub(super) fn check_issuer(&self, found: &str) -> Result<(), super::Error> {
        match &self.issuer {
            Some(issuer) if issuer != found => Err(super::Error::Issuer {
                found: Unverified::new(found),
                cluster: Arc::clone(&self.id),
            }),
            _ => Ok(()),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        *self.id == *name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// All clusters of one authenticator.
#[derive(Debug)]
pub(super) struct Clusters(Vec<Cluster>);

impl Clusters {
    pub(super) fn new(clusters: Vec<Cluster>) -> Self {
        Self(clusters)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Cluster> {
        self.0.iter()
    }

    /// The cluster that a request means. An empty value names none, as for Istio.
    pub(super) fn choose(&self, headers: &HeaderMap) -> Result<&Cluster, Error> {
        let mut values = headers.get_all(HEADER).iter();
        let named = values.next();
        let more = values.count();
        if more > 0 {
            return Err(Error::Several { count: more + 1 });
        }
        match named.map(|value| value.as_bytes()).filter(|id| !id.is_empty()) {
            None => self
                .0
                .iter()
                .find(|cluster| cluster.primary)
                .ok_or(Error::NoPrimary),
            Some(id) => {
                let id = String::from_utf8_lossy(id);
                let found = self.0.iter().find(|cluster| cluster.is_called(&id));
                found.ok_or_else(|| Error::Unknown {
                    id: Unverified::new(&id),
                })
            }
        }
    }
}
