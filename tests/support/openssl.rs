//! The openssl command line tool as a verifier and as a TLS peer.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{Issued, within};

/// The longest that one handshake may take.
const SECONDS: &str = "60";

/// A TLS version, as openssl's option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// 1.2.
    V12,
    /// 1.3.
    V13,
}

impl Tls {
    /// Both, to go through.
    pub const BOTH: [Self; 2] = [Self::V12, Self::V13];

    fn option(self) -> &'static str {
        match self {
            Self::V12 => "-tls1_2",
            Self::V13 => "-tls1_3",
        }
    }

    /// As openssl prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }
}

/// `openssl verify -x509_strict` for a purpose, with more options; what it says when it refuses.
pub fn verify(issued: &Issued, purpose: &str, more: &[&str]) -> Result<(), String> {
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", purpose])
        .args(more)
        .arg("-CAfile")
        .arg(issued.roots())
        .arg("-untrusted")
        .arg(issued.intermediates())
        .arg(issued.leaf())
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `openssl x509 -noout` with more options, of the leaf.
pub fn show(issued: &Issued, options: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-in"])
        .arg(issued.leaf())
        .args(options)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The options for a peer that presents its certificate and verifies the other's.
fn peer(own: Option<&Issued>, roots: &Issued) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec!["-CAfile".into(), roots.roots().into()];
    options.extend(["-x509_strict".into(), "-verify_return_error".into()]);
    if let Some(own) = own {
        for (option, path) in [
            ("-cert", own.leaf()),
            ("-cert_chain", own.intermediates()),
            ("-key", own.key()),
        ] {
            options.extend([option.into(), path.into()]);
        }
    }
    options
}

/// `openssl s_server` that demands a client certificate and sends each line back reversed.
pub struct Server {
    child: Child,
    address: String,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts one on a free port.
    pub fn start(own: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let file = fs::File::create(&log).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "openssl", "s_server", "-rev"])
            .args(["-accept", "127.0.0.1:0", "-Verify", "3"])
            .args(peer(Some(own), own))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let address = within(|| {
            let said = fs::read_to_string(&log).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("ACCEPT "))?;
            Some(line.to_owned())
        });
        Self {
            child,
            address: address.expect("openssl s_server does not listen"),
            log,
            _folder: folder,
        }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What `openssl s_client` printed, and whether it was content.
pub struct Session {
    /// Its standard output and standard error.
    pub said: String,
    /// Whether it ended with success.
    pub good: bool,
}

impl Session {
    /// Whether the session continued an earlier one.
    pub fn resumed(&self) -> bool {
        assert!(self.good, "{}", self.said);
        let line = |word: &str| self.said.lines().any(|line| line.starts_with(word));
        assert!(line("Reused, ") != line("New, "), "{}", self.said);
        line("Reused, ")
    }
}

/// `openssl s_client`: connects, sends some text, and reads until the server closes.
pub fn client(
    address: &str,
    version: Tls,
    own: Option<&Issued>,
    roots: &Issued,
    more: &[&str],
    text: &[u8],
) -> Session {
    let mut child = Command::new("timeout")
        .args([SECONDS, "openssl", "s_client", "-ign_eof", "-connect", address])
        .arg(version.option())
        .args(peer(own, roots))
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended already, when the handshake fails.
    child.stdin.take().unwrap().write_all(text).ok();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Session {
        said: String::from_utf8_lossy(&said).into_owned(),
        good: output.status.success(),
    }
}
