//! The second verifier: the `openssl` program, another implementation by other people.
//!
//! Before 3.5 it does not know ML-DSA. Then it is not asked, and what is written down says *one verifier* and which program
//! it was: signatures have been verified by two implementations all the same ([`crate::beside`]), paths by ours alone.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sealwright_hsm::ceremony::hash_file;
use sealwright_identity::{Digest, KeyType, Timestamp};
use sealwright_x509::pem;
use serde::{Deserialize, Serialize};

use crate::beside;
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
    /// The program that is there, and does not know the algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<Known>,
}

impl OneVerifier {
    /// Whether there was a program, and it is by its version too old for ML-DSA.
    pub(crate) fn is_too_old(&self) -> bool {
        let known = self.program.as_ref();
        known.is_some_and(|known| too_old(&known.version))
    }
}

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Its file.
    path: String,
    /// Its digest.
    digest: Digest,
    /// What it says of itself.
    version: String,
}

/// What it is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    /// The self-signature and the names of a request.
    Request {
        der: &'a [u8],
        /// The kind of the key that signed it.
        key_type: KeyType,
    },
    /// A path from a certificate to the last of `parents`, its root, at a time; a root has no parents.
    Path {
        der: &'a [u8],
        parents: &'a [Vec<u8>],
        at: Timestamp,
    },
}

impl Question<'_> {
    /// Whether who answers must know ML-DSA.
    pub(crate) fn knows_ml_dsa(&self) -> bool {
        match self {
            Self::Request { key_type, .. } => *key_type == KeyType::MlDsa65,
            Self::Path { der, parents, .. } => {
                let mut all: Vec<&[u8]> = parents.iter().map(Vec::as_slice).collect();
                all.push(der);
                beside::knows_ml_dsa(&all)
            }
        }
    }

    fn ask(&self) -> Result<Witnessed, Error> {
        match self {
            Self::Request { der, .. } => request(der),
            Self::Path { der, parents, at } => certificate(der, parents, *at),
        }
    }
}

impl Second {
    /// Takes what was witnessed, or that there is a program and it is too old, or, where that is enough, that there is none.
    pub(crate) fn of(one_is_enough: bool, question: &Question<'_>) -> Result<Self, Error> {
        if one_is_enough && Program::find().is_err() {
            return Ok(Self::One(OneVerifier {
                one_verifier: "openssl is not in the PATH".to_owned(),
                program: None,
            }));
        }
        if question.knows_ml_dsa() {
            let known = Program::find()?.known()?;
            if too_old(&known.version) {
                return Ok(Self::One(OneVerifier {
                    one_verifier: "openssl is older than 3.5, and does not know ML-DSA".to_owned(),
                    program: Some(known),
                }));
            }
        }
        question.ask().map(Self::Witnessed)
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

fn request(der: &[u8]) -> Result<Witnessed, Error> {
    let program = Program::find()?;
    let text = pem::encode(pem::CERTIFICATE_REQUEST, der);
    program.run(
        &["req".into(), "-verify".into(), "-noout".into()],
        text.as_bytes(),
    )?;
    program.witnessed("the request's signature")
}

fn certificate(der: &[u8], parents: &[Vec<u8>], at: Timestamp) -> Result<Witnessed, Error> {
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

/// Whether a program that calls itself so is an OpenSSL before 3.5. One that calls itself otherwise is asked, and answers.
fn too_old(version: &str) -> bool {
    let mut words = version.split_whitespace();
    let (name, number) = (words.next(), words.next().unwrap_or_default());
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    match (name, parts.next().flatten(), parts.next().flatten()) {
        (Some("OpenSSL"), Some(major), Some(minor)) => (major, minor) < (3, 5),
        _ => false,
    }
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
        let Known {
            path,
            digest,
            version,
        } = self.known()?;
        Ok(Witnessed {
            program: path,
            digest,
            version,
            verified: verified.to_owned(),
        })
    }

    fn known(&self) -> Result<Known, Error> {
        Ok(Known {
            path: self.path.display().to_string(),
            digest: hash_file(&self.path).map_err(Error::files(&self.path))?,
            version: self.run(&["version".into()], b"")?.trim().to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_openssl_before_3_5_is_too_old_for_ml_dsa() {
        for old in [
            "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)",
            "OpenSSL 1.1.1w  11 Sep 2023",
            "OpenSSL 3.4.5",
        ] {
            assert!(too_old(old), "{old}");
        }
        for other in [
            "OpenSSL 3.5.0 8 Apr 2025",
            "OpenSSL 4.0.1",
            "LibreSSL 4.1.0",
            "",
            "3.0",
        ] {
            assert!(!too_old(other), "{other}");
        }
    }

    /// What transcripts hold since before there was more to say reads back, and nothing else does.
    #[test]
    fn what_was_written_down_before_is_read() {
        let read = |text: &str| serde_json::from_str::<Second>(text);
        let before = r#"{"one_verifier":"openssl is not in the PATH"}"#;
        let Ok(Second::One(one)) = read(before) else {
            panic!("{before}");
        };
        assert!(!one.is_too_old());
        assert_eq!(serde_json::to_string(&Second::One(one)).unwrap(), before);
        let digest = Digest::of(b"openssl");
        let old = format!(
            r#"{{"one_verifier":"old","program":{{"digest":"{digest}","path":"/usr/bin/openssl","version":"OpenSSL 3.0.19"}}}}"#
        );
        assert!(matches!(read(&old), Ok(Second::One(one)) if one.is_too_old()));
        read(&old.replace("path", "file")).unwrap_err();
    }
}
