//! What a service account token says about the workload that holds it.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::subject::{is_dns_label, is_dns_subdomain};

/// A Kubernetes object by name and UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The object's name.
    pub name: String,
    /// The object's UID. A pod's is always known; a node's only if the API server knew it.
    pub uid: Option<String>,
}

/// What a service account token says about the workload that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesFacts {
    /// The namespace, the same in the subject and in the `kubernetes.io` claim.
    pub namespace: String,
    /// The service account's name.
    pub service_account: String,
    /// The service account's UID, when the token carries it.
    pub service_account_uid: Option<String>,
    /// The pod that the token is bound to.
    pub pod: Option<ObjectRef>,
    /// The node of that pod, or the node that the token is bound to.
    pub node: Option<ObjectRef>,
}

/// `NAMESPACE/NAME` of a service account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeAccount {
    /// The namespace.
    pub namespace: String,
    /// The service account.
    pub name: String,
}

/// A text that is not `NAMESPACE/NAME`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not NAMESPACE/SERVICE_ACCOUNT")]
pub struct NodeAccountError(String);

impl NodeAccount {
    /// Whether a workload is of this account.
    #[must_use]
    pub fn is_of(&self, facts: &KubernetesFacts) -> bool {
        self.namespace == facts.namespace && self.name == facts.service_account
    }
}

impl FromStr for NodeAccount {
    type Err = NodeAccountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if is_dns_label(namespace) && is_dns_subdomain(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(NodeAccountError(text.to_owned())),
        }
    }
}

impl fmt::Display for NodeAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl<'de> Deserialize<'de> for NodeAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for NodeAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
