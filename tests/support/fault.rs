//! A signer whose PKCS#11 module fails on demand, and clients that go on asking meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Code, Status};

use crate::{Client, Csr, Home, Process, Serving, run, within};

/// Whom the clients of these tests ask for.
pub const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// How often something that is waited for is looked at: the resolution of a time to recover.
const LOOK: Duration = Duration::from_millis(10);

/// The fault module, which cargo builds beside the test as one of its dependencies.
pub fn module() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().join("libsealwright_fault_module.so");
    assert!(
        path.is_file(),
        "{} is not built: run cargo test -p sealwright-tests",
        path.display()
    );
    path
}

/// The real module, as a home's configuration names it.
fn real() -> String {
    std::env::var("SEALWRIGHT_PKCS11_MODULE").unwrap_or_else(|_| "/usr/lib/softhsm/libsofthsm2.so".into())
}

/// A home whose gate loads the fault module.
#[derive(Debug)]
pub struct Faulty {
    /// The home.
    pub home: Home,
}

impl Default for Faulty {
    fn default() -> Self {
        Self::new()
    }
}

impl Faulty {
    /// A home that signs until it is told otherwise.
    pub fn new() -> Self {
        let home = Home::new();
        let module = format!("module = {:?}", module().to_str().unwrap());
        home.replace(&format!("module = {:?}", real()), &module);
        let variables = format!(
            "[gate.env]\nFAULT_MODULE_REAL = {:?}\nFAULT_MODULE_CONTROL = {:?}\n",
            real(),
            home.file("fault").to_str().unwrap()
        );
        home.replace("[gate.env]\n", &variables);
        Self { home }
    }

    /// Says what goes wrong from the next call on: one `FUNCTION=FAULT [count:N]` a line.
    pub fn inject(&self, faults: &str) {
        let [new, file] = ["fault.new", "fault"].map(|name| self.home.file(name));
        fs::write(&new, faults).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Nothing goes wrong any more.
    pub fn lift(&self) {
        fs::remove_file(self.home.file("fault")).unwrap();
    }

    /// Starts `serve` and clients, when it signs.
    pub async fn start(&self) -> Scene<'_> {
        let serving = self.home.serve();
        serving.wait_until(200, "").await;
        Scene::new(&self.home, serving).await
    }
}

/// A signer of one home, with a client of it.
pub struct Scene<'a> {
    /// The home.
    pub home: &'a Home,
    /// The signer.
    pub serving: Serving,
    client: Client,
    token: String,
    csr: String,
}

impl<'a> Scene<'a> {
    /// Of a signer that has a certificate to serve with.
    pub async fn new(home: &'a Home, serving: Serving) -> Self {
        let client = Client::connect_to(serving.grpc(), &home.file("roots.pem")).await;
        let path = home.path().to_str().unwrap();
        let token = run([
            "dev",
            "token",
            "--home",
            path,
            "--namespace",
            "default",
            "--service-account",
            "web",
        ]);
        Self {
            home,
            serving,
            client,
            token: token.success().trim_end().to_owned(),
            csr: Csr::ztunnel(WEB).pem,
        }
    }

    /// Asks for one certificate.
    pub async fn ask(&self) -> Result<Vec<String>, Status> {
        self.client.create(&self.token, &self.csr, 3600).await
    }

    /// Clients that ask again and again.
    pub fn load(&self, clients: usize) -> Load {
        // Leaves room for other tests.
        self.load_with(clients, Duration::from_millis(4))
    }

    /// The same with another pause between two certificates of one client.
    pub fn load_with(&self, clients: usize, pause: Duration) -> Load {
        let running = Arc::new(AtomicBool::new(true));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let tasks = (0..clients).map(|_| {
            let (client, token, csr) = (self.client.clone(), self.token.clone(), self.csr.clone());
            let (running, answers) = (Arc::clone(&running), Arc::clone(&answers));
            tokio::spawn(async move {
                while running.load(Ordering::Relaxed) {
                    let answer = client.create(&token, &csr, 3600).await;
                    let failed = answer.is_err();
                    answers.lock().unwrap().take(answer);
                    // A client that fails tries again soon.
                    tokio::time::sleep(if failed { LOOK } else { pause }).await;
                }
            })
        });
        Load {
            tasks: tasks.collect(),
            running,
            answers,
        }
    }

    /// The pages that do not need the token.
    pub async fn serves_pages(&self) {
        assert_eq!(self.serving.page("/livez").await.0, 200);
        let bundle = self.serving.page("/bundle").await;
        let roots = fs::read_to_string(self.home.file("roots.pem")).unwrap();
        assert_eq!(bundle, (200, roots));
    }

    /// A process of the signer that runs: `gate` or `front`.
    pub fn process(&self, role: &str) -> Option<Process> {
        processes(&self.serving, role).into_iter().next()
    }

    /// Waits, within a bound, for a process of the signer other than one that was.
    pub fn another(&self, role: &str, old: Process) -> Process {
        within(|| self.process(role).filter(|new| *new != old))
            .unwrap_or_else(|| panic!("no other {role}:\n{}", self.serving.log()))
    }

    /// Waits until a certificate is issued, and says how long that took.
    pub async fn recovers(&self, fault: &str) -> Duration {
        let since = Instant::now();
        self.recovers_since(fault, since).await
    }

    /// The same from an earlier moment on.
    pub async fn recovers_since(&self, fault: &str, since: Instant) -> Duration {
        let mut last = None;
        while since.elapsed() < Duration::from_secs(60) {
            match self.ask().await {
                Ok(_) => {
                    let time = since.elapsed();
                    report(fault, time);
                    return time;
                }
                Err(status) => last = Some(status),
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!(
            "{fault}: it does not sign again, but {last:?}:\n{}",
            self.serving.log()
        );
    }

    /// Ends the signer and looks whether the ledger knows each certificate that a client has.
    pub fn end(self, load: &Answers) {
        self.end_with(load, &[]);
    }

    /// The same where the signer's clock was another.
    pub fn end_at_any_time(self, load: &Answers) {
        self.end_with(load, &["-no_check_time"]);
    }

    fn end_with(self, load: &Answers, verify: &[&str]) {
        let (home, log) = (self.home, self.serving.log());
        assert_eq!(self.serving.stop(), 0, "{log}");
        load.are_recorded(home, verify);
    }
}

fn processes(serving: &Serving, role: &str) -> Vec<Process> {
    let is_it = |process: &Process| {
        let line = process.file("cmdline").unwrap_or_default();
        process.runs() && line.split('\0').nth(1) == Some(role)
    };
    Process::all_of(serving.pid()).into_iter().filter(is_it).collect()
}

/// One line with a time to recover, for the table in docs/reliability.md.
#[allow(clippy::print_stdout, reason = "the figures are read from the test's output")]
pub fn report(fault: &str, time: Duration) {
    println!("recovery: {fault} {}", time.as_millis());
}

/// What clients were answered.
#[derive(Debug, Default)]
pub struct Answers {
    /// Chains of certificates.
    pub issued: Vec<Vec<String>>,
    /// Refusals.
    pub refused: Vec<(Code, String)>,
}

impl Answers {
    fn take(&mut self, answer: Result<Vec<String>, Status>) {
        match answer {
            Ok(chain) => self.issued.push(chain),
            Err(status) => self.refused.push((status.code(), status.message().to_owned())),
        }
    }

    /// Every refusal has one of these codes, and there is one.
    pub fn refused_only_with(&self, codes: &[Code]) {
        assert!(!self.refused.is_empty(), "nothing was refused");
        for refusal in &self.refused {
            assert!(codes.contains(&refusal.0), "{refusal:?}");
        }
    }

    /// Each certificate verifies, and is in the ledger of a stopped signer once, as issued.
    fn are_recorded(&self, home: &Home, verify: &[&str]) {
        assert!(!self.issued.is_empty(), "nothing was issued");
        let rows = home.run(&["log", "list", "--output", "json"]).json_lines();
        let mut outcomes = std::collections::BTreeMap::new();
        for row in &rows {
            let Some(serial) = row["serial"].as_str() else {
                continue;
            };
            let before = outcomes.insert(serial.to_owned(), row["outcome"].clone());
            assert!(before.is_none(), "{serial} is recorded twice");
        }
        let mut seen = std::collections::BTreeSet::new();
        for serial in serials(&self.issued, home, verify) {
            assert_eq!(outcomes.get(&serial), Some(&Value::from("issued")), "{serial}");
            assert!(seen.insert(serial.clone()), "{serial} was received twice");
        }
        assert_eq!(seen.len(), self.issued.len());
        home.run(&["log", "verify"]).success();
    }
}

/// The serials of certificates, in lower-case hex, as OpenSSL reads and verifies them.
fn serials(chains: &[Vec<String>], home: &Home, options: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (number, chain) in chains.iter().enumerate() {
        let file = folder.path().join(format!("{number}.pem"));
        fs::write(&file, &chain[0]).unwrap();
        files.push(file);
    }
    let intermediate = folder.path().join("intermediate.pem");
    fs::write(&intermediate, &chains[0][1]).unwrap();
    files.chunks(500).for_each(|files| {
        let mut verify = std::process::Command::new("openssl");
        verify
            .args(["verify", "-x509_strict"])
            .args(options)
            .arg("-CAfile");
        verify
            .arg(home.file("roots.pem"))
            .arg("-untrusted")
            .arg(&intermediate);
        let output = verify.args(files).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    chains.iter().map(|chain| serial(&chain[0])).collect()
}

fn serial(leaf: &str) -> String {
    let der = der_of(leaf);
    // Certificate, TBSCertificate, [0] version of five bytes, then the serial number.
    let (certificate, _) = element(&der);
    let (tbs, _) = element(certificate);
    let (serial, _) = element(&tbs[5..]);
    let serial = serial.strip_prefix(&[0]).unwrap_or(serial);
    serial.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn der_of(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// The content of the first element, and what comes after it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..=127 => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        other => panic!("a length of {other:#x}"),
    };
    der[header..].split_at(length)
}

/// Clients that are asking.
pub struct Load {
    tasks: Vec<JoinHandle<()>>,
    running: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
}

impl Load {
    /// Certificates and refusals so far.
    pub fn counts(&self) -> (usize, usize) {
        let answers = self.answers.lock().unwrap();
        (answers.issued.len(), answers.refused.len())
    }

    /// Waits, within a bound, for so many more certificates.
    pub async fn issued(&self, more: usize) {
        let before = self.counts().0;
        self.until("certificates", |issued, _| issued >= before + more)
            .await;
    }

    /// Waits, within a bound, for so many more refusals.
    pub async fn refused(&self, more: usize) {
        let before = self.counts().1;
        self.until("refusals", |_, refused| refused >= before + more)
            .await;
    }

    async fn until(&self, what: &str, enough: impl Fn(usize, usize) -> bool) {
        let since = Instant::now();
        loop {
            let (issued, refused) = self.counts();
            if enough(issued, refused) {
                return;
            }
            let last = self.answers.lock().unwrap().refused.last().cloned();
            assert!(
                since.elapsed() < Duration::from_secs(40),
                "no {what}, but {issued} and {refused}: {last:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the clients, each after its last answer, and gives what they were answered.
    pub async fn stop(self) -> Answers {
        self.running.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.answers.lock().unwrap())
    }
}

/// Moves a file or folder of a home.
pub fn rename(home: &Home, from: &str, to: &str) {
    let [from, to] = [from, to].map(|name| -> PathBuf { Path::new(&home.file(name)).to_owned() });
    fs::rename(from, to).unwrap();
}
