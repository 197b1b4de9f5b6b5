//! A development signer for the time of a measurement.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use sealwright_identity::{Clock, SystemClock};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    args::BenchArgs,
    dev::{home::Home, jwt},
    failure::{Class, Failure, OrFail},
    files::{Temporary, own_program},
    issue::call::Credentials,
};

#[derive(Debug, Deserialize)]
struct Ready {
    grpc: String,
    trust_bundle: PathBuf,
}

pub(super) struct OwnSigner {
    child: Child,
    ready: Ready,
    folder: Temporary,
}

impl OwnSigner {
    pub(super) fn start(args: &BenchArgs) -> Result<Self, Failure> {
        let folder = Temporary::beside(&std::env::temp_dir().join("sealwright-bench"))?;
        let mut command = Command::new(own_program()?);
        command
            .args(["dev", "--algorithm", args.algorithm.name(), "--parent"])
            .arg(std::process::id().to_string())
            .arg("--home")
            .arg(folder.path().join("home"))
            .env("SEALWRIGHT__LOG__LEVEL", "warn");
        if let Some(module) = &args.pkcs11_module {
            command.arg("--pkcs11-module").arg(module);
        }
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
            Ok(ready) => Ok(Self { child, ready, folder }),
            Err(error) => {
                // It has said why on standard error.
                let _ended = child.kill().and_then(|()| child.wait());
                Err(error).or_fail_doing(Class::Unavailable, "the signer did not become ready")
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn grpc(&self) -> &str {
        &self.ready.grpc
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let claims = jwt::Claims {
            namespace: "bench",
            service_account: "load",
            audience: "istio-ca",
            ttl: 86_400,
            now: SystemClock.now(),
        };
        let token = jwt::token(&Home::at(&self.folder.path().join("home")), &claims)?;
        Credentials::with_token(&self.ready.trust_bundle, Zeroizing::new(token))
    }

    /// Ends it in good order.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.terminate();
        let status = self.child.wait().or_fail(Class::Internal)?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::text(
            Class::Internal,
            format!("the signer ended with {status}"),
        ))
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the id is still the signer's.
            let _gone = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for OwnSigner {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            let _reaped = self.child.wait();
        }
    }
}
