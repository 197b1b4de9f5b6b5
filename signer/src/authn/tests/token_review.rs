//! TokenReview against a scripted API server: what counts as a yes, and what is asked at all.

mod answers;
mod clusters;
mod files;
mod keys;
mod limits;

use std::path::PathBuf;

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::support::api_server::{ApiServer, Reply};
use super::support::tokens::{RSA, claims, header};
use super::support::{Fixture, authorization, plaintext_peer};
use crate::authn::{AuthenticationFailure, Caller};

/// The signer's own credential in the tests' kubeconfig.
const OURS: &str = "our-own-secret";

/// A scripted API server behind a `token-review` authenticator.
struct Cluster {
    server: ApiServer,
    folder: tempfile::TempDir,
    fixture: Fixture,
}

impl Cluster {
    async fn start(reply: Reply) -> Self {
        Self::with(reply, "").await
    }

    async fn with(reply: Reply, keys: &str) -> Self {
        let server = ApiServer::start(reply).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        server.kubeconfig(&path, OURS);
        let fixture = Fixture::new(&section(keys, &[("east", &path, "primary = true")]), &[]);
        Self {
            server,
            folder,
            fixture,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    async fn ask(&self, token: &str) -> Result<Caller, AuthenticationFailure> {
        self.fixture.by_token(token).await
    }
}

fn section(keys: &str, clusters: &[(&str, &PathBuf, &str)]) -> String {
    let mut toml = format!(
        "[[authenticators]]\nname = \"kube\"\nkind = \"token-review\"\naudiences = [\"istio-ca\"]\n\
         allow_http_loopback = true\n{keys}\n"
    );
    for (id, path, more) in clusters {
        toml += &format!("[[authenticators.clusters]]\nid = {id:?}\nkubeconfig = {path:?}\n{more}\n");
    }
    toml
}

fn token() -> String {
    RSA.sign(&header(), &claims())
}

/// What a real API server says of [`token`].
fn yes() -> Value {
    json!({
        "authenticated": true,
        "user": {
            "username": "system:serviceaccount:shop:cart",
            "uid": "22b4b4f6-0000-4000-8000-000000000003",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["JTI=b54c4f40-5817-4ac7-bee9-c2605664fa7a"],
                "authentication.kubernetes.io/node-name": ["node-1"],
                "authentication.kubernetes.io/node-uid": ["98b62d58-0000-4000-8000-000000000001"],
                "authentication.kubernetes.io/pod-name": ["cart-1"],
                "authentication.kubernetes.io/pod-uid": ["94a45f22-0000-4000-8000-000000000002"]
            }
        },
        "audiences": ["istio-ca"]
    })
}

/// [`yes`] with the value at a JSON pointer replaced, or removed where it is null.
fn yes_but(pointer: &str, value: Value) -> Value {
    let mut status = yes();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/");
    let parent = status.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(&name),
        value => parent.insert(name, value),
    };
    status
}

async fn ask_as(fixture: &Fixture, clusters: &[&str]) -> Result<Caller, AuthenticationFailure> {
    let mut headers: HeaderMap = authorization(&[&format!("Bearer {}", token())]);
    for cluster in clusters {
        headers.append("clusterid", HeaderValue::from_bytes(cluster.as_bytes()).unwrap());
    }
    fixture
        .authenticators
        .authenticate(&headers, &plaintext_peer())
        .await
}
