//! An API server of a test's own, with what the tests need to say to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use sealwright_tests::signer::signal;
use serde_json::{Value, json};

/// The namespace of the signer's own account.
const SIGNER: &str = "sealwright";

/// A running API server, ended when it is dropped.
pub(crate) struct Cluster {
    state: PathBuf,
}

/// The one that tests share which leave it as they found it, but for a namespace of their own.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    // Never dropped: the script ends it.
    SHARED.get_or_init(|| Cluster::start("shared", &[]))
}

fn folder(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    value
        .unwrap_or_else(|| panic!("{variable} is not set: run make test-kube"))
        .into()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kube/box").join(name)
}

impl Cluster {
    /// Starts one, with the rights of docs/kubernetes.md for the signer's account.
    pub(crate) fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let state = folder("SEALWRIGHT_KUBE_STATES").join(name);
        let status = Command::new(script("up.sh"))
            .arg(folder("SEALWRIGHT_KUBEBOX"))
            .arg(&state)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the API server did not start");
        let cluster = Self { state };
        cluster.kubectl(&["create", "namespace", SIGNER]);
        cluster.kubectl(&["create", "serviceaccount", "signer", "-n", SIGNER]);
        cluster.apply(&documented_rights());
        cluster
    }

    /// `kubectl` as the administrator, which has to succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = Command::new(folder("SEALWRIGHT_KUBEBOX").join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.state.join("kubeconfig"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn apply(&self, object: &str) {
        let path = self.state.join("object.yaml");
        fs::write(&path, object).unwrap();
        self.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    }

    /// A namespace with these service accounts.
    pub(crate) fn namespace(&self, name: &str, accounts: &[&str]) {
        self.kubectl(&["create", "namespace", name]);
        for account in accounts {
            self.kubectl(&["create", "serviceaccount", account, "-n", name]);
        }
    }

    pub(crate) fn node(&self, name: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        self.apply(&node.to_string());
    }

    /// A pod on a node, and its UID. Nothing runs it.
    pub(crate) fn pod(&self, namespace: &str, name: &str, account: &str, node: &str) -> String {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "serviceAccountName": account, "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "none"}]
            }
        });
        let path = self.state.join(format!("pod-{namespace}-{name}.yaml"));
        fs::write(&path, pod.to_string()).unwrap();
        self.kubectl(&["create", "-f", path.to_str().unwrap()]);
        self.kubectl(&[
            "get",
            "pod",
            name,
            "-n",
            namespace,
            "-o",
            "jsonpath={.metadata.uid}",
        ])
    }

    /// A token bound to a pod, for the audience `istio-ca`.
    pub(crate) fn bound(&self, namespace: &str, account: &str, pod: &str, uid: &str) -> String {
        let bind = [
            "--bound-object-kind",
            "Pod",
            "--bound-object-name",
            pod,
            "--bound-object-uid",
            uid,
        ];
        self.token(namespace, account, "istio-ca", &bind)
    }

    pub(crate) fn token(&self, namespace: &str, account: &str, audience: &str, more: &[&str]) -> String {
        let fixed = [
            "create",
            "token",
            account,
            "-n",
            namespace,
            "--audience",
            audience,
        ];
        self.kubectl(&[&fixed, more].concat())
    }

    /// A kubeconfig for a service account, in a folder that the front may read.
    pub(crate) fn kubeconfig_of(&self, namespace: &str, account: &str, path: &Path) {
        let token = self.kubectl(&["create", "token", account, "-n", namespace, "--duration", "2h"]);
        let own = fs::read_to_string(self.state.join("kubeconfig")).unwrap();
        let (_, rest) = own.split_once("user: {token: ").unwrap();
        let (admin, _) = rest.split_once('}').unwrap();
        fs::write(path, own.replace(admin, &token)).unwrap();
    }

    /// The kubeconfig of the signer's own account.
    pub(crate) fn signer_kubeconfig(&self, path: &Path) {
        self.kubeconfig_of(SIGNER, "signer", path);
    }

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        let config = fs::read_to_string(self.state.join("kubeconfig")).unwrap();
        let (_, rest) = config.split_once("server: \"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The CA of the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.state.join("cert/apiserver.crt")
    }

    /// The key that its tokens are signed with: PKCS#8 in DER.
    pub(crate) fn signing_key(&self) -> Vec<u8> {
        let pem = fs::read_to_string(self.state.join("sa.key")).unwrap();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(text).unwrap()
    }

    /// The claims of a token.
    pub(crate) fn claims(&self, token: &str) -> Value {
        crate::tokens::part(token, 1)
    }

    /// Sends a signal to the API server alone.
    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Kills the API server and starts it again with the same command line.
    pub(crate) fn restart(&self, between: impl FnOnce()) {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap();
        let line = String::from_utf8(line).unwrap();
        let mut words = line.trim_end_matches('\0').split('\0');
        self.signal(Signal::KILL);
        between();
        let log = fs::File::create(self.state.join("again.log")).unwrap();
        let program = folder("SEALWRIGHT_KUBEBOX").join("kube-apiserver");
        assert!(words.next().is_some_and(|name| name.ends_with("kube-apiserver")));
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        // For down.sh, which trusts a pid only together with its start time.
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = stat.split(' ').nth(21).unwrap();
        fs::write(
            self.state.join("kube-apiserver.pid"),
            format!("{} {started}\n", child.id()),
        )
        .unwrap();
        std::thread::spawn(move || child.wait());
    }

    /// Waits until the API server answers again.
    pub(crate) fn wait(&self) {
        let ready = sealwright_tests::within(|| {
            let output = Command::new(folder("SEALWRIGHT_KUBEBOX").join("kubectl"))
                .arg("--kubeconfig")
                .arg(self.state.join("kubeconfig"))
                .args(["get", "--raw", "/readyz"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            output.status.success().then_some(())
        });
        assert!(ready.is_some(), "the API server does not come back");
    }

    fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.state.join("kube-apiserver.pid")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        Command::new(script("down.sh")).arg(&self.state).status().ok();
    }
}

/// The first block of YAML in docs/kubernetes.md: what is documented is what is tested.
fn documented_rights() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Waits between two looks at something that changes by itself.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}
