//! A running `sealwright serve`, and the processes of a signer.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::signer::signal;

/// A running `sealwright serve`, ended when it is dropped. It listens; perhaps it does not sign.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    log: PathBuf,
    addresses: Value,
}

impl Serving {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let child = command
            .env("SEALWRIGHT__LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut serving = Self {
            child,
            log,
            addresses: Value::Null,
        };
        let listens = |serving: &Self| {
            serving
                .events()
                .into_iter()
                .find(|event| event["message"] == "listening")
        };
        let found = within(|| listens(&serving).or_else(|| serving.has_ended().then_some(Value::Null)));
        serving.addresses = found.unwrap_or(Value::Null);
        assert!(
            serving.addresses.is_object(),
            "it does not listen:\n{}",
            serving.log()
        );
        serving
    }

    fn has_ended(&self) -> bool {
        !Path::new(&format!("/proc/{}/exe", self.pid())).exists()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        let log = self.log();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// `HOST:PORT` of gRPC.
    pub fn grpc(&self) -> &str {
        self.addresses["grpc"].as_str().unwrap()
    }

    /// `HOST:PORT` of HTTP.
    pub fn http(&self) -> &str {
        self.addresses["http"].as_str().unwrap()
    }

    /// A page of the HTTP listener: status and text.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.http()))
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits, within a bound, until `/readyz` answers with a code and a text in it.
    pub async fn wait_until(&self, code: u16, text: &str) -> String {
        let mut last = (0, String::new());
        for _ in 0..600 {
            last = self.page("/readyz").await;
            if last.0 == code && last.1.contains(text) {
                return last.1;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "/readyz never says {code} and {text:?}, but {last:?}:\n{}",
            self.log()
        );
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Ends it as an operator does and gives its exit code.
    pub fn stop(mut self) -> i32 {
        self.end()
    }

    fn end(&mut self) -> i32 {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code().unwrap_or(-1);
        }
        self.signal(Signal::TERM);
        let ended = within(|| self.child.try_wait().ok().flatten());
        if ended.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        ended.and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks again and again, for 30 s at most.
pub fn within<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}

/// A process of a signer, as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// A signer's processes: the supervisor and its children.
    pub fn all_of(supervisor: u32) -> Vec<Self> {
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|pid| Self(pid.parse().unwrap()));
        [Self(supervisor)].into_iter().chain(children).collect()
    }

    /// Whether it runs: a zombie does not.
    pub fn runs(self) -> bool {
        self.status("State").is_some_and(|state| !state.starts_with('Z'))
    }

    /// A line of `/proc/PID/status`, without its name.
    pub fn status(self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// A file of `/proc/PID`, if it may be read.
    pub fn file(self, name: &str) -> Option<String> {
        let bytes = fs::read(format!("/proc/{}/{name}", self.0)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Who owns `/proc/PID/mem`: the process's user, or root where it is not dumpable.
    pub fn owner_of_memory(self) -> u32 {
        fs::metadata(format!("/proc/{}/mem", self.0)).unwrap().uid()
    }

    /// Its effective user.
    pub fn user(self) -> u32 {
        self.status("Uid")
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// What it is: `serve`, `dev`, `gate` or `front`; nothing while it begins or ends.
    pub fn role(self) -> String {
        let line = self.file("cmdline").unwrap_or_default();
        line.split('\0').nth(1).unwrap_or_default().to_owned()
    }
}
