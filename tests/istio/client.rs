//! Istio's CA client library, `security/pkg/nodeagent/caclient/providers/citadel`, and the secret
//! manager over it.

use std::{fs, path::PathBuf};

use sealwright_tests::{Home, Outcome, Signer, shared};
use serde_json::{Value, json};

use crate::program::{self, issued};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// One run of the client: a folder with a token in it, for what it writes.
struct Client {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Client {
    /// As a sidecar is set up: a token, and the roots.
    fn new(signer: &Signer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), signer.token("default", "web")).unwrap();
        let client = Self {
            folder,
            arguments: Vec::new(),
        };
        let root = signer.trust_bundle().display().to_string();
        let out = client.folder.path().display().to_string();
        client
            .with(&["-server", signer.grpc(), "-root", &root, "-out", &out])
            .with_token()
    }

    fn token(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    fn with_token(self) -> Self {
        let token = self.token().display().to_string();
        self.with(&["-token", &token])
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Presents what is in the folder as a client certificate.
    fn with_identity(self) -> Self {
        let folder = self.folder.path().display().to_string();
        self.with(&["-identity", &folder])
    }

    fn run(&self) -> Outcome {
        program::run("client", &self.arguments)
    }
}

/// What authenticated the caller of a certificate that the client told of, says the ledger.
fn authenticator(signer: &Signer, told: &Value) -> String {
    let record = program::record(signer, told["serial"].as_str().unwrap());
    let name = &record["evidence"]["caller"]["authenticator"];
    name.as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn gets_verifies_and_renews_every_kind_of_key() {
    for key in ["rsa", "p256", "p384"] {
        let client = Client::new(shared()).with(&["-key", key, "-signer", ""]);
        let first = client.run().json();
        assert_eq!(
            (&first["elements"], &first["roots"]),
            (&json!(3), &json!(1)),
            "{first}"
        );
        assert_eq!(authenticator(shared(), &first), "kubernetes");
        // Renewed over mutual TLS alone: the token is gone, as on a machine that started again.
        fs::remove_file(client.token()).unwrap();
        let second = client.with_identity().run().json();
        assert_ne!(first["serial"], second["serial"]);
        assert_eq!(authenticator(shared(), &second), "mtls");
    }
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn the_secret_manager_rotates_with_its_token() {
    let signer = Signer::dev(&[]);
    let client = Client::new(&signer).with(&["-seconds", "60", "-ratio", "0.97", "-rotations", "2"]);
    let told = client.run().json_lines();
    let serials: Vec<&Value> = told.iter().map(|told| &told["serial"]).collect();
    assert_eq!(serials.len(), 3, "{told:?}");
    assert!(serials[0] != serials[1] && serials[1] != serials[2]);
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(issued(&rows).len(), 3);
    assert_eq!(signer.stop(), 0);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn a_signer_asked_for_by_name_is_used_or_refused() {
    let good = Client::new(shared()).with(&["-signer", "default"]).run().json();
    let record = program::record(shared(), good["serial"].as_str().unwrap());
    assert_eq!(record["issuer"], "default");
    let bad = Client::new(shared()).with(&["-signer", "nobody"]).run();
    assert_ne!(bad.code, 0);
    assert!(bad.stderr.contains("nobody"), "{}", bad.stderr);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn what_istio_refuses_is_refused_alike() {
    let signer = shared();
    let with_token = |token: &str| {
        let client = Client::new(signer);
        fs::write(client.token(), token).unwrap();
        client.run()
    };
    let forge = signer.forge();
    for token in [
        forge.with(json!({"aud": ["somebody-else"]})),
        forge.with(json!({"exp": 1_000_000_000})),
        forge.unsigned(),
        "garbage".to_owned(),
    ] {
        let refused = with_token(&token);
        assert_ne!(refused.code, 0);
        assert!(
            refused.stderr.contains("code = Unauthenticated"),
            "{}",
            refused.stderr
        );
    }
    let nothing = Client::new(signer);
    fs::remove_file(nothing.token()).unwrap();
    assert!(nothing.run().stderr.contains("code = Unauthenticated"));
    let long = Client::new(signer).with(&["-seconds", "99999999"]).run();
    assert!(long.stderr.contains("code = InvalidArgument"), "{}", long.stderr);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn names_in_the_request_do_not_count() {
    // Istio's own verification then finds that it did not get what it asked for.
    let other = "spiffe://cluster.local/ns/kube-system/sa/admin";
    let refused = Client::new(shared()).with(&["-host", other]).run();
    assert_ne!(refused.code, 0);
    assert!(!refused.stderr.contains("rpc error"), "{}", refused.stderr);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn the_address_localhost_stands_for_istiods_name() {
    let port = shared().grpc().rsplit_once(':').unwrap().1;
    let server = format!("localhost:{port}");
    // Istio's client expects `istiod.istio-system.svc` there, which the serving certificate has.
    Client::new(shared()).with(&["-server", &server]).run().json();
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn the_whole_bundle_comes_last() {
    let home = Home::new();
    let more = sealwright_tests::edges::roots(3);
    let bundle = fs::read_to_string(home.file("roots.pem")).unwrap();
    fs::write(home.file("roots.pem"), bundle + &more).unwrap();
    let signer = home.start();
    let told = Client::new(&signer).run().json();
    assert_eq!(
        (&told["elements"], &told["roots"]),
        (&json!(3), &json!(4)),
        "{told}"
    );
    assert_eq!(signer.stop(), 0);
}
