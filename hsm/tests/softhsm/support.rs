//! A token folder per test, and the child process that has it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use cryptoki::{context::Pkcs11, session::Session, slot::Slot};
use rustix::process::{Signal, getpid, kill_process};
use sealwright_hsm::{
    Error, KeyHandle, KeySelector, Metrics, Pin, PinSource, PoolConfig, SessionPool, SignError, Signable,
    Token, TokenConfig, TokenSelector, provision, softhsm::TokenFolder,
};
use sealwright_identity::{KeyType, SerialNumber, Timestamp, Validity};
use sealwright_x509::{
    AuthorityFields, AuthorityTbs, SignatureAlgorithm, name::authority_name, verify_signature,
};

pub(crate) const LABEL: &str = "sealwright test";
pub(crate) const USER_PIN: &str = "user-pin-1";
pub(crate) const SO_PIN: &str = "so-pin-12";
/// Long enough never to matter.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

/// What a test's own process says last.
const ENDED_WELL: &str = "the test ended well";
const CHILD: &str = "SEALWRIGHT_HSM_TEST";
const HOME: &str = "SEALWRIGHT_HSM_TEST_HOME";

/// A test whose body runs in a process of its own.
macro_rules! isolated {
    ($($(#[$attribute:meta])* fn $name:ident($home:ident) $body:block)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            crate::support::isolated(path, |$home| $body);
        }
    )*};
}

pub(crate) fn isolated(path: &str, body: impl FnOnce(Home)) {
    let (_, test) = path.split_once("::").unwrap();
    if env::var_os(CHILD).is_some_and(|child| child == test) {
        let home = Home(env::var_os(HOME).unwrap().into());
        // The panic has been printed by then.
        if catch_unwind(AssertUnwindSafe(|| body(home))).is_ok() {
            println!("{ENDED_WELL}");
        }
        std::io::stdout().flush().unwrap();
        // Not in order: a thread may still be in the module, whose exit handlers then wait for a lock
        // that nobody gives back.
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let home = Home(folder.path().to_owned());
    home.folder().write_config(&home.conf()).unwrap();
    let output = child(test, &home).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(ENDED_WELL),
        "{test} in its own process: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn child(test: &str, home: &Home) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, test)
        .env(HOME, &home.0)
        .env("SOFTHSM2_CONF", home.conf());
    command
}

/// The folder of one test.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn folder(&self) -> TokenFolder {
        TokenFolder::new(self.0.join("tokens"))
    }

    fn conf(&self) -> PathBuf {
        self.0.join("softhsm2.conf")
    }

    pub(crate) fn set_pin(&self, pin: &str) {
        fs::write(self.0.join("pin"), pin).unwrap();
    }

    pub(crate) fn config(&self) -> TokenConfig {
        TokenConfig::new(
            module(),
            TokenSelector::Label(LABEL.to_owned()),
            PinSource::File(self.0.join("pin")),
        )
    }

    /// Makes the token, once.
    pub(crate) fn make_token(&self) {
        self.set_pin(USER_PIN);
        let info = provision::init_token(&module(), LABEL, &pin(SO_PIN), &pin(USER_PIN)).unwrap();
        assert_eq!(info.label, LABEL);
    }

    pub(crate) fn open(&self) -> Result<Token, Error> {
        Token::open(&self.config(), &self.0)
    }

    pub(crate) fn open_with(&self, metrics: &Metrics) -> Result<Token, Error> {
        Token::open_with(&self.config(), &self.0, metrics)
    }

    /// A token with an issuing key on P-256, a pool of two, and its metrics.
    pub(crate) fn signer(&self) -> Signer {
        self.make_token();
        let metrics = Metrics::default();
        let token = self.open_with(&metrics).unwrap();
        let key = generate(&token, "issuing", 1, KeyType::P256);
        Signer::start(token, key, metrics, 2, 64, AMPLE)
    }
}

pub(crate) struct Signer {
    pub(crate) token: Token,
    pub(crate) key: KeyHandle,
    pub(crate) pool: SessionPool,
    pub(crate) metrics: Metrics,
}

impl Signer {
    pub(crate) fn start(
        token: Token,
        key: KeyHandle,
        metrics: Metrics,
        sessions: usize,
        queue: usize,
        deadline: Duration,
    ) -> Self {
        let config = PoolConfig {
            sessions,
            queue,
            deadline,
        };
        let pool = SessionPool::start(token.clone(), config, metrics.clone());
        Self {
            token,
            key,
            pool,
            metrics,
        }
    }

    /// Ends the pool; without it the process would exit under its threads.
    pub(crate) fn close(self) {
        assert!(block_on(self.pool.close(AMPLE)));
    }

    /// Signs something and verifies the answer.
    pub(crate) async fn sign(&self) -> Result<(), SignError> {
        sign_with(&self.pool, &self.key).await
    }
}

pub(crate) async fn sign_with(pool: &SessionPool, key: &KeyHandle) -> Result<(), SignError> {
    let tbs = authority(key);
    let signature = pool.sign(key, Signable::Authority(tbs.clone()), AMPLE).await?;
    let algorithm = SignatureAlgorithm::for_ca_key(key.key_type());
    verify_signature(key.spki_der(), algorithm, tbs.as_der(), &signature).unwrap();
    Ok(())
}

/// A self-signed authority of this key, with a serial number of its own.
pub(crate) fn authority(key: &KeyHandle) -> AuthorityTbs {
    let name = authority_name(None, "Test root");
    AuthorityTbs::build(&AuthorityFields {
        serial: SerialNumber::random().unwrap(),
        subject_der: name.clone(),
        issuer_der: name,
        validity: Validity::new(
            Timestamp::from_unix_seconds(1_800_000_000),
            Timestamp::from_unix_seconds(1_900_000_000),
        )
        .unwrap(),
        spki_der: key.spki_der().to_vec(),
        path_len: None,
        aki: None,
        signature_algorithm: SignatureAlgorithm::for_ca_key(key.key_type()),
    })
    .unwrap()
}

pub(crate) fn generate(token: &Token, label: &str, id: u8, key_type: KeyType) -> KeyHandle {
    let key = provision::generate_key_pair(token, label, &[id], key_type).unwrap();
    assert_eq!(key.key_type(), key_type);
    token.find_key(key.selector()).unwrap()
}

pub(crate) fn selector(uri: &str) -> KeySelector {
    uri.parse().unwrap()
}

pub(crate) fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec())
}

pub(crate) fn module() -> PathBuf {
    env::var_os("SEALWRIGHT_PKCS11_MODULE")
        .map_or_else(|| "/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

/// The module as somebody else in the process would have it: initialised by
/// the crate, used without it.
pub(crate) fn foreign() -> (Pkcs11, Slot) {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let slot = pkcs11
        .get_slots_with_initialized_token()
        .unwrap()
        .into_iter()
        .next()
        .unwrap();
    (pkcs11, slot)
}

pub(crate) fn foreign_session() -> Session {
    let (pkcs11, slot) = foreign();
    pkcs11.open_rw_session(slot).unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

/// Another process that holds a lock on every file of the tokens, in which
/// SoftHSM waits without end: the hung module of a test.
pub(crate) struct Hang(Child);

impl Hang {
    pub(crate) fn begin(home: &Home) -> Self {
        let mut child = child("support::lock_holder", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        output
            .find(|line| line.as_ref().is_ok_and(|line| line.ends_with("locked")))
            .expect("the lock holder holds the locks")
            .unwrap();
        Self(child)
    }

    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The home of a process that plays this part in another's test.
fn home_of_part(part: &str) -> Option<Home> {
    env::var_os(CHILD)
        .is_some_and(|child| child == part)
        .then(|| Home(env::var_os(HOME).unwrap().into()))
}

/// Not a test, but another process that logs in to the token, often.
#[test]
fn opener() {
    let Some(home) = home_of_part("support::opener") else {
        return;
    };
    // What is remembered of logins is for one process: the gate's lock sees to it.
    let memory = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        // SoftHSM answers a login with an error of no meaning while another
        // rewrites the file: a restart's business. The token is always found,
        // and the PIN never said to be wrong.
        while let Err(error) = Token::open(&home.config(), memory.path()) {
            assert!(matches!(error, Error::Call { .. }), "{error:?}");
        }
    }
}

/// Not a test, but the other process of [`Hang`].
#[test]
fn lock_holder() {
    let Some(home) = home_of_part("support::lock_holder") else {
        return;
    };
    let tokens = home.0.join("tokens");
    let mut held = Vec::new();
    for token in fs::read_dir(tokens).unwrap() {
        for file in fs::read_dir(token.unwrap().path()).unwrap() {
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(file.unwrap().path())
                .unwrap();
            rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
            held.push(file);
        }
    }
    println!("\nlocked");
    let _ = std::io::stdin().read_line(&mut String::new());
}
