//! The token's own rate, measured by another program in a scratch token.

use std::{path::Path, process::Command};

use sealwright_hsm::softhsm::TokenFolder;
use serde::{Deserialize, Serialize};

use super::own::OwnSigner;
use crate::{
    args::BenchArgs,
    dev::home::find_module,
    failure::{Class, Failure, OrFail},
};

/// What the program answers, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Raw {
    pub(super) signatures_per_second: f64,
    pub(super) threads: usize,
    pub(super) cpu_micros_per_signature: f64,
}

/// Runs `PROGRAM MODULE ALGORITHM THREADS SECONDS` with an empty token folder.
pub(super) fn measure(program: &Path, args: &BenchArgs, signer: &OwnSigner) -> Result<Raw, Failure> {
    let module = find_module(args.pkcs11_module.as_deref())?;
    let conf = signer.folder().join("scratch.conf");
    TokenFolder::new(signer.folder().join("scratch"))
        .write_config(&conf)
        .or_fail(Class::Internal)?;
    let output = Command::new(program)
        .arg(module)
        .arg(args.algorithm.name())
        // As many as the signer has sessions.
        .arg(SESSIONS.to_string())
        .arg(args.duration.get().as_secs().to_string())
        .env("SOFTHSM2_CONF", conf)
        .output()
        .or_fail_doing(Class::Usage, format!("cannot run {}", program.display()))?;
    serde_json::from_slice(&output.stdout).or_fail_doing(
        Class::Usage,
        format!(
            "{}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    )
}

/// The default of `gate.token.sessions`.
const SESSIONS: usize = 2;
