use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::index::Listing;
use super::*;
use crate::authn::ObjectRef;

fn pod(name: &str, account: &str, node: &str, phase: &str) -> Pod {
    let mut spec = json!({"serviceAccountName": account, "containers": []});
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")},
        "spec": spec, "status": {"phase": phase}
    }))
    .unwrap()
}

fn ztunnel(name: &str, node: Option<&str>) -> KubernetesFacts {
    let object = |name: &str, uid: Option<String>| ObjectRef {
        name: name.to_owned(),
        uid,
    };
    KubernetesFacts {
        namespace: "ns".into(),
        service_account: "ztunnel".into(),
        service_account_uid: None,
        pod: Some(object(name, Some(format!("uid-{name}")))),
        node: node.map(|node| object(node, None)),
    }
}

fn identity(account: &str) -> Identity {
    let id: SpiffeId = format!("spiffe://cluster.local/ns/ns/sa/{account}")
        .parse()
        .unwrap();
    Identity::try_from(&id).unwrap()
}

fn listed(all: &[Pod]) -> (Listing, Pods) {
    let (mut listing, mut pods) = (Listing::default(), Pods::default());
    assert!(!listing.apply(&mut pods, Event::Init));
    for pod in all {
        assert!(!listing.apply(&mut pods, Event::InitApply(pod.clone())));
    }
    assert!(listing.apply(&mut pods, Event::InitDone));
    (listing, pods)
}

#[test]
fn only_pods_that_run_on_the_callers_node_are_acted_for() {
    let (_, pods) = listed(&[
        pod("z1", "ztunnel", "one", "Running"),
        pod("z2", "ztunnel", "two", "Pending"),
        pod("z3", "ztunnel", "one", "Succeeded"),
        pod("web", "web", "one", "Running"),
        pod("db", "db", "two", "Running"),
        pod("failed", "failed", "one", "Failed"),
        pod("done", "done", "one", "Succeeded"),
        pod("waits", "waits", "", "Pending"),
    ]);
    let rows = [
        (ztunnel("z1", None), "web", Ok(())),
        (ztunnel("z1", Some("one")), "web", Ok(())),
        (ztunnel("z1", None), "ztunnel", Ok(())),
        (ztunnel("z2", None), "db", Ok(())),
        (ztunnel("z1", None), "db", Err(Refusal::NotOnNode)),
        (ztunnel("z2", None), "web", Err(Refusal::NotOnNode)),
        (ztunnel("z1", None), "failed", Err(Refusal::NotOnNode)),
        (ztunnel("z1", None), "done", Err(Refusal::NotOnNode)),
        (ztunnel("z1", None), "waits", Err(Refusal::NotOnNode)),
        (ztunnel("z1", None), "nobody", Err(Refusal::NotOnNode)),
        (ztunnel("z1", Some("two")), "db", Err(Refusal::NotThatPod)),
        (ztunnel("z3", None), "web", Err(Refusal::NotThatPod)),
        (ztunnel("gone", None), "web", Err(Refusal::NotThatPod)),
        (ztunnel("web", None), "web", Err(Refusal::NotThatPod)),
    ];
    for (caller, account, expected) in rows {
        assert_eq!(
            on_one_node(&pods, &caller, &identity(account)),
            expected,
            "{caller:?} {account}"
        );
    }
    let mut other_name = ztunnel("z1", None);
    other_name.pod.as_mut().unwrap().name = "z2".into();
    assert_eq!(
        on_one_node(&pods, &other_name, &identity("web")),
        Err(Refusal::NotThatPod)
    );
    let unbound = KubernetesFacts {
        pod: None,
        ..ztunnel("z1", None)
    };
    assert_eq!(
        on_one_node(&pods, &unbound, &identity("web")),
        Err(Refusal::NotBound)
    );
    let elsewhere = KubernetesFacts {
        namespace: "other".into(),
        ..ztunnel("z1", None)
    };
    assert_eq!(
        on_one_node(&pods, &elsewhere, &identity("web")),
        Err(Refusal::NotThatPod)
    );
}

#[test]
fn events_keep_the_index_current() {
    let web = |name: &str, node: &str, phase: &str| pod(name, "web", node, phase);
    let (mut listing, mut pods) = listed(&[web("a", "one", "Running"), web("b", "one", "Running")]);
    let on = |pods: &Pods, node: &str| pods.runs_on(node, "ns", "web");
    listing.apply(&mut pods, Event::Delete(web("a", "one", "Running")));
    assert!(on(&pods, "one"), "another one is left");
    listing.apply(&mut pods, Event::Apply(web("b", "one", "Succeeded")));
    assert!(!on(&pods, "one"));
    listing.apply(&mut pods, Event::Apply(web("c", "", "Pending")));
    listing.apply(&mut pods, Event::Apply(web("c", "two", "Pending")));
    listing.apply(&mut pods, Event::Apply(web("c", "two", "Running")));
    assert!(on(&pods, "two") && pods.get("uid-c").is_some());
    listing.apply(&mut pods, Event::Delete(web("c", "two", "Running")));
    listing.apply(&mut pods, Event::Delete(web("c", "two", "Running")));
    assert!(!on(&pods, "two") && pods.get("uid-c").is_none());

    // While a new list is read the one before counts.
    listing.apply(&mut pods, Event::Apply(web("d", "one", "Running")));
    listing.apply(&mut pods, Event::Init);
    listing.apply(&mut pods, Event::InitApply(web("e", "two", "Running")));
    assert!(on(&pods, "one") && !on(&pods, "two"));
    listing.apply(&mut pods, Event::InitDone);
    assert!(!on(&pods, "one") && on(&pods, "two"));
}

#[test]
fn only_identities_of_the_very_trust_domain_can_be_asked_for() {
    let nodes = NodeAuthorizer {
        domain: Some("cluster.local".parse().unwrap()),
        clusters: Vec::new(),
    };
    assert!(nodes.identity("spiffe://cluster.local/ns/shop/sa/cart").is_ok());
    for text in [
        "",
        "cart",
        "spiffe://cluster.local/",
        "spiffe://cluster.local/ns/shop",
        "spiffe://cluster.local/ns//sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart/x",
        "spiffe://old.example/ns/shop/sa/cart",
        "spiffe://CLUSTER.local/ns/shop/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/cart,spiffe://cluster.local/ns/shop/sa/till",
    ] {
        assert_eq!(nodes.identity(text), Err(Refusal::NotAnIdentity), "{text}");
    }
}
