//! A room for a key ceremony: people with keys, a roster, a plan, a fresh SoftHSM.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    Outcome,
    command::binary,
    run,
    tokens::{MODULE, configure, objects},
};

/// The user PIN of every token of a room; nowhere else in it.
pub const PIN: &str = "8264190573";

/// The security officer's.
pub const SO_PIN: &str = "5093847261";

/// A folder with everything that a ceremony takes, and where it leaves things.
#[derive(Debug)]
pub struct Room {
    folder: tempfile::TempDir,
    /// The plan, as it was written last.
    pub plan: String,
    /// What the environment of its commands has besides.
    environment: Vec<(&'static str, String)>,
}

impl Room {
    /// Anna and Bert operate, Carl witnesses; two operators must agree. The plan: a root in one token, an issuing CA and
    /// a health key in another, both new.
    pub fn new() -> Self {
        Self::of("p256", true)
    }

    /// A plan of one key and its root, in one new token: what tests take that run many ceremonies.
    pub fn small() -> Self {
        let mut room = Self::new();
        let (before, rest) = room.plan.split_once("[[tokens]]\nname = \"issuing\"").unwrap();
        let (_, rest) = rest.split_once("[[steps]]").unwrap();
        let (steps, _) = rest
            .split_once("[[steps]]\nkind = \"key\"\nname = \"issuing-key\"")
            .unwrap();
        let text = format!("{before}[[steps]]{steps}");
        room.write_plan(&text);
        room
    }

    /// The same with keys of another kind, or in earnest.
    pub fn of(algorithm: &str, rehearsal: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut room = Self {
            folder,
            plan: String::new(),
            environment: Vec::new(),
        };
        configure(room.folder.path());
        for (name, pin) in [("pin", PIN), ("so-pin", SO_PIN)] {
            fs::write(room.file(name), format!("{pin}\n")).unwrap();
            fs::set_permissions(room.file(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let roster = room.roster(
            &[("anna", "operator"), ("bert", "operator"), ("carl", "witness")],
            2,
        );
        room.write_plan(&plan(algorithm, rehearsal, &roster));
        room
    }

    /// A file of the room.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as a text.
    pub fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// The files of the objects of the room's one token, but for the token itself.
    pub fn objects(&self) -> Vec<PathBuf> {
        objects(self.folder.path())
    }

    /// Writes a roster with new keys for these people, and gives its digest.
    pub fn roster(&self, people: &[(&str, &str)], threshold: u64) -> String {
        let mut text = format!("version = 1\nnumber = 1\nthreshold = {threshold}\n");
        for (name, role) in people {
            let key = self.path(&format!("{name}.pem"));
            for there in [key.clone(), format!("{key}.pub")] {
                let _ = fs::remove_file(there);
            }
            let made = self.sealwright(&["ceremony", "new-key", "--out", &key]).json();
            let public = made["public_key"].as_str().unwrap();
            text.push_str(&format!(
                "\n[[people]]\nname = \"{name}\"\nroles = [\"{role}\"]\nkeys = [\"\"\"{public}\"\"\"]\n"
            ));
        }
        fs::write(self.file("roster.toml"), text).unwrap();
        let named = self
            .sealwright(&["ceremony", "roster", &self.path("roster.toml")])
            .json();
        named["digest"].as_str().unwrap().to_owned()
    }

    /// Writes the plan.
    pub fn write_plan(&mut self, text: &str) {
        text.clone_into(&mut self.plan);
        fs::write(self.file("plan.toml"), text).unwrap();
    }

    /// Puts something else in the place of a text that the plan has.
    pub fn replace(&mut self, from: &str, to: &str) {
        assert!(self.plan.contains(from), "{from:?} in {}", self.plan);
        let text = self.plan.replace(from, to);
        self.write_plan(&text);
    }

    /// From now on the module of the plan is the one that fails on demand.
    pub fn faulty(self) -> Self {
        self.through(&crate::fault::module())
    }

    /// From now on its tokens are reached through a [`crate::remote::Remote`].
    pub fn remote(mut self) -> Self {
        let address = crate::remote::Remote::address(self.folder.path());
        self.environment.push(("P11_KIT_SERVER_ADDRESS", address));
        self.through(&crate::remote::client())
    }

    fn through(mut self, module: &Path) -> Self {
        let module = module.to_str().unwrap();
        let digest = |path: &str| format!("path = \"{path}\"\ndigest = \"sha256:{}\"", run_sha256(path));
        self.replace(&digest(MODULE), &digest(module));
        self
    }

    /// From now on the module of the plan is Kryoptic, with two free slots. `SEALWRIGHT_KRYOPTIC` names its library.
    pub fn kryoptic(mut self) -> Self {
        let module = std::env::var("SEALWRIGHT_KRYOPTIC").expect("run make test-kryoptic");
        let digest = |path: &str| format!("path = \"{path}\"\ndigest = \"sha256:{}\"", run_sha256(path));
        self.replace(&digest(MODULE), &digest(&module));
        let slots = (1..=2).map(|slot| {
            let database = self.path(&format!("token-{slot}.sql"));
            format!("[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = {database:?}\n")
        });
        fs::write(self.file("kryoptic.conf"), slots.collect::<String>()).unwrap();
        self
    }

    /// Makes a token by SoftHSM's own tool, and gives its serial number.
    pub fn token(&self, label: &str) -> String {
        let softhsm = |arguments: &[&str]| {
            let output = Command::new("softhsm2-util")
                .args(arguments)
                .env("SOFTHSM2_CONF", self.file("softhsm2.conf"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let init = ["--init-token", "--free", "--label", label];
        softhsm(&[&init[..], &["--pin", PIN, "--so-pin", SO_PIN]].concat());
        let slots = softhsm(&["--show-slots"]);
        let serials = slots
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Serial number:"));
        let mut serials = serials.map(str::trim).filter(|serial| !serial.is_empty());
        serials.next().unwrap().to_owned()
    }

    /// Says what goes wrong in the next command: `FUNCTION=FAULT [count:N]` a line.
    pub fn inject(&self, faults: &str) {
        fs::write(self.file("fault"), faults).unwrap();
    }

    /// Somebody agrees, in a rehearsal.
    pub fn approve(&self, person: &str, role: &str) -> Outcome {
        let (plan, roster) = (self.path("plan.toml"), self.path("roster.toml"));
        let (key, out) = (
            self.path(&format!("{person}.pem")),
            self.path(&format!("{person}.txt")),
        );
        let _ = fs::remove_file(&out);
        self.sealwright(&[
            "ceremony", "approve", "--plan", &plan, "--roster", &roster, "--role", role, "--key", &key,
            "--out", &out, "--yes",
        ])
    }

    /// Anna and Bert agree.
    pub fn agree(&self) {
        for person in ["anna", "bert"] {
            self.approve(person, "operator").success();
        }
    }

    /// The arguments of a run of what Anna and Bert agreed to.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["ceremony", "run", "--yes"].map(str::to_owned).into();
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--plan", self.path("plan.toml"));
        option("--roster", self.path("roster.toml"));
        option("--approval", self.path("anna.txt"));
        option("--approval", self.path("bert.txt"));
        option("--out", self.path("out"));
        for token in ["root", "issuing"] {
            option("--pin", format!("{token}=file:{}", self.path("pin")));
            option("--so-pin", format!("{token}=file:{}", self.path("so-pin")));
        }
        for person in ["anna", "bert"] {
            option("--sign-with", self.path(&format!("{person}.pem")));
        }
        arguments
    }

    /// Runs what was agreed to.
    pub fn run(&self, more: &[&str]) -> Outcome {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        self.sealwright(&arguments)
    }

    /// Agrees and runs, to the end.
    pub fn finish(&self) -> Value {
        self.agree();
        self.run(&[]).json()
    }

    /// Runs the binary with this room's tokens.
    pub fn sealwright(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments, "")
    }

    /// The same with something on standard input.
    pub fn command(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut child = self.start(arguments);
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        ended(child)
    }

    /// The same where somebody is there and says nothing.
    pub fn silence(&self, arguments: &[&str]) -> Outcome {
        let mut child = self.start(arguments);
        let _open = child.stdin.take();
        ended(child)
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(binary())
            .args(arguments)
            .env("SOFTHSM2_CONF", self.file("softhsm2.conf"))
            .env("KRYOPTIC_CONF", self.file("kryoptic.conf"))
            .env("FAULT_MODULE_REAL", MODULE)
            .env("FAULT_MODULE_CONTROL", self.file("fault"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the binary as somebody at a terminal does: reads what it shows, says yes, and types the words that it asks
    /// for. Gives how many questions there were.
    pub fn talk(&self, arguments: &[&str]) -> (Outcome, usize) {
        self.talk_and(arguments, |_| {})
    }

    /// The same, and does something at each question before it is answered, by its number from 1 on.
    pub fn talk_and(&self, arguments: &[&str], mut at_question: impl FnMut(usize)) -> (Outcome, usize) {
        let mut child = self.start(arguments);
        let (mut input, mut errors) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        let (mut said, mut line, mut words, mut questions) = (String::new(), String::new(), Vec::new(), 0);
        let mut byte = [0];
        while errors.read(&mut byte).unwrap() == 1 {
            line.push(char::from(byte[0]));
            if line.ends_with('\n') {
                let mut parts = line.split_whitespace();
                let number = parts.next().and_then(|part| part.parse::<usize>().ok());
                if let Some(number) = number.filter(|_| line.starts_with("  ")) {
                    words.truncate(number - 1);
                    words.extend(parts.map(str::to_owned));
                }
                said.push_str(&std::mem::take(&mut line));
            } else if line.ends_with(": ") && (line.contains("ype ") || line.contains("Anything")) {
                questions += 1;
                at_question(questions);
                let answer = match line.split_once("type the words ") {
                    Some((_, numbers)) => numbers
                        .trim_end_matches(": ")
                        .split(", ")
                        .map(|number| words[number.parse::<usize>().unwrap() - 1].clone())
                        .collect::<Vec<_>>()
                        .join(" "),
                    None if line.contains("Type yes") => "yes".to_owned(),
                    None => String::new(),
                };
                // Nobody may listen any more.
                let _ = writeln!(input, "{answer}");
                said.push_str(&std::mem::take(&mut line));
            }
        }
        let output = child.wait_with_output().unwrap();
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: said + &line,
        };
        (outcome, questions)
    }

    /// Anna and Bert agree and run it, answering every question.
    pub fn in_earnest(&self) -> Value {
        let (plan, roster) = (self.path("plan.toml"), self.path("roster.toml"));
        for person in ["anna", "bert"] {
            let (key, out) = (
                self.path(&format!("{person}.pem")),
                self.path(&format!("{person}.txt")),
            );
            let approve = [
                "ceremony", "approve", "--plan", &plan, "--roster", &roster, "--role", "operator", "--key",
                &key, "--out", &out,
            ];
            let (outcome, questions) = self.talk(&approve);
            outcome.success();
            assert_eq!(questions, 2);
        }
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .filter(|one| *one != "--yes")
            .collect();
        let (outcome, questions) = self.talk(&arguments);
        let ended = outcome.json();
        // Two tokens, three keys, two certificates; two readings with two remarks.
        assert_eq!(questions, 11);
        ended
    }

    /// The events of the transcript.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file("out/events.jsonl")).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What OpenSSL says of something of the transcript.
    pub fn openssl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.file("out"))
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

fn ended(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What somebody who changes a transcript does next: the chain of the events and the sums are made good again.
pub fn cover_up(folder: &Path) {
    let (path, plan) = (folder.join("events.jsonl"), folder.join("plan.toml"));
    let plan = run(["ceremony", "plan", "digest", plan.to_str().unwrap()]);
    if plan.code == 0 {
        let mut previous = plan.json()["digest"].clone();
        let mut text = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Ok(mut event) = serde_json::from_str::<Value>(line) else {
                return;
            };
            event["previous"] = previous;
            // Keys are sorted, and there is nothing else that a canonical form would write otherwise.
            let line = event.to_string();
            let bytes = [b"sealwright/ceremony-event/v1\0", line.as_bytes()].concat();
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            previous = format!("sha256:{digest}").into();
            text.push_str(&line);
            text.push('\n');
        }
        fs::write(&path, text).unwrap();
    }
    sum_up(folder);
}

/// Writes the sums over what is there now.
pub fn sum_up(folder: &Path) {
    let script = "find . -type f ! -name SHA256SUMS -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum > SHA256SUMS";
    let summed = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(summed.success());
}

/// Every file below a folder with its bytes.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A copy of a folder.
pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let place = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
}

fn plan(algorithm: &str, rehearsal: bool, roster: &str) -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let at = |days: i64| {
        let at = i64::try_from(seconds).unwrap() / 86_400 * 86_400 + days * 86_400;
        let at = time::OffsetDateTime::from_unix_timestamp(at).unwrap();
        at.format(&time::format_description::well_known::Rfc3339).unwrap()
    };
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).unwrap();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let module = run_sha256(MODULE);
    let (from, to, root_end, issuer_end) = (at(-1), at(2), at(3650), at(1825));
    format!(
        r#"version = 1
ceremony = "{id}"
title = "The root and the first issuing CA"
rehearsal = {rehearsal}
not_before = "{from}"
not_after = "{to}"
roster = "{roster}"

[module]
path = "{MODULE}"
digest = "sha256:{module}"

[[tokens]]
name = "root"
label = "Example Root"
initialize = true

[[tokens]]
name = "issuing"
label = "Example Issuing"
initialize = true

[[steps]]
kind = "key"
name = "root-key"
token = "root"
label = "root"
algorithm = "{algorithm}"

[[steps]]
kind = "root"
name = "root-ca"
key = "root-key"
[steps.profile]
organization = "Example"
common_name = "Example Root CA"
not_before = "{from}"
not_after = "{root_end}"
path_length = 1

[[steps]]
kind = "checkpoint"
name = "the-root-is-made"

[[steps]]
kind = "key"
name = "issuing-key"
token = "issuing"
label = "issuing"
algorithm = "{algorithm}"

[[steps]]
kind = "key"
name = "health-key"
token = "issuing"
label = "health"
algorithm = "p256"
purpose = "health"

[[steps]]
kind = "intermediate"
name = "issuing-ca"
key = "issuing-key"
issuer = "root-ca"
[steps.profile]
organization = "Example"
common_name = "Example Issuing CA"
not_before = "{from}"
not_after = "{issuer_end}"
path_length = 0
crl_urls = ["http://pki.example/root.crl"]
issuer_urls = ["http://pki.example/root.cer"]

[[steps]]
kind = "csr"
name = "elsewhere"
key = "issuing-key"
organization = "Example"
common_name = "Example Issuing CA"

[issuer]
name = "default"
certificate = "issuing-ca"
health_key = "health-key"
"#
    )
}

fn run_sha256(path: &str) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// `sealwright ceremony verify` of a folder.
pub fn verify(folder: &Path) -> Outcome {
    run(["ceremony", "verify", folder.to_str().unwrap()])
}
