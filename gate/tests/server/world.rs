//! One installation: a SoftHSM token with its keys, a chain, a policy, a configuration; and
//! requests as an honest front would make them.

use std::fs;
use std::future::Future;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustix::process::{Signal, getpid, kill_process};
use sealwright_gate::client::{ClientError, ClientLimits, GateClient};
use sealwright_gate::config::GateFile;
use sealwright_gate::issuers::{Issuer, Issuers};
use sealwright_gate::server::{Command, GateError, ServerConfig, StreamSource, run};
use sealwright_hsm::softhsm::TokenFolder;
use sealwright_hsm::{
    KeyHandle, Pin, PinSource, PoolConfig, SessionPool, Signable, Token, TokenConfig, TokenSelector,
    provision,
};
use sealwright_identity::{
    Clock, Digest, KeyType, San, SerialNumber, SharedClock, SystemClock, Timestamp, Usage, Validity,
};
use sealwright_proto::gate::{
    Caller, Decision, Evidence, IssueRequest, Issued, PolicyVerdict, QueryRequest, RequestFacts,
};
use sealwright_x509::authority::{AuthorityFields, AuthorityTbs};
use sealwright_x509::name::authority_name;
use sealwright_x509::tbs::{LeafFields, LeafKind, LeafTbs};
use sealwright_x509::{BACKDATING, SignatureAlgorithm, pem};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Tells a test that it runs in a process of its own, and where its folder is.
const FOLDER: &str = "SEALWRIGHT_GATE_TEST";
/// What a scenario's process says last.
const ENDED_WELL: &str = "the scenario ended well";
const LABEL: &str = "gate-test";
const PIN: &str = "4711-0815";
pub const PROFILE: &str = r#"{"engine":"test"}"#;
pub const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// Runs `scenario` in a process of its own, which has its own SoftHSM: its configuration is
/// the environment's, and that belongs to a whole process.
pub fn alone<F: Future<Output = ()>>(test: &str, scenario: impl FnOnce(World) -> F) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        std::thread::spawn(|| {
            // Only a scenario that hangs meets it, wherever it hangs.
            std::thread::sleep(Duration::from_secs(120));
            eprintln!("the scenario came to no end");
            end_at_once();
        });
        let scenario = async { scenario(World::make(Path::new(&folder)).await).await };
        // The panic has been printed by then.
        if catch_unwind(AssertUnwindSafe(|| runtime.block_on(scenario))).is_ok() {
            println!("{ENDED_WELL}");
        }
        end_at_once();
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("softhsm2.conf");
    TokenFolder::new(folder.path().join("tokens"))
        .write_config(&config)
        .unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(ENDED_WELL),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Ends this process as nothing can hinder. A thread of the gate may still be in the module, whose
/// exit handlers then wait for a lock that nobody gives back.
fn end_at_once() -> ! {
    std::io::stdout().flush().unwrap();
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("the kernel ends it before the call returns");
}

/// Long enough never to pass in a test that works.
pub fn far() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn module() -> PathBuf {
    std::env::var_os("SEALWRIGHT_PKCS11_MODULE")
        .map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

pub struct World {
    pub folder: PathBuf,
    pub file: GateFile,
    pub clock: SharedClock,
}

impl World {
    async fn make(folder: &Path) -> Self {
        fs::write(folder.join("pin"), format!("{PIN}\n")).unwrap();
        fs::write(folder.join("baseline.wasm"), b"first").unwrap();
        fs::write(folder.join("second.wasm"), b"second").unwrap();
        let text = format!(
            r#"
            trust_domain = "cluster.local"
            default_issuer = "default"
            [[issuers]]
            name = "default"
            key = "pkcs11:object=issuing;id=%01"
            chain = "chain.pem"
            roots = "roots.pem"
            ceremony = "none"
            rehearsal = true
            policies = ["baseline", "second"]
            [issuers.ceiling]
            dns = ["*.svc"]
            [[policies]]
            name = "baseline"
            module = "baseline.wasm"
            [policies.settings]
            trust_domains = ["cluster.local"]
            [[policies]]
            name = "second"
            module = "second.wasm"
            [gate]
            home = "gate"
            disk_reserve_bytes = 0
            [gate.token]
            module = "{}"
            label = "{LABEL}"
            pin_file = "pin"
            health_key = "pkcs11:object=health"
            [gate.serving]
            issuer = "default"
            dns = ["localhost"]
            ips = ["127.0.0.1", "::1"]
            lifetime = "24h"
            "#,
            module().display()
        );
        let mut file: GateFile = toml::from_str(&text).unwrap();
        file.resolve(folder);
        file.validate().unwrap();
        let world = Self {
            folder: folder.to_owned(),
            file,
            clock: Arc::new(SystemClock),
        };
        world.provision().await;
        world
    }

    async fn provision(&self) {
        let pin = |text: &str| Pin::new(text.as_bytes().to_vec());
        provision::init_token(&module(), LABEL, &pin("so-pin-0000"), &pin(PIN)).unwrap();
        let token = self.open_token();
        let key = provision::generate_key_pair(&token, "issuing", &[1], KeyType::P256).unwrap();
        provision::generate_key_pair(&token, "health", &[2], KeyType::P256).unwrap();
        self.write_chain(key.spki_der());
    }

    pub fn open_token(&self) -> Token {
        let config = TokenConfig::new(
            module(),
            TokenSelector::Label(LABEL.into()),
            PinSource::File(self.folder.join("pin")),
        );
        Token::open(&config, &self.folder).unwrap()
    }

    /// A fresh root, and an issuing certificate of it for this key.
    pub fn write_chain(&self, spki: &[u8]) {
        let root_key = KeyPair::generate().unwrap();
        let name = authority_name(None, "Test Root");
        let now = SystemClock.now();
        let validity = Validity::new(
            seconds(now.saturating_sub(Duration::from_secs(3600))),
            seconds(now.saturating_add(Duration::from_secs(20 * 365 * 86_400))),
        )
        .unwrap();
        let mut fields = AuthorityFields {
            serial: SerialNumber::random().unwrap(),
            subject_der: name.clone(),
            issuer_der: name,
            validity,
            spki_der: root_key.subject_public_key_info(),
            path_len: None,
            aki: None,
            signature_algorithm: SignatureAlgorithm::for_ca_key(KeyType::P256),
        };
        let root = AuthorityTbs::build(&fields).unwrap();
        let root_der = root.assemble(&root_key.sign(root.as_der()).unwrap());
        fields.serial = SerialNumber::random().unwrap();
        fields.subject_der = authority_name(None, "Test Issuing");
        fields.spki_der = spki.to_vec();
        fields.aki = Some(root.ski().to_vec());
        let issuing = AuthorityTbs::build(&fields).unwrap();
        let issuing_der = issuing.assemble(&root_key.sign(issuing.as_der()).unwrap());
        let write = |name: &str, der: &[u8]| {
            fs::write(self.folder.join(name), pem::encode(pem::CERTIFICATE, der)).unwrap();
        };
        write("roots.pem", &root_der);
        fs::write(self.folder.join("root-key.pem"), root_key.serialize_pem()).unwrap();
        write("chain.pem", &issuing_der);
    }

    pub fn issuer(&self) -> Arc<Issuer> {
        let issuers = Issuers::load(&self.file, SystemClock.now()).unwrap();
        Arc::clone(issuers.default_issuer())
    }

    pub async fn start(&self) -> Running {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (commands, receiver) = mpsc::channel(4);
        let gate = tokio::spawn(run(self.config(), StreamSource::Inherited(theirs), receiver));
        let (sender, streams) = mpsc::channel(1);
        sender.send(ours).await.unwrap();
        let client = GateClient::new(streams, ClientLimits::default());
        client
            .state()
            .wait_for(|state| *state != sealwright_gate::client::ConnectionState::Disconnected)
            .await
            .unwrap();
        Running {
            client,
            gate,
            commands,
        }
    }

    /// Starts and runs until the end that comes by itself. Nobody talks to it: it may end
    /// before a client would have seen it.
    pub async fn start_in_vain(&self) -> GateError {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let (_commands, receiver) = mpsc::channel(1);
        let source = StreamSource::Inherited(theirs);
        run(self.config(), source, receiver).await.unwrap_err()
    }

    pub fn config(&self) -> ServerConfig {
        ServerConfig {
            file: self.file.clone(),
            clock: Arc::clone(&self.clock),
            confinement: Default::default(),
        }
    }

    pub fn order(&self) -> Order {
        let mut order = Order::new(self.issuer());
        order.decision().decided_at_micros = self.clock.now().micros();
        order
    }
}

pub struct Running {
    pub client: GateClient,
    pub gate: JoinHandle<Result<(), GateError>>,
    pub commands: mpsc::Sender<Command>,
}

impl Running {
    pub async fn issue(&self, request: IssueRequest) -> Result<Issued, ClientError> {
        self.client.issue(request, far()).await
    }

    /// The newest row, whole.
    pub async fn newest(&self) -> serde_json::Value {
        let query = QueryRequest {
            limit: 1,
            full: true,
            ..QueryRequest::default()
        };
        let answer = self.client.query(query, far()).await.unwrap();
        serde_json::from_str(answer.rows.last().unwrap()).unwrap()
    }

    /// Asks until the gate says so; the test's own time limit bounds it.
    pub async fn until_ready(&self, ready: bool) {
        while self.client.status(far()).await.unwrap().ready != ready {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the stream, and with it the gate.
    pub async fn end(self) {
        let Self {
            client,
            gate,
            commands,
        } = self;
        drop(client);
        gate.await.unwrap().unwrap();
        drop(commands);
    }
}

/// A request in the making: a test changes what it wants to cheat with.
#[derive(Clone)]
pub struct Order {
    pub issuer: Arc<Issuer>,
    pub fields: LeafFields,
    pub csr: Vec<u8>,
    pub evidence: Evidence,
}

impl Order {
    fn new(issuer: Arc<Issuer>) -> Self {
        let key = KeyPair::generate().unwrap();
        let now = SystemClock.now();
        let fields = LeafFields {
            serial: SerialNumber::random().unwrap(),
            issuer_der: issuer.chain.issuer_name_der().to_vec(),
            validity: validity_from(now, Duration::from_secs(3600)),
            common_name: None,
            spki_der: key.subject_public_key_info(),
            sans: vec![San::Uri(WEB.parse().unwrap())],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            aki: issuer.chain.ski().to_vec(),
            signature_algorithm: issuer.chain.signature_algorithm(),
            kind: LeafKind::Workload,
        };
        let evidence = evidence(&issuer);
        Self {
            issuer,
            fields,
            csr: csr(&key),
            evidence,
        }
    }

    pub fn caller(&mut self) -> &mut Caller {
        self.evidence.caller.as_mut().unwrap()
    }

    /// Has the policies' input say of the caller what the evidence says, and no more.
    pub fn tell_policies(&mut self, more: serde_json::Value) {
        let input = input(self.caller(), more);
        self.decision().input = input.into();
    }

    pub fn decision(&mut self) -> &mut Decision {
        self.evidence.decision.as_mut().unwrap()
    }

    pub fn tbs(&self) -> Vec<u8> {
        LeafTbs::build(&self.fields).unwrap().as_der().to_vec()
    }

    pub fn request(&self) -> IssueRequest {
        self.request_with(self.tbs())
    }

    pub fn request_with(&self, tbs: Vec<u8>) -> IssueRequest {
        IssueRequest {
            issuer: String::new(),
            tbs: tbs.into(),
            csr: self.csr.clone().into(),
            evidence: Some(self.evidence.clone()),
            credential: None,
        }
    }
}

/// From now, backdated as the front does it.
pub fn validity_from(now: Timestamp, lifetime: Duration) -> Validity {
    Validity::new(
        seconds(now.saturating_sub(BACKDATING)),
        seconds(now.saturating_add(lifetime)),
    )
    .unwrap()
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds(at.unix_seconds())
}

pub fn csr(key: &KeyPair) -> Vec<u8> {
    let params = rcgen::CertificateParams::default();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub fn evidence(issuer: &Issuer) -> Evidence {
    let verdict = |policy: &sealwright_gate::issuers::PolicyIdentity| PolicyVerdict {
        name: policy.name.to_string(),
        module: policy.module.to_string(),
        settings: policy.settings.to_string(),
        verdict: "allow".into(),
        fuel: 1234,
        ..PolicyVerdict::default()
    };
    let caller = Caller {
        source: "jwt".into(),
        authenticator: "kubernetes".into(),
        identities: vec![WEB.into()],
        ..Caller::default()
    };
    Evidence {
        caller: Some(caller.clone()),
        request: Some(RequestFacts::default()),
        decision: Some(Decision {
            decided_at_micros: SystemClock.now().micros(),
            engine_profile_digest: Digest::of(PROFILE.as_bytes()).to_string(),
            engine_profile: PROFILE.into(),
            input_schema: "sealwright.policy-input/2".into(),
            input: input(&caller, serde_json::json!({})).into(),
            policies: issuer.policies.iter().map(verdict).collect(),
            ..Decision::default()
        }),
    }
}

/// What policies are told of a caller, with more members or other ones.
pub fn input(caller: &Caller, more: serde_json::Value) -> Vec<u8> {
    let mut told = serde_json::json!({
        "source": caller.source,
        "authenticator": caller.authenticator,
        "identities": caller.identities,
        "attributes": {},
        "previous_serial": null,
        "first_authenticated_at": null,
    });
    let members = told.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    serde_json::json!({ "caller": told }).to_string().into_bytes()
}

/// The to-be-signed part and the signature of a certificate.
pub fn take_apart(certificate: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let parts = crate::der::children(certificate);
    let bits = crate::der::content(&parts[2]);
    (parts[0].clone(), bits[1..].to_vec())
}

/// Signs with a key of the token, outside any gate.
pub async fn sign_outside(token: Token, key: &KeyHandle, tbs: LeafTbs) -> Vec<u8> {
    let pool = SessionPool::start(
        token,
        PoolConfig {
            sessions: 1,
            queue: 1,
            deadline: Duration::from_secs(5),
        },
        sealwright_hsm::Metrics::default(),
    );
    pool.sign(key, Signable::Leaf(tbs.into()), Duration::from_secs(5))
        .await
        .unwrap()
}
