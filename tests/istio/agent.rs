//! Istio's pilot-agent as it runs in a sidecar, without Envoy: it writes its certificate to files,
//! renews it in time, and outlives its CA.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use sealwright_tests::{Home, Process, Signer, within};

use crate::program;

/// A running pilot-agent in a folder of its own, ended when it is dropped.
struct Agent {
    child: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    /// Starts one as the account `default/web`, with settings over a sidecar's.
    ///
    /// A certificate of a minute is renewed when 57 seconds of it are left, so as not to wait long.
    fn start(signer: &Signer, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir_all(path("var/run/secrets/tokens")).unwrap();
        fs::create_dir(path("certs")).unwrap();
        fs::write(path(TOKEN), signer.token("default", "web")).unwrap();
        fs::copy(signer.trust_bundle(), path("roots.pem")).unwrap();
        let proxy = format!(
            r#"{{"statusPort": {}, "discoveryAddress": "127.0.0.1:1"}}"#,
            free_port()
        );
        let (certs, roots) = (path("certs"), path("roots.pem"));
        let mut environment = BTreeMap::from([
            ("DISABLE_ENVOY", "true"),
            ("OUTPUT_CERTS", &certs),
            ("CA_ADDR", signer.grpc()),
            ("CA_ROOT_CA", &roots),
            ("XDS_ROOT_CA", &roots),
            ("GRPC_XDS_BOOTSTRAP", ""),
            ("PROXY_CONFIG", &proxy),
            ("POD_NAME", "web-0"),
            ("POD_NAMESPACE", "default"),
            ("SERVICE_ACCOUNT", "web"),
            ("TRUST_DOMAIN", "cluster.local"),
            ("SECRET_TTL", "60s"),
            ("SECRET_GRACE_PERIOD_RATIO", "0.95"),
            ("SECRET_GRACE_PERIOD_RATIO_JITTER", "0"),
        ]);
        environment.extend(settings.iter().copied());
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program::path("pilot-agent"))
            .args(["proxy", "sidecar"])
            .current_dir(folder.path())
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    /// Waits for a set of files that hold together, with another leaf than `before`; the leaf's
    /// serial. In between the agent has replaced one of the files and not yet the next.
    fn next(&self, before: Option<&str>) -> String {
        let serial = within(|| {
            let serial = openssl(&self.leaf_arguments())?;
            (before != Some(&serial) && self.holds_together()).then_some(serial)
        });
        serial.unwrap_or_else(|| panic!("no certificate after {before:?}:\n{}", self.log()))
    }

    fn leaf_arguments(&self) -> Vec<String> {
        let chain = self.file("certs/cert-chain.pem").display().to_string();
        ["x509", "-noout", "-serial", "-in", &chain]
            .map(str::to_owned)
            .to_vec()
    }

    /// The chain verifies strictly to the root that the agent wrote, and the key is the leaf's.
    fn holds_together(&self) -> bool {
        let path = |name: &str| self.file(&format!("certs/{name}")).display().to_string();
        let (chain, key, root) = (path("cert-chain.pem"), path("key.pem"), path("root-cert.pem"));
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let verifies = ["sslserver", "sslclient"].iter().all(|purpose| {
            let verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", &root];
            openssl(&words(&[&verify[..], &["-untrusted", &chain, &chain]].concat())).is_some()
        });
        let certified = openssl(&words(&["x509", "-noout", "-pubkey", "-in", &chain]));
        verifies && certified.is_some() && certified == openssl(&words(&["pkey", "-pubout", "-in", &key]))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where pilot-agent looks for its token, from its working folder on.
const TOKEN: &str = "var/run/secrets/tokens/istio-token";

/// A port that nobody has: the agent does not take 0.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What openssl prints, when it is content.
fn openssl(arguments: &[String]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| text.trim().to_owned())
}

/// What authenticated the caller of a certificate, given openssl's line of its serial.
fn authenticator(signer: &Signer, line: &str) -> String {
    let serial = line.strip_prefix("serial=").unwrap().to_lowercase();
    let record = program::record(signer, &serial);
    let name = &record["evidence"]["caller"]["authenticator"];
    name.as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn writes_its_certificate_and_renews_it() {
    let home = Home::new();
    let signer = home.start();
    for settings in [&[][..], &[("ECC_SIGNATURE_ALGORITHM", "ECDSA")][..]] {
        let agent = Agent::start(&signer, settings);
        let mut serial = None;
        for _ in 0..3 {
            let next = agent.next(serial.as_deref());
            assert_eq!(authenticator(&signer, &next), "kubernetes");
            serial = Some(next);
        }
        let roots = fs::read_to_string(agent.file("certs/root-cert.pem")).unwrap();
        // Istio's agent joins roots without a line end after the last.
        assert_eq!(
            roots.trim_end(),
            fs::read_to_string(signer.trust_bundle()).unwrap().trim_end()
        );
    }
    assert_eq!(signer.stop(), 0);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn renews_over_mutual_tls_when_its_token_is_gone() {
    let home = Home::new();
    let signer = home.start();
    // As on a machine outside the cluster: what it has is what it presents.
    let agent = Agent::start(&signer, &[("PROV_CERT", "certs")]);
    let first = agent.next(None);
    assert_eq!(authenticator(&signer, &first), "kubernetes");
    fs::remove_file(agent.file(TOKEN)).unwrap();
    let mut last = first;
    let renewed = (0..4).any(|_| {
        last = agent.next(Some(&last));
        authenticator(&signer, &last) == "mtls"
    });
    assert!(renewed, "{}", agent.log());
    assert_eq!(signer.stop(), 0);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn recovers_when_the_signer_is_started_again() {
    let home = Home::new();
    let signer = home.start();
    let address = signer.grpc().to_owned();
    let agent = Agent::start(&signer, &[]);
    let before = agent.next(None);
    assert_eq!(signer.stop(), 0);
    // It notices: a rotation falls due, and fails.
    let noticed = within(|| agent.log().contains("failed to get certificate").then_some(()));
    assert!(noticed.is_some(), "{}", agent.log());
    let signer = Signer::start(
        &[
            "dev",
            "--home",
            home.path().to_str().unwrap(),
            "--listen",
            &address,
            "--http",
            "127.0.0.1:0",
        ],
        home.path().with_extension("log").to_str().unwrap(),
    );
    let after = agent.next(Some(&before));
    assert_eq!(authenticator(&signer, &after), "kubernetes");
    assert_eq!(signer.stop(), 0);
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn does_not_notice_that_a_gate_was_killed() {
    let home = Home::new();
    let signer = home.start();
    let agent = Agent::start(&signer, &[]);
    let mut serial = agent.next(None);
    for _ in 0..2 {
        let gates = signer.children("gate");
        assert_eq!(gates.len(), 1);
        sealwright_tests::signer::signal(gates[0], rustix::process::Signal::KILL);
        assert!(within(|| (!Process(gates[0]).runs()).then_some(())).is_some());
        serial = agent.next(Some(&serial));
    }
    assert_eq!(signer.stop(), 0);
}
