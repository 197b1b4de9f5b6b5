//! Tokens that people carry: a fresh SoftHSM, with a token for each of them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Outcome, command::binary, fault};

/// The module of these tokens.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The user PIN of every token here; nowhere else.
pub const PIN: &str = "6940381752";

const SO_PIN: &str = "1058273649";

/// Tokens, the files of their PINs, and the memory of those that were refused.
#[derive(Debug)]
pub struct Tokens {
    folder: tempfile::TempDir,
    faulty: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokens {
    /// No token yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Self {
            folder,
            faulty: false,
        };
        configure(tokens.folder.path());
        tokens.pin(PIN);
        tokens
    }

    /// From now on the module that fails on demand is between them and the program.
    pub fn faulty(mut self) -> Self {
        self.faulty = true;
        self
    }

    /// Says what goes wrong in the next command: `FUNCTION=FAULT [count:N]` a line.
    pub fn inject(&self, faults: &str) {
        fs::write(self.file("fault"), faults).unwrap();
    }

    /// A file of this folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as a text.
    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// What the PIN's file holds from now on.
    pub fn pin(&self, pin: &str) {
        fs::write(self.file("pin"), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.file("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Initialises a token.
    pub fn init(&self, label: &str) {
        self.util(&[
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            SO_PIN,
        ]);
    }

    /// Runs the token's own tool.
    pub fn util(&self, arguments: &[&str]) {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", self.file("softhsm2.conf"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// The files of a token's objects, of which there is one token.
    pub fn objects(&self) -> Vec<PathBuf> {
        objects(self.folder.path())
    }

    /// The arguments by which a command uses one of the tokens.
    pub fn options(&self, label: &str) -> Vec<String> {
        let module = if self.faulty {
            fault::module().to_str().unwrap().to_owned()
        } else {
            MODULE.to_owned()
        };
        let pin = format!("{label}=file:{}", self.path("pin"));
        let state = self.path("memory");
        ["--pkcs11-module", &module, "--pin", &pin, "--state", &state]
            .map(str::to_owned)
            .into()
    }

    /// What these tokens need in the environment of a command.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("SOFTHSM2_CONF", self.path("softhsm2.conf")),
            ("FAULT_MODULE_REAL", MODULE.to_owned()),
            ("FAULT_MODULE_CONTROL", self.path("fault")),
        ]
    }

    /// Runs the binary with one of these tokens.
    pub fn run(&self, arguments: &[&str], label: &str) -> Outcome {
        let options = self.options(label);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.sealwright(&[arguments, &options].concat(), "")
    }

    /// Runs the binary with exactly these arguments and something on standard input, and without a terminal: one that
    /// the test itself has must not be asked.
    pub fn sealwright(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut child = Command::new("setsid")
            .args(["--wait"])
            .arg(binary())
            .args(arguments)
            .envs(self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who needs none may have gone before.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Makes a key on a token; its public half goes to a file of this name with `.pub`.
    pub fn key(&self, label: &str, kind: &str, public: &str) -> Value {
        let on = format!("pkcs11:token={label}");
        let made = self.run(
            &["policy", "keygen", "--on", &on, "--kind", kind, "--out", public],
            label,
        );
        made.json()
    }
}

/// Makes a folder one of a SoftHSM without tokens: `softhsm2.conf`, and where its tokens will be.
pub(crate) fn configure(folder: &Path) {
    let tokens = folder.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    fs::write(folder.join("softhsm2.conf"), conf).unwrap();
}

/// The files of the objects of such a folder's one token, but for the token itself.
pub(crate) fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut tokens = fs::read_dir(folder.join("tokens")).unwrap();
    let entries = fs::read_dir(tokens.next().unwrap().unwrap().path()).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".object") && name != "token.object"
    });
    files.sort();
    files
}
