//! Who may act for another: trusted node proxies, for the pods of their own node.
//!
//! The place of Istio's node authorizer, stricter: the trust domain is compared, finished pods do
//! not count, and the cluster is the one that vouched for the caller, not one that the caller
//! names. Without `trusted_node_accounts` in the configuration nobody is trusted.
//!
//! The invariant: an identity is acted for only while, by the cluster's own word, the caller's
//! pod (the very one its token is bound to) runs on the same node as a pod of that identity.

use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{Identity, SharedClock, SpiffeId, TrustDomain};
use sealwright_proto::gate::Denial;

use self::index::Pods;
use self::watch::PodWatch;
use crate::authn::config::{AuthenticatorConfig, AuthenticatorKind, NodeAccount};
use crate::authn::{Caller, KubernetesFacts};
use crate::service::CertificateOrder;

mod index;
mod watch;

/// After a start the first list of pods is waited for this long, by a request that needs it.
const FIRST_LIST: Duration = Duration::from_secs(3);

/// Decides who may act for whom.
#[derive(Debug, Default)]
pub(crate) struct NodeAuthorizer {
    domain: Option<TrustDomain>,
    clusters: Vec<TrustedCluster>,
}

#[derive(Debug)]
struct TrustedCluster {
    authenticator: String,
    id: String,
    accounts: Vec<NodeAccount>,
    pods: PodWatch,
}

/// Why somebody may not act for another. For the log and the record: the caller is told none of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Refusal {
    #[error("nobody is trusted to act for another")]
    NobodyTrusted,
    #[error("the caller is not known by a reviewed token of a cluster with trusted node accounts")]
    NoCluster,
    #[error("{account} is not a trusted node account")]
    NotTrusted { account: NodeAccount },
    #[error("the requested identity is not a service account of the trust domain")]
    NotAnIdentity,
    #[error("the pods of the cluster are not known now")]
    PodsUnknown,
    #[error("the caller's token is bound to no pod")]
    NotBound,
    #[error("the caller's pod does not run, or is another than the token says")]
    NotThatPod,
    #[error("no pod of the requested identity runs on the caller's node")]
    NotOnNode,
}

impl NodeAuthorizer {
    /// Starts to watch the pods of every cluster that has trusted node accounts. Needs a runtime.
    pub(crate) fn watch(
        authenticators: &[AuthenticatorConfig],
        domain: &TrustDomain,
        clock: &SharedClock,
    ) -> Self {
        let mut clusters = Vec::new();
        for authenticator in authenticators {
            let AuthenticatorKind::TokenReview(review) = &authenticator.kind else {
                continue;
            };
            let trusting = review
                .clusters
                .iter()
                .filter(|cluster| !cluster.trusted_node_accounts.is_empty());
            clusters.extend(trusting.map(|cluster| TrustedCluster {
                authenticator: authenticator.name.clone(),
                id: cluster.id.clone(),
                accounts: cluster.trusted_node_accounts.clone(),
                pods: PodWatch::start(cluster, Arc::clone(clock)),
            }));
        }
        Self {
            domain: Some(domain.clone()),
            clusters,
        }
    }

    /// The caller in whose name the request goes on: none for one that names nobody else, the
    /// requested identity for one that may act for it.
    ///
    /// # Errors
    /// A denial, when the caller may not.
    pub(super) async fn stand_in(
        &self,
        caller: &Caller,
        order: &CertificateOrder,
    ) -> Result<Option<Caller>, Denial> {
        let Some(requested) = order.impersonated() else {
            return Ok(None);
        };
        match self.act_for(caller, requested).await {
            Ok(identity) => Ok(Some(caller.acting_for(identity))),
            Err(refusal) => Err(denial(requested, &refusal)),
        }
    }

    async fn act_for(&self, caller: &Caller, requested: &str) -> Result<SpiffeId, Refusal> {
        let cluster = self.cluster_of(caller)?;
        let facts = caller.kubernetes().ok_or(Refusal::NoCluster)?;
        cluster.require_trusted(facts)?;
        let identity = self.identity(requested)?;
        let pods = cluster.pods.current(FIRST_LIST).await;
        let pods = pods.ok_or(Refusal::PodsUnknown)?;
        on_one_node(&pods.read(), facts, &identity)?;
        Ok(identity.spiffe_id().clone())
    }

    fn cluster_of(&self, caller: &Caller) -> Result<&TrustedCluster, Refusal> {
        if self.clusters.is_empty() {
            return Err(Refusal::NobodyTrusted);
        }
        let id = caller.cluster().ok_or(Refusal::NoCluster)?;
        self.clusters
            .iter()
            .find(|cluster| cluster.authenticator == caller.authenticator() && cluster.id == id)
            .ok_or(Refusal::NoCluster)
    }

    /// Aliases of the trust domain are not looked at: what is granted is of the primary one.
    fn identity(&self, requested: &str) -> Result<Identity, Refusal> {
        let id: SpiffeId = requested.parse().map_err(|_error| Refusal::NotAnIdentity)?;
        if self.domain.as_ref() != Some(id.trust_domain()) {
            return Err(Refusal::NotAnIdentity);
        }
        Identity::try_from(&id).map_err(|_error| Refusal::NotAnIdentity)
    }
}

impl TrustedCluster {
    fn require_trusted(&self, facts: &KubernetesFacts) -> Result<(), Refusal> {
        let account = NodeAccount {
            namespace: facts.namespace.clone(),
            name: facts.service_account.clone(),
        };
        if self.accounts.contains(&account) {
            return Ok(());
        }
        Err(Refusal::NotTrusted { account })
    }
}

fn on_one_node(pods: &Pods, caller: &KubernetesFacts, identity: &Identity) -> Result<(), Refusal> {
    let bound = caller.pod.as_ref().ok_or(Refusal::NotBound)?;
    let uid = bound.uid.as_deref().ok_or(Refusal::NotBound)?;
    let pod = pods.get(uid).ok_or(Refusal::NotThatPod)?;
    let same = pod.name == bound.name
        && pod.namespace == caller.namespace
        && pod.account == caller.service_account
        && caller.node.as_ref().is_none_or(|node| node.name == pod.node);
    if !same {
        return Err(Refusal::NotThatPod);
    }
    if pods.runs_on(&pod.node, identity.namespace(), identity.service_account()) {
        return Ok(());
    }
    Err(Refusal::NotOnNode)
}

fn denial(requested: &str, refusal: &Refusal) -> Denial {
    let requested: String = requested.chars().take(256).collect();
    Denial {
        policy: String::new(),
        code: "IMPERSONATION_REFUSED".to_owned(),
        message: format!("{refusal}; asked for {requested:?}"),
        field: "metadata.ImpersonatedIdentity".to_owned(),
        hint: String::new(),
    }
}

#[cfg(test)]
mod tests;
