//! A running `sealwright dev`, ended when it is dropped.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Forge, command::binary, dev_token, run};

/// A signer in a home of its own.
#[derive(Debug)]
pub struct Signer {
    child: Child,
    ready: serde_json::Value,
    log: PathBuf,
    /// Removed with the signer, unless the home belongs to the test.
    _folder: Option<tempfile::TempDir>,
}

/// The signer that tests share when they leave no trace that another test could trip over.
pub fn shared() -> &'static Signer {
    static SHARED: OnceLock<Signer> = OnceLock::new();
    SHARED.get_or_init(|| {
        // The signer is told to end when the thread that started it ends: this one never does.
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        thread::spawn(move || {
            sender.send(Signer::dev(&[])).unwrap();
            loop {
                thread::park();
            }
        });
        receiver.recv().unwrap()
    })
}

impl Signer {
    /// Starts `sealwright dev` in a new home and waits until it signs.
    pub fn dev(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let mut signer = Self::dev_in(&home, arguments);
        signer._folder = Some(folder);
        signer
    }

    /// The same in a home that the test keeps.
    pub fn dev_in(home: &Path, arguments: &[&str]) -> Self {
        let home = home.to_str().unwrap();
        let mut all = vec![
            "dev",
            "--home",
            home,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ];
        all.extend(arguments);
        Self::start(&all, &format!("{home}.log"))
    }

    /// Starts any long-running subcommand that prints a ready line.
    pub fn start(arguments: &[&str], log: &str) -> Self {
        Self::start_with(arguments, &[], log)
    }

    /// The same with variables in its environment.
    pub fn start_with(arguments: &[&str], variables: &[(&str, &str)], log: &str) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(binary())
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            panic!("no ready line but {line:?}; the log says:\n{said}")
        });
        Self {
            child,
            ready,
            log: log.into(),
            _folder: None,
        }
    }

    /// `HOST:PORT` of gRPC.
    pub fn grpc(&self) -> &str {
        self.ready["grpc"].as_str().unwrap()
    }

    /// A page of the HTTP listener: status and text.
    pub async fn http(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.ready["http"].as_str().unwrap());
        let response = reqwest::get(url).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The home's folder.
    pub fn home(&self) -> &Path {
        Path::new(self.ready["home"].as_str().unwrap())
    }

    /// The trust bundle's file.
    pub fn trust_bundle(&self) -> &Path {
        Path::new(self.ready["trust_bundle"].as_str().unwrap())
    }

    /// The whole ready line.
    pub fn ready(&self) -> &serde_json::Value {
        &self.ready
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// A token as `sealwright dev token` makes it.
    pub fn token(&self, namespace: &str, service_account: &str) -> String {
        dev_token(self.home(), namespace, service_account)
    }

    /// A maker of other tokens, with the same key.
    pub fn forge(&self) -> Forge {
        Forge::of(self)
    }

    /// Entries of the ledger, oldest first, with further arguments.
    pub fn log_list(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let mut all = vec![
            "log",
            "list",
            "--home",
            self.home().to_str().unwrap(),
            "--output",
            "json",
        ];
        all.extend(arguments);
        run(all).json_lines()
    }

    /// The process ids of the supervisor's children whose command line holds a word.
    pub fn children(&self, word: &str) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let all = std::fs::read_to_string(path).unwrap_or_default();
        all.split_whitespace()
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0)
                    .any(|argument| argument == word.as_bytes())
            })
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator does and gives its exit code.
    pub fn stop(mut self) -> i32 {
        self.end()
    }

    fn end(&mut self) -> i32 {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code().unwrap_or(-1);
        }
        signal(self.child.id(), Signal::TERM);
        // Bounded: a signer that does not end is a failed test, not a test that hangs.
        for _ in 0..600 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code().unwrap_or(-1);
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        -1
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).ok();
}
