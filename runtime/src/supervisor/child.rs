//! One supervised process: started, asked to end, killed by its id, always reaped.

use std::{
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child as Process, ChildStdout, Command},
    task::JoinHandle,
    time::Instant,
};
use tracing::{info, warn};

use super::backoff::Backoff;

/// How much a process may say on standard output about why it ended, in bytes.
const MAX_LAST_WORDS: usize = 4096;

/// How long they are waited for after the end.
const LAST_WORDS_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: Option<Process>,
    last_words: Option<JoinHandle<Vec<u8>>>,
    started: Instant,
    due: Option<Instant>,
    backoff: Backoff,
}

/// What happened to a process.
#[derive(Debug)]
pub(super) enum Event {
    /// It ended.
    Ended(Ended),
    /// It is time to start it again.
    Due,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    signal: Option<i32>,
    last_words: String,
}

impl Child {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            process: None,
            last_words: None,
            started: Instant::now(),
            due: None,
            backoff: Backoff::new(),
        }
    }

    /// Starts it with a socket as its standard input.
    pub(super) fn start(&mut self, command: &mut Command, socket: OwnedFd) -> io::Result<()> {
        let mut process = command
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        info!(name = self.name, pid = process.id(), "started");
        // The command holds our copy of the socket: without this its end would never be seen.
        command.stdin(Stdio::null());
        self.last_words = process
            .stdout
            .take()
            .map(|output| tokio::spawn(last_words(output)));
        self.process = Some(process);
        self.started = Instant::now();
        self.due = None;
        Ok(())
    }

    /// What happens next to it: for ever nothing when it neither runs nor is to be started.
    /// Cancel-safe.
    pub(super) async fn event(&mut self) -> Event {
        match (&self.process, self.due) {
            (Some(_), _) => Event::Ended(self.ended().await),
            (None, Some(due)) => {
                tokio::time::sleep_until(due).await;
                Event::Due
            }
            (None, None) => std::future::pending().await,
        }
    }

    /// Waits for its end and reaps it. Cancel-safe: until it returns, the process stays ours.
    async fn ended(&mut self) -> Ended {
        let Some(process) = &mut self.process else {
            return std::future::pending().await;
        };
        let status = process.wait().await;
        // A grandchild could hold the pipe open: what is not there by then is not waited for.
        let last_words = match &mut self.last_words {
            Some(reader) => tokio::time::timeout(LAST_WORDS_WAIT, reader).await.ok(),
            None => None,
        };
        let last_words = last_words.and_then(Result::ok).unwrap_or_default();
        self.process = None;
        if let Some(reader) = self.last_words.take() {
            reader.abort();
        }
        Ended::new(status, &last_words)
    }

    pub(super) fn restart_later(&mut self) {
        let wait = self.backoff.after(self.started.elapsed());
        info!(name = self.name, wait_ms = wait.as_millis(), "starts again");
        self.due = Some(Instant::now() + wait);
    }

    /// If it is not running, at once.
    pub(super) fn restart_now(&mut self) {
        if self.process.is_none() {
            self.due = Some(Instant::now());
        }
    }

    pub(super) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends it, if it runs, and reaps it.
    pub(super) async fn end_now(&mut self) {
        if self.process.is_some() {
            self.kill();
            self.finish(Duration::from_secs(1)).await;
        }
    }

    pub(super) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits for its end, kills it at the deadline, and reaps it.
    pub(super) async fn finish(&mut self, deadline: Duration) {
        if self.process.is_none() {
            return;
        }
        match tokio::time::timeout(deadline, self.ended()).await {
            Ok(ended) => info!(name = self.name, how = %ended, "ended"),
            Err(_) => {
                warn!(name = self.name, "did not end in time, killing it");
                self.signal(Signal::KILL);
                // SIGKILL cannot be refused, but a process in the kernel's hands can take long.
                let _stuck = tokio::time::timeout(Duration::from_secs(5), self.ended()).await;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().and_then(Process::id);
        let pid = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended; its id is ours until it is reaped.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// Reads all, so that the process never waits for us, and keeps the end.
async fn last_words(mut output: ChildStdout) -> Vec<u8> {
    let mut words = Vec::new();
    let mut part = [0; 1024];
    while let Ok(count @ 1..) = output.read(&mut part).await {
        words.extend_from_slice(part.get(..count).unwrap_or_default());
        words.drain(..words.len().saturating_sub(MAX_LAST_WORDS));
    }
    words
}

impl Ended {
    fn new(status: io::Result<ExitStatus>, last_words: &[u8]) -> Self {
        let status = status.ok();
        Self {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            last_words: String::from_utf8_lossy(last_words).trim().to_owned(),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => write!(f, "signal {signal}")?,
            (None, None) => write!(f, "ended in an unknown way")?,
        }
        if self.last_words.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.last_words)
        }
    }
}
