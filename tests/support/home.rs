//! Homes to change: copies of one development home that was made once, then stopped.
//!
//! Each has a token and a ledger of its own, with the same keys, PINs and CA in it. What a test
//! changes is the configuration or a file beside it; then it starts a signer there, or sees one
//! refused.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::{Outcome, Serving, Signer, command::binary};

/// A start that is to be refused has ended long before; one that is not is ended then, with 124.
const SECONDS_TO_REFUSE: &str = "120";

/// A home that belongs to one test.
#[derive(Debug)]
pub struct Home {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A copy of the one that was made.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        for entry in made() {
            let place = path.join(&entry.name);
            match &entry.bytes {
                Some(bytes) => fs::write(&place, bytes).unwrap(),
                None => fs::create_dir_all(&place).unwrap(),
            }
            fs::set_permissions(&place, fs::Permissions::from_mode(entry.mode)).unwrap();
        }
        let home = Self { folder, path };
        // SoftHSM's file names the token folder absolutely.
        let conf = fs::read_to_string(home.file("softhsm2.conf")).unwrap();
        let tokens = format!("directories.tokendir = {}", home.file("token").display());
        let (_, rest) = conf.split_once('\n').unwrap();
        fs::write(home.file("softhsm2.conf"), format!("{tokens}\n{rest}")).unwrap();
        home
    }

    /// A new one with a token of another module, which finds its settings by a variable that names a file.
    pub fn of_module(module: &Path, variable: &str, settings: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        let file = folder.path().join("module.conf");
        fs::write(&file, settings(folder.path())).unwrap();
        let (home, module) = (path.to_str().unwrap(), module.to_str().unwrap());
        let arguments = [
            "dev",
            "--home",
            home,
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--pkcs11-module",
            module,
        ];
        let variables = [(variable, file.to_str().unwrap())];
        let signer = Signer::start_with(&arguments, &variables, &format!("{home}.log"));
        assert_eq!(signer.stop(), 0);
        Self { folder, path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.file("sealwright.toml")
    }

    /// Puts something else in the place of a text that the configuration has once.
    pub fn replace(&self, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
        self
    }

    /// Adds sections at the configuration's end.
    pub fn append(&self, sections: &str) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}\n{sections}\n")).unwrap();
        self
    }

    /// Takes the sections of policies out of the configuration.
    pub fn without_policies(&self) -> &Self {
        let text = fs::read_to_string(self.config()).unwrap();
        let (before, after) = text.split_once("[[policies]]").unwrap();
        let (_, after) = after.split_once("\n[gate]").unwrap();
        fs::write(self.config(), format!("{before}\n[gate]{after}")).unwrap();
        self
    }

    /// Leaves the issuer without policies: a start compiles nothing, and nothing is granted.
    pub fn without_grants(&self) -> &Self {
        self.without_policies()
            .replace("policies = [\"baseline\"]", "policies = []")
    }

    /// Starts a signer that has to come to signing.
    pub fn start(&self) -> Signer {
        Signer::dev_in(&self.path, &[])
    }

    /// Starts `serve`, which may have something to say against signing.
    pub fn serve(&self) -> Serving {
        self.serve_with(&[], &[])
    }

    /// The same with further arguments, and variables in its environment.
    pub fn serve_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Serving {
        self.serve_as(&[], binary(), arguments, variables)
    }

    /// The same by another binary, with more options of `setpriv`.
    pub fn serve_as(
        &self,
        options: &[&str],
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Serving {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).args(options).arg(program);
        command
            .args(["serve", "--config"])
            .arg(self.config())
            .args(arguments);
        command.envs(variables.iter().copied());
        Serving::start(command, self.folder.path().join("serve.log"))
    }

    /// What `serve` says when it refuses to start.
    pub fn refused(&self) -> Outcome {
        self.run(&["serve"])
    }

    /// What `check` says: its exit code, and one object for each precondition.
    pub fn check(&self) -> (i32, Vec<Value>) {
        let outcome = self.run(&["check", "--output", "json"]);
        let items = outcome.stdout.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {}", outcome.stderr))
        });
        (outcome.code, items.collect())
    }

    /// Runs a subcommand with this configuration to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, &[])
    }

    /// The same with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let config = self.config();
        let more = ["--config", config.to_str().unwrap()];
        self.run_bare(&[arguments, &more].concat(), variables)
    }

    /// Runs exactly these arguments to their end, within a bound.
    pub fn run_bare(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let output = Command::new("timeout")
            .arg(SECONDS_TO_REFUSE)
            .arg(binary())
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

struct Entry {
    name: PathBuf,
    mode: u32,
    /// A folder has none.
    bytes: Option<Vec<u8>>,
}

fn made() -> &'static [Entry] {
    static MADE: OnceLock<Vec<Entry>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        assert_eq!(Signer::dev_in(&home, &[]).stop(), 0);
        let mut entries = Vec::new();
        collect(&home, Path::new(""), &mut entries);
        entries
    })
}

fn collect(root: &Path, name: &Path, entries: &mut Vec<Entry>) {
    let path = root.join(name);
    let metadata = fs::symlink_metadata(&path).unwrap();
    let bytes = metadata.is_file().then(|| fs::read(&path).unwrap());
    entries.push(Entry {
        name: name.to_owned(),
        mode: metadata.mode() & 0o7777,
        bytes,
    });
    if metadata.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            collect(root, &name.join(entry.unwrap().file_name()), entries);
        }
    }
}
