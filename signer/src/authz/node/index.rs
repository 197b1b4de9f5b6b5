//! The pods of a cluster, by UID and by node. Only what is asked about is kept of each.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

/// A pod that runs, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFacts {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) account: String,
    pub(super) node: String,
}

/// All pods of one list, kept current.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<String, PodFacts>,
    /// How many pods of (namespace, account) are on a node.
    by_node: HashMap<String, HashMap<(String, String), usize>>,
}

/// The pods, and the list that will replace them while one is read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    next: Pods,
}

impl Pods {
    pub(super) fn get(&self, uid: &str) -> Option<&PodFacts> {
        self.by_uid.get(uid)
    }

    pub(super) fn runs_on(&self, node: &str, namespace: &str, account: &str) -> bool {
        let key = (namespace.to_owned(), account.to_owned());
        self.by_node
            .get(node)
            .is_some_and(|accounts| accounts.contains_key(&key))
    }

    fn put(&mut self, pod: Pod) {
        let Some((uid, facts)) = facts(pod) else {
            return;
        };
        self.remove(&uid);
        // Finished pods, and those without a node yet, run nowhere.
        let Some(facts) = facts else {
            return;
        };
        let accounts = self.by_node.entry(facts.node.clone()).or_default();
        let key = (facts.namespace.clone(), facts.account.clone());
        *accounts.entry(key).or_default() += 1;
        self.by_uid.insert(uid, facts);
    }

    fn remove(&mut self, uid: &str) {
        let Some(facts) = self.by_uid.remove(uid) else {
            return;
        };
        let Some(accounts) = self.by_node.get_mut(&facts.node) else {
            return;
        };
        let key = (facts.namespace, facts.account);
        if let Some(count) = accounts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                accounts.remove(&key);
            }
        }
        if accounts.is_empty() {
            self.by_node.remove(&facts.node);
        }
    }
}

impl Listing {
    /// Takes an event in; true when a list is complete, which then replaced the pods.
    pub(super) fn apply(&mut self, pods: &mut Pods, event: Event<Pod>) -> bool {
        match event {
            Event::Init => self.next = Pods::default(),
            Event::InitApply(pod) => self.next.put(pod),
            Event::InitDone => {
                *pods = std::mem::take(&mut self.next);
                return true;
            }
            Event::Apply(pod) => pods.put(pod),
            Event::Delete(pod) => {
                if let Some(uid) = pod.metadata.uid {
                    pods.remove(&uid);
                }
            }
        }
        false
    }
}

/// The UID, and what is known of the pod if it runs.
fn facts(pod: Pod) -> Option<(String, Option<PodFacts>)> {
    let uid = pod.metadata.uid?;
    let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
    let over = matches!(phase.as_str(), "Failed" | "Succeeded");
    let spec = pod.spec.unwrap_or_default();
    let facts = match (
        pod.metadata.namespace,
        pod.metadata.name,
        spec.service_account_name,
        spec.node_name,
    ) {
        (Some(namespace), Some(name), Some(account), Some(node)) if !over && !node.is_empty() => {
            Some(PodFacts {
                namespace,
                name,
                account,
                node,
            })
        }
        _ => None,
    };
    Some((uid, facts))
}
