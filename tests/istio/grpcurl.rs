//! grpcurl: everything that it knows of the service it learns from the service, by reflection.

use std::process::{Command, Stdio};

use sealwright_tests::{Csr, Home, Outcome, Signer, shared};
use serde_json::{Value, json};

use crate::program;

const CREATE: &str = "istio.v1.auth.IstioCertificateService/CreateCertificate";

/// grpcurl with options, then the address, then what it is to do.
fn grpcurl(signer: &Signer, options: &[&str], verb: &[&str]) -> Outcome {
    let roots = signer.trust_bundle().to_str().unwrap();
    let arguments = [&["-cacert", roots], options, &[signer.grpc()], verb].concat();
    program::run("grpcurl", arguments)
}

fn message(csr: &Csr, seconds: i64) -> String {
    let metadata = json!({"CertSigner": "default"});
    json!({"csr": csr.pem, "validity_duration": seconds, "metadata": metadata}).to_string()
}

fn ask(token: &str, seconds: i64) -> Outcome {
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web");
    let header = format!("authorization: Bearer {token}");
    let body = message(&csr, seconds);
    grpcurl(shared(), &["-H", &header, "-d", &body], &[CREATE])
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn reflection_lists_and_describes_the_service() {
    let services = grpcurl(shared(), &[], &["list"]).success();
    for service in [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "istio.v1.auth.IstioCertificateService",
    ] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let described = grpcurl(
        shared(),
        &[],
        &["describe", "istio.v1.auth.IstioCertificateRequest"],
    )
    .success();
    for field in [
        "string csr = 1;",
        "int64 validity_duration = 3;",
        ".google.protobuf.Struct metadata = 4;",
    ] {
        assert!(described.contains(field), "{described}");
    }
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn a_token_gets_a_certificate() {
    let answer = ask(&shared().token("default", "web"), 3600).json();
    let chain = answer["certChain"].as_array().unwrap();
    assert_eq!(chain.len(), 3, "{answer}");
    let bundle = std::fs::read_to_string(shared().trust_bundle()).unwrap();
    assert_eq!(chain[2], Value::String(bundle));
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn refusals_have_their_codes() {
    let refused = ask("garbage", 3600);
    assert!(
        refused.stderr.contains("Code: Unauthenticated"),
        "{}",
        refused.stderr
    );
    let token = shared().token("default", "web");
    let negative = ask(&token, -1);
    assert!(
        negative.stderr.contains("Code: InvalidArgument"),
        "{}",
        negative.stderr
    );
    let denied = ask(&shared().token("kube-system", "web"), 3600);
    assert!(
        denied.stderr.contains("Code: PermissionDenied"),
        "{}",
        denied.stderr
    );
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn health_is_told_of_all_and_of_each_service() {
    for service in ["", "istio.v1.auth.IstioCertificateService"] {
        let body = json!({ "service": service }).to_string();
        let verb = ["grpc.health.v1.Health/Check"];
        let answer = grpcurl(shared(), &["-d", &body], &verb).json();
        assert_eq!(answer["status"], "SERVING", "{service}");
    }
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn reflection_can_be_switched_off() {
    let home = Home::new();
    home.replace("state = \"front\"", "state = \"front\"\nreflection = false");
    let signer = home.start();
    let refused = grpcurl(&signer, &[], &["list"]);
    assert!(
        refused.stderr.contains("does not support the reflection API"),
        "{}",
        refused.stderr
    );
    assert_eq!(signer.stop(), 0);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn a_plaintext_connection_gets_nothing() {
    let output = Command::new("timeout")
        .arg("60")
        .arg(program::path("grpcurl"))
        .args(["-plaintext", "-connect-timeout", "5", shared().grpc(), "list"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
}
