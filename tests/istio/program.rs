//! The programs that `scripts/test-istio.sh` built.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use sealwright_tests::{Outcome, Signer};
use serde_json::Value;

/// The longest that a program may run that is to end by itself.
const SECONDS: &str = "120";

/// Where a program is.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = std::env::var_os("SEALWRIGHT_ISTIO_PROGRAMS");
    let folder = folder.expect("SEALWRIGHT_ISTIO_PROGRAMS is not set: run make test-istio");
    PathBuf::from(folder).join(name)
}

/// Runs one to its end.
pub(crate) fn run<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = Command::new("timeout")
        .arg(SECONDS)
        .arg(path(name))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The records of the ledger that are certificates, oldest first.
pub(crate) fn issued(rows: &[Value]) -> Vec<&Value> {
    rows.iter().filter(|row| row["outcome"] == "issued").collect()
}

/// A whole record of the ledger.
pub(crate) fn record(signer: &Signer, serial: &str) -> Value {
    let home = signer.home().to_str().unwrap();
    let arguments = ["log", "show", "--home", home, "--output", "json", serial];
    sealwright_tests::run(arguments).json()
}
