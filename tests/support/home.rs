//! Homes to change: copies of one development home that was made once, then stopped.
//!
//! Each has a token and a ledger of its own, with the same keys, PINs and CA in it. What a test
//! changes is the configuration or a file beside it; then it starts a signer there, or sees one
//! refused.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{Outcome, Signer, command::binary, signer::signal};

/// A start that is to be refused has ended long before; one that is not is ended then, with 124.
const SECONDS_TO_REFUSE: &str = "60";

/// A home that belongs to one test.
#[derive(Debug)]
pub struct Home {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A copy of the one that was made.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        for entry in made() {
            let place = path.join(&entry.name);
            match &entry.bytes {
                Some(bytes) => fs::write(&place, bytes).unwrap(),
                None => fs::create_dir_all(&place).unwrap(),
            }
            fs::set_permissions(&place, fs::Permissions::from_mode(entry.mode)).unwrap();
        }
        let home = Self {
            _folder: folder,
            path,
        };
        // SoftHSM's file names the token folder absolutely.
        let conf = fs::read_to_string(home.file("softhsm2.conf")).unwrap();
        let tokens = format!("directories.tokendir = {}", home.file("token").display());
        let (_, rest) = conf.split_once('\n').unwrap();
        fs::write(home.file("softhsm2.conf"), format!("{tokens}\n{rest}")).unwrap();
        home
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.file("sealwright.toml")
    }

    /// Puts something else in the place of a text that the configuration has once.
    pub fn replace(&self, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
        self
    }

    /// Adds sections at the configuration's end.
    pub fn append(&self, sections: &str) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}\n{sections}\n")).unwrap();
        self
    }

    /// Takes the sections of policies out of the configuration.
    pub fn without_policies(&self) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        let (before, after) = text.split_once("[[policies]]").unwrap();
        let (_, after) = after.split_once("\n[gate]").unwrap();
        fs::write(self.config(), format!("{before}\n[gate]{after}")).unwrap();
        self
    }

    /// Starts a signer that has to come to signing.
    pub fn start(&self) -> Signer {
        Signer::dev_in(&self.path, &[])
    }

    /// Starts `serve`, which may have something to say against signing.
    pub fn serve(&self) -> Serving {
        Serving::start(&self.config())
    }

    /// What `serve` says when it refuses to start.
    pub fn refused(&self) -> Outcome {
        self.run(&["serve"])
    }

    /// What `check` says: its exit code, and one object for each precondition.
    pub fn check(&self) -> (i32, Vec<Value>) {
        let outcome = self.run(&["check", "--output", "json"]);
        let items = outcome.stdout.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {}", outcome.stderr))
        });
        (outcome.code, items.collect())
    }

    /// Runs a subcommand with this configuration to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    /// The same with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = Command::new("timeout")
            .arg(SECONDS_TO_REFUSE)
            .arg(binary())
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A running `sealwright serve`, ended when it is dropped. It listens; perhaps it does not sign.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    /// `HOST:PORT` of gRPC.
    pub grpc: String,
    /// `HOST:PORT` of HTTP.
    pub http: String,
}

impl Serving {
    fn start(config: &Path) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(binary())
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--config",
            ])
            .arg(config)
            .env("SEALWRIGHT__LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            let event: Value = serde_json::from_str(&line).ok()?;
            (event["message"] == "listening").then_some(event)
        });
        let Some(event) = listening else {
            child.wait().ok();
            panic!("it does not listen; the log says:\n{said}")
        };
        // What comes later is read, so that no writer ever waits for a reader.
        thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            grpc: event["grpc"].as_str().unwrap().to_owned(),
            http: event["http"].as_str().unwrap().to_owned(),
        }
    }

    /// A page of the HTTP listener: status and text.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.http)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits, within a bound, until a page has a text in it.
    pub async fn wait_for(&self, path: &str, text: &str) -> (u16, String) {
        let mut last = (0, String::new());
        for _ in 0..600 {
            last = self.page(path).await;
            if last.1.contains(text) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} does not say {text:?} within 30 s, but {last:?}");
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        signal(self.child.id(), Signal::TERM);
        for _ in 0..600 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Entry {
    name: PathBuf,
    mode: u32,
    /// A folder has none.
    bytes: Option<Vec<u8>>,
}

fn made() -> &'static [Entry] {
    static MADE: OnceLock<Vec<Entry>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        assert_eq!(Signer::dev_in(&home, &[]).stop(), 0);
        let mut entries = Vec::new();
        collect(&home, Path::new(""), &mut entries);
        entries
    })
}

fn collect(root: &Path, name: &Path, entries: &mut Vec<Entry>) {
    let path = root.join(name);
    let metadata = fs::symlink_metadata(&path).unwrap();
    let bytes = metadata.is_file().then(|| fs::read(&path).unwrap());
    entries.push(Entry {
        name: name.to_owned(),
        mode: metadata.mode() & 0o7777,
        bytes,
    });
    if metadata.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            collect(root, &name.join(entry.unwrap().file_name()), entries);
        }
    }
}
