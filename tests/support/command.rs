//! Running the `sealwright` binary.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The binary beside the test's own, built by the same `cargo test --workspace`.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let path = test.parent().and_then(Path::parent).unwrap().join("sealwright");
        assert!(
            path.is_file(),
            "{} is not built: run cargo test --workspace",
            path.display()
        );
        path
    })
}

/// What a finished command left.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Standard output, of a command that had to succeed.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// Standard output as JSON, of a command that had to succeed.
    pub fn json(self) -> serde_json::Value {
        self.json_of(0)
    }

    /// Standard output as JSON, of a command that had to end with this code.
    pub fn json_of(self, code: i32) -> serde_json::Value {
        assert_eq!(self.code, code, "{}", self.stderr);
        let text = self.stdout;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Standard output as one JSON object a line, of a command that had to succeed.
    pub fn json_lines(self) -> Vec<serde_json::Value> {
        self.success()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs `sealwright` with some arguments to its end.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = Command::new(binary())
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

/// A token of the home's own issuer.
pub fn dev_token(home: &Path, namespace: &str, service_account: &str) -> String {
    let home = home.to_str().unwrap();
    let of = ["--namespace", namespace, "--service-account", service_account];
    let token = run(["dev", "token", "--home", home].into_iter().chain(of));
    token.success().trim_end().to_owned()
}

/// The page of `who-allowed`.
pub fn who_allowed(home: &Path, serial: &str) -> serde_json::Value {
    let home = home.to_str().unwrap();
    let of = ["--serial", serial, "--output", "json"];
    run(["who-allowed", "--home", home].into_iter().chain(of)).json()
}

/// A roster of policy approvers in a file: somebody alone, with a new key beside it.
pub fn roster_of_one(name: &str, out: &Path) {
    let key = out.with_extension("key");
    run(["policy", "keygen", "--out", key.to_str().unwrap()]).success();
    let person = format!("{name}={}.pub", key.display());
    let people = ["--author", &person, "--approver", &person];
    let out = ["--threshold", "1", "--out", out.to_str().unwrap()];
    run(["policy", "roster"].into_iter().chain(people).chain(out)).success();
}
