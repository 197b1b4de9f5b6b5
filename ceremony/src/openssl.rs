//! The second verifier: the `openssl` program, another implementation by other people.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sealwright_hsm::ceremony::hash_file;
use sealwright_identity::{Digest, Timestamp};
use sealwright_x509::pem;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Longer than any of its calls takes; a program that hangs must not hold the room.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the second verifier came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Second {
    /// It said that something is good.
    Witnessed(Witnessed),
    /// There is none: only a rehearsal goes on with one verifier.
    One(OneVerifier),
}

/// There is no second verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneVerifier {
    /// Why.
    pub(crate) one_verifier: String,
}

impl Second {
    /// Takes what was witnessed, or, where that is enough, that the program is not there.
    pub(crate) fn of(
        one_is_enough: bool,
        witness: impl FnOnce() -> Result<Witnessed, Error>,
    ) -> Result<Self, Error> {
        if one_is_enough && Program::find().is_err() {
            return Ok(Self::One(OneVerifier {
                one_verifier: "openssl is not in the PATH".to_owned(),
            }));
        }
        witness().map(Self::Witnessed)
    }
}

/// Which program said that something is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witnessed {
    /// The program's file.
    program: String,
    /// Its digest.
    digest: Digest,
    /// What it says of itself.
    version: String,
    /// What was verified.
    verified: String,
}

/// The self-signature and the names of a request.
pub(crate) fn request(der: &[u8]) -> Result<Witnessed, Error> {
    let program = Program::find()?;
    let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
    program.run(
        &["req".into(), "-verify".into(), "-noout".into()],
        text.as_bytes(),
    )?;
    program.witnessed("the request's signature")
}

/// A path from a certificate to the last of `parents`, its root, at a time; a root has no parents.
pub(crate) fn certificate(der: &[u8], parents: &[Vec<u8>], at: Timestamp) -> Result<Witnessed, Error> {
    let program = Program::find()?;
    let folder = tempfile::tempdir().map_err(|error| Error::Openssl(error.to_string()))?;
    let file = |name: &str, certificates: &[&[u8]]| -> Result<PathBuf, Error> {
        let path = folder.path().join(name);
        let text: String = certificates
            .iter()
            .map(|der| pem::encode(pem::CERTIFICATE, der))
            .collect();
        std::fs::write(&path, text).map_err(Error::files(&path))?;
        Ok(path)
    };
    let root = parents.last().map_or(der, Vec::as_slice);
    let between: Vec<&[u8]> = parents
        .iter()
        .take(parents.len().saturating_sub(1))
        .map(Vec::as_slice)
        .collect();
    let mut arguments: Vec<OsString> = vec![
        "verify".into(),
        "-x509_strict".into(),
        "-check_ss_sig".into(),
        "-attime".into(),
        at.unix_seconds().to_string().into(),
        "-CAfile".into(),
        file("root.pem", &[root])?.into(),
    ];
    if !between.is_empty() {
        arguments.extend(["-untrusted".into(), file("between.pem", &between)?.into()]);
    }
    let text = pem::encode(pem::CERTIFICATE, der);
    program.run(&arguments, text.as_bytes())?;
    program.witnessed("the certificate's path to its root")
}

struct Program {
    path: PathBuf,
}

impl Program {
    fn find() -> Result<Self, Error> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&folders)
            .map(|folder| folder.join("openssl"))
            .find_map(|path| path.canonicalize().ok());
        path.map(|path| Self { path })
            .ok_or_else(|| Error::Openssl("it is not in the PATH: install OpenSSL's command".to_owned()))
    }

    fn witnessed(&self, verified: &str) -> Result<Witnessed, Error> {
        Ok(Witnessed {
            program: self.path.display().to_string(),
            digest: hash_file(&self.path).map_err(Error::files(&self.path))?,
            version: self.run(&["version".into()], b"")?.trim().to_owned(),
            verified: verified.to_owned(),
        })
    }

    /// Its standard output, when it says that all is well.
    fn run(&self, arguments: &[OsString], input: &[u8]) -> Result<String, Error> {
        let failed = |error: std::io::Error| Error::Openssl(error.to_string());
        let mut child = Command::new(&self.path)
            .args(arguments)
            .env_remove("OPENSSL_CONF")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let id = child.id();
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read says why with its exit code.
            let _ = stdin.write_all(input);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("openssl".into())
            .spawn(move || sender.send(child.wait_with_output()))
            .map_err(failed)?;
        let output = receiver
            .recv_timeout(DEADLINE)
            .map_err(|_| Error::Openssl(format!("process {id} did not end within a minute")))?
            .map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Check {
            step: "openssl".to_owned(),
            problem: said.trim().chars().take(500).collect(),
        })
    }
}
