//! A gate that verifies callers' tokens itself, with keys of its own.

use std::fs;

use sealwright_tests::{Client, Csr, Home};
use tonic::Code;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// The gate's word for the authenticators of a development home.
fn pin(home: &Home, jwks: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    let issuer = text.lines().find(|line| line.starts_with("issuer = \"http"));
    let issuer = issuer.unwrap();
    home.append(&format!(
        "[[gate.verify_caller]]\nauthenticator = \"kubernetes\"\n{issuer}\n\
         audiences = [\"istio-ca\"]\njwks_file = {jwks:?}\nalgorithms = [\"ES256\"]\n\
         [[gate.verify_caller]]\nauthenticator = \"mtls\"\nkind = \"client-certificate\""
    ));
}

#[tokio::test]
async fn a_good_token_is_handed_over_and_kept_nowhere() {
    let home = Home::new();
    pin(&home, "jwks.json");
    let signer = home.start();
    let token = signer.token("default", "web");
    let client = Client::connect(&signer).await;
    for _ in 0..2 {
        client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await.unwrap();
    }
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(rows.last().unwrap()["outcome"], "issued");
    let log = signer.log();
    assert_eq!(signer.stop(), 0);

    let signature = token.rsplit('.').next().unwrap();
    assert!(!log.contains(signature));
    for file in fs::read_dir(home.file("gate")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        let found = bytes
            .windows(signature.len())
            .any(|window| window == signature.as_bytes());
        assert!(!found, "the token is in {}", path.display());
    }
}

#[tokio::test]
async fn what_the_front_believes_is_not_enough() {
    let home = Home::new();
    // Other keys than the front's: as if somebody had put some into its file.
    let jwks = fs::read_to_string(home.file("jwks.json")).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&jwks).unwrap();
    let x = document["keys"][0]["x"].clone();
    document["keys"][0]["x"] = document["keys"][0]["y"].clone();
    document["keys"][0]["y"] = x;
    fs::write(home.file("pinned.json"), document.to_string()).unwrap();
    pin(&home, "pinned.json");
    let signer = home.start();
    let token = signer.token("default", "web");
    let client = Client::connect(&signer).await;
    let status = client
        .create(&token, &Csr::ztunnel(WEB).pem, 3600)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(rows.last().unwrap()["outcome"], "refused");
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn an_authenticator_that_is_not_named_is_said_before_the_start() {
    let home = Home::new();
    home.replace(
        "policies = [\"baseline\"]",
        "policies = [\"baseline\"]\nauthenticators = [\"mtls\", \"kubernetes\"]",
    );
    home.append("[[gate.verify_caller]]\nauthenticator = \"mtls\"\nkind = \"client-certificate\"");
    let outcome = home.refused();
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("issuers.default.authenticators") && outcome.stderr.contains("kubernetes"),
        "{}",
        outcome.stderr
    );
}
