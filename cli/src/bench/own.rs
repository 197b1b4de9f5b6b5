//! A development signer for the time of a measurement.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sealwright_identity::{Clock, SystemClock};
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    args::BenchArgs,
    dev::{home::Home, jwt},
    failure::{Class, Failure, OrFail},
    files::{Temporary, own_program},
    issue::call::Credentials,
};

/// Between readiness and the look at idle memory.
pub(super) const REST: Duration = Duration::from_millis(1500);

#[derive(Debug, Deserialize)]
struct Ready {
    grpc: String,
    http: String,
    trust_bundle: PathBuf,
}

pub(super) struct OwnSigner {
    child: Child,
    ready: Ready,
    ready_in: Duration,
    home: PathBuf,
    folder: Temporary,
}

impl OwnSigner {
    /// Starts one. Where there is no home yet it is made first, so that the start that is timed finds one.
    pub(super) fn start(args: &BenchArgs) -> Result<Self, Failure> {
        let folder = Temporary::beside(&std::env::temp_dir().join("sealwright-bench"))?;
        let home = args.home.clone().unwrap_or_else(|| folder.path().join("home"));
        if !home.exists() {
            let (child, ..) = start(args, &home)?;
            stop(child)?;
        }
        let (child, ready, ready_in) = start(args, &home)?;
        Ok(Self {
            child,
            ready,
            ready_in,
            home,
            folder,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn grpc(&self) -> &str {
        &self.ready.grpc
    }

    /// `http://HOST:PORT`.
    pub(super) fn http(&self) -> &str {
        &self.ready.http
    }

    /// From its start to the line that says it signs.
    pub(super) fn ready_in(&self) -> Duration {
        self.ready_in
    }

    /// A folder for what goes with the measurement.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tokens of so many identities.
    pub(super) fn credentials(&self, identities: usize) -> Result<Vec<Credentials>, Failure> {
        let home = Home::at(&self.home);
        let issuer = jwt::TokenIssuer::of(&home)?;
        let roots = Credentials::roots(&self.ready.trust_bundle)?;
        (0..identities)
            .map(|number| {
                let claims = jwt::Claims {
                    namespace: "bench",
                    service_account: &format!("load-{number}"),
                    audience: "istio-ca",
                    ttl: 86_400,
                    now: SystemClock.now(),
                };
                let token = Zeroizing::new(issuer.token(&claims)?);
                Ok(Credentials::of_token(Arc::clone(&roots), token))
            })
            .collect()
    }

    /// Ends it in good order.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        terminate(&self.child);
        succeeded(&mut self.child)
    }
}

fn start(args: &BenchArgs, home: &Path) -> Result<(Child, Ready, Duration), Failure> {
    let mut command = Command::new(own_program()?);
    command
        .args(["dev", "--algorithm", args.algorithm.name(), "--parent"])
        .arg(std::process::id().to_string())
        .arg("--home")
        .arg(home)
        .env("SEALWRIGHT__LOG__LEVEL", "warn");
    if let Some(module) = &args.pkcs11_module {
        command.arg("--pkcs11-module").arg(module);
    }
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .or_fail_doing(Class::Internal, "cannot start a signer")?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output)
            .read_line(&mut line)
            .or_fail(Class::Internal)?;
    }
    match serde_json::from_str(&line) {
        Ok(ready) => Ok((child, ready, started.elapsed())),
        Err(error) => {
            // It has said why on standard error.
            let _ended = child.kill().and_then(|()| child.wait());
            Err(error).or_fail_doing(Class::Unavailable, "the signer did not become ready")
        }
    }
}

fn stop(mut child: Child) -> Result<(), Failure> {
    terminate(&child);
    succeeded(&mut child)
}

fn succeeded(child: &mut Child) -> Result<(), Failure> {
    let status = child.wait().or_fail(Class::Internal)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::text(
        Class::Internal,
        format!("the signer ended with {status}"),
    ))
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Not reaped yet, so the id is still the signer's.
        let _gone = kill_process(pid, Signal::TERM);
    }
}

impl Drop for OwnSigner {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            terminate(&self.child);
            let _reaped = self.child.wait();
        }
    }
}
