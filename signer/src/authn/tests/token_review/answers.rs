//! Which answers vouch for a caller, and which tokens are worth a question.

use serde_json::{Value, json};

use super::{Cluster, OURS, Reply, token, yes, yes_but};
use crate::authn::tests::support::NOW;
use crate::authn::tests::support::code;
use crate::authn::tests::support::tokens::{RSA, claims, header, unsigned, with};
use crate::authn::{AuthSource, ObjectRef};

const POD_NAME: &str = "/user/extra/authentication.kubernetes.io~1pod-name";
const POD_UID: &str = "/user/extra/authentication.kubernetes.io~1pod-uid";
const NODE_NAME: &str = "/user/extra/authentication.kubernetes.io~1node-name";
const NODE_UID: &str = "/user/extra/authentication.kubernetes.io~1node-uid";

#[tokio::test]
async fn a_bound_token_is_vouched_for() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    let caller = cluster.ask(&token()).await.unwrap();
    assert_eq!(caller.source(), AuthSource::Jwt);
    assert_eq!(caller.authenticator(), "kube");
    assert_eq!(caller.cluster(), Some("east"));
    assert_eq!(
        caller.identities()[0].to_string(),
        "spiffe://cluster.local/ns/shop/sa/cart"
    );
    let facts = caller.kubernetes().unwrap();
    assert_eq!(facts.pod.as_ref().unwrap().name, "cart-1");
    assert_eq!(facts.node.as_ref().unwrap().name, "node-1");
    let evidence = caller.token().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&evidence.claims_json).unwrap(),
        claims()
    );

    let (credential, question) = cluster.server.last();
    assert_eq!(credential, format!("Bearer {OURS}"));
    let expected = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                          "spec": {"token": token(), "audiences": ["istio-ca"]}});
    assert_eq!(question, expected);
}

#[tokio::test]
async fn a_yes_has_to_be_whole() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    let anonymous = json!({
        "authenticated": true,
        "user": {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
        "audiences": ["istio-ca"]
    });
    let node = json!({"authenticated": true, "audiences": ["istio-ca"],
        "user": {"username": "system:node:node-1", "groups": ["system:nodes", "system:authenticated"]}});
    let contradiction = "token_review_contradiction";
    let rows = [
        (anonymous, contradiction),
        (node, contradiction),
        (json!({}), "token_refused"),
        (
            json!({"user": {}, "error": "service account token has expired"}),
            "token_refused",
        ),
        (yes_but("/error", "but".into()), "token_refused"),
        (yes_but("/authenticated", Value::Null), "token_refused"),
        (yes_but("/authenticated", false.into()), "token_refused"),
        (yes_but("/audiences", Value::Null), "token_audience"),
        (yes_but("/audiences", json!([])), "token_audience"),
        (
            yes_but("/audiences", json!(["https://kubernetes.default.svc"])),
            "token_audience",
        ),
        (yes_but("/user", Value::Null), contradiction),
        (yes_but("/user/username", Value::Null), contradiction),
        (yes_but("/user/username", "cart".into()), contradiction),
        (
            yes_but("/user/username", "system:serviceaccount:shop".into()),
            contradiction,
        ),
        (
            yes_but("/user/username", "system:serviceaccount:shop:cart:x".into()),
            contradiction,
        ),
        (
            yes_but("/user/username", "system:serviceaccount:shop:till".into()),
            contradiction,
        ),
        (
            yes_but("/user/username", "system:serviceaccount:bank:cart".into()),
            contradiction,
        ),
        (yes_but("/user/groups", Value::Null), contradiction),
        (
            yes_but("/user/groups", json!(["system:serviceaccounts:shop"])),
            contradiction,
        ),
        (
            yes_but("/user/groups", json!(["system:serviceaccounts"])),
            contradiction,
        ),
        (
            yes_but(
                "/user/groups",
                json!(["system:serviceaccounts", "system:serviceaccounts:bank"]),
            ),
            contradiction,
        ),
        (yes_but("/user/uid", Value::Null), contradiction),
        (yes_but("/user/uid", "another".into()), contradiction),
        (yes_but("/user/extra", Value::Null), contradiction),
        (yes_but(POD_NAME, Value::Null), contradiction),
        (yes_but(POD_NAME, json!(["cart-2"])), contradiction),
        (yes_but(POD_NAME, json!(["cart-1", "cart-1"])), contradiction),
        (yes_but(POD_UID, Value::Null), contradiction),
        (yes_but(POD_UID, json!(["another"])), contradiction),
        (yes_but(NODE_NAME, json!(["node-2"])), contradiction),
        (yes_but(NODE_UID, json!(["another"])), contradiction),
        (yes_but(NODE_UID, Value::Null), contradiction),
        (yes(), "accepted"),
    ];
    for (index, (status, expected)) in rows.into_iter().enumerate() {
        cluster.server.set(Reply::Status(status.clone()));
        assert_eq!(code(cluster.ask(&token()).await), expected, "{status}");
        assert_eq!(cluster.server.asked(), index + 1, "a refusal is not kept");
    }
}

#[tokio::test]
async fn a_node_that_nobody_vouches_for_is_no_fact() {
    let mut status = yes_but(NODE_NAME, Value::Null);
    status["user"]["extra"]
        .as_object_mut()
        .unwrap()
        .remove("authentication.kubernetes.io/node-uid");
    let cluster = Cluster::start(Reply::Status(status)).await;
    let caller = cluster.ask(&token()).await.unwrap();
    assert_eq!(caller.kubernetes().unwrap().node, None);
}

#[tokio::test]
async fn an_unbound_token_has_no_pod() {
    let mut status = yes();
    status["user"]["extra"] = json!({"authentication.kubernetes.io/credential-id": ["JTI=x"]});
    let cluster = Cluster::start(Reply::Status(status)).await;
    let bare = json!({"namespace": "shop",
        "serviceaccount": {"name": "cart", "uid": "22b4b4f6-0000-4000-8000-000000000003"}});
    let token = RSA.sign(&header(), &with(claims(), json!({"kubernetes.io": bare})));
    let caller = cluster.ask(&token).await.unwrap();
    assert_eq!(caller.kubernetes().unwrap().pod, None);
    // An API server that knows a pod which the token does not name contradicts it.
    cluster.server.set(Reply::Status(yes()));
    let other = RSA.sign(
        &header(),
        &with(claims(), json!({"kubernetes.io": bare, "jti": "other"})),
    );
    assert_eq!(code(cluster.ask(&other).await), "token_review_contradiction");
}

#[tokio::test]
async fn a_node_without_uid_is_known_by_name() {
    let mut status = yes_but(NODE_UID, Value::Null);
    status["user"]["extra"]["authentication.kubernetes.io/node-name"] = json!(["node-9"]);
    let cluster = Cluster::start(Reply::Status(status)).await;
    let mut odd = claims();
    odd["kubernetes.io"]["node"] = json!({"name": "node-9"});
    let caller = cluster.ask(&RSA.sign(&header(), &odd)).await.unwrap();
    let node = ObjectRef {
        name: "node-9".into(),
        uid: None,
    };
    assert_eq!(caller.kubernetes().unwrap().node, Some(node));
}

/// Every one of these a real API server accepts, or refuses at its own cost.
#[tokio::test]
async fn what_cannot_be_good_is_not_asked_about() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    let good = token();
    let changed = |changes| RSA.sign(&header(), &with(claims(), changes));
    let mut other_account = claims();
    other_account["kubernetes.io"]["serviceaccount"]["name"] = "till".into();
    let rows = [
        (String::new(), "token_malformed"),
        (" ".into(), "token_malformed"),
        (" x".into(), "token_malformed"),
        (format!("  {good}"), "token_malformed"),
        (format!("{good} x"), "token_malformed"),
        (format!("{good}\t"), "token_malformed"),
        (format!("{good}="), "token_malformed"),
        ("garbage".into(), "token_malformed"),
        (format!("{}.AA", unsigned("{}", "{}")), "token_malformed"),
        (changed(json!({"exp": NOW})), "token_expired"),
        (changed(json!({"exp": null})), "token_claims"),
        (changed(json!({"nbf": NOW + 61})), "token_not_yet_valid"),
        (changed(json!({"iat": NOW + 3600})), "token_not_yet_valid"),
        (changed(json!({"aud": ["other"]})), "token_audience"),
        (changed(json!({"aud": null})), "token_claims"),
        (changed(json!({"sub": null})), "token_subject"),
        (changed(json!({"sub": "system:anonymous"})), "token_subject"),
        (
            changed(json!({"sub": "system:serviceaccount:bank:cart"})),
            "token_subject",
        ),
        (RSA.sign(&header(), &other_account), "token_subject"),
    ];
    for (token, expected) in rows {
        assert_eq!(code(cluster.ask(&token).await), expected, "{token:?}");
    }
    assert_eq!(cluster.server.asked(), 0);
    assert_eq!(
        code(cluster.ask(&changed(json!({"aud": "istio-ca"}))).await),
        "accepted"
    );
}
