//! Signers in front of a cluster.

use sealwright_proto::istio::IstioCertificateRequest;
use sealwright_tests::{Client, Csr, Home, Signer, client::request};
use tonic::Status;

use crate::cluster::Cluster;

/// What comes before the first authenticator in the development configuration.
const FIRST: &str = "[[authenticators]]\nname = \"mtls\"";

/// A home whose token authenticators are these sections and no others.
pub(crate) fn home(sections: &str) -> Home {
    let home = Home::new();
    let text = std::fs::read_to_string(home.config()).unwrap();
    let (before, rest) = text
        .split_once("[[authenticators]]\nname = \"kubernetes\"")
        .unwrap();
    let (_, after) = rest.split_once("\n[[issuers]]").unwrap();
    assert!(before.contains(FIRST));
    std::fs::write(home.config(), format!("{before}{sections}\n[[issuers]]{after}")).unwrap();
    std::fs::create_dir(home.file("kube")).unwrap();
    home
}

/// A `token-review` section; the cluster's own keys come last.
pub(crate) fn review(keys: &str, cluster: &str) -> String {
    format!(
        "[[authenticators]]\nname = \"kube\"\nkind = \"token-review\"\naudiences = [\"istio-ca\"]\n{keys}\n\
         [[authenticators.clusters]]\nid = \"Kubernetes\"\nkubeconfig = \"kube/config\"\n{cluster}\n"
    )
}

/// A signer that asks a cluster as the signer's own account.
pub(crate) fn reviewing(cluster: &Cluster, keys: &str, more: &str) -> (Home, Signer) {
    let home = home(&review(keys, more));
    cluster.signer_kubeconfig(&home.file("kube/config"));
    let signer = home.start();
    (home, signer)
}

pub(crate) type Answer = Result<Vec<String>, Status>;

pub(crate) async fn ask(signer: &Signer, token: &str) -> Answer {
    ask_with(signer, token, &[], None).await
}

pub(crate) async fn ask_with(
    signer: &Signer,
    token: &str,
    clusters: &[&str],
    message: Option<IstioCertificateRequest>,
) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(clusters.iter().map(|id| ("clusterid", *id)));
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/any/sa/thing").pem;
    let message = message.unwrap_or_else(|| request(&csr, 3600));
    Client::connect(signer).await.create_with(&headers, message).await
}

/// The only entry of the ledger for a certificate of this identity.
pub(crate) fn issued(signer: &Signer, identity: &str) -> Vec<serde_json::Value> {
    let all = signer.log_list(&["--identity", identity]);
    all.into_iter()
        .filter(|entry| entry["outcome"] == "issued")
        .collect()
}
