//! A policy from an empty folder to an admitted module, by the commands of its author.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sealwright_tests::{Outcome, run};
use serde_json::Value;

/// Where compiled dependencies stay from one run of the tests to the next.
fn build_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/policy-build")
}

fn guest(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.build/guests")
        .join(name);
    path.to_str().unwrap().to_owned()
}

fn policy(arguments: &[&str]) -> Outcome {
    run(["policy"].iter().chain(arguments).chain(&["--output", "json"]))
}

/// A crate of an author.
struct Crate(PathBuf);

impl Crate {
    fn new(parent: &Path) -> Self {
        policy(&["new", "one-team", "--parent", parent.to_str().unwrap()]).success();
        Self(parent.join("one-team"))
    }

    fn path(&self, inside: &str) -> String {
        self.0.join(inside).to_str().unwrap().to_owned()
    }

    fn run(&self, command: &str, more: &[&str]) -> Outcome {
        let build_dir = build_dir();
        let place = self.path("");
        let mut arguments = vec![command, &place, "--build-dir", build_dir.to_str().unwrap()];
        arguments.extend(more);
        policy(&arguments)
    }

    fn verify(&self, module: &str, source: &str) -> Outcome {
        let build_dir = build_dir();
        let (module, source) = (self.path(module), self.path(source));
        policy(&[
            "verify-source",
            &module,
            &source,
            "--build-dir",
            build_dir.to_str().unwrap(),
        ])
    }

    fn admit(&self) -> Outcome {
        let (module, vectors, settings) = (
            self.path("one-team.wasm"),
            self.path("vectors"),
            self.path("settings.toml"),
        );
        policy(&["admit", &module, "--vectors", &vectors, "--settings", &settings])
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

/// One test, because building is what takes the time.
#[test]
fn from_an_empty_folder_to_an_admitted_policy() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Crate::new(here.path());

    let lines = one.run("test", &[]).json_lines();
    assert_eq!(lines.len(), 4);
    for line in &lines {
        assert_eq!(line["passed"], true, "{line}");
        assert!(line["fuel"].as_u64().unwrap() > 0);
    }

    // The same source in another folder gives the same bytes.
    let built = one.run("build", &[]).json();
    let other = Crate::new(there.path()).run("build", &[]).json();
    assert_ne!(built["module_file"], other["module_file"]);
    for what in ["module", "source", "module_bytes"] {
        assert_eq!(built[what], other[what], "{what}");
    }
    let described = policy(&["describe", &one.path("one-team.wasm")]).json();
    assert_eq!(
        (&described["name"], &described["version"]),
        (&"one-team".into(), &"0.1.0".into())
    );
    assert_eq!(described["module"], built["module"]);
    assert_eq!(described["settings_schema"]["required"][0], "namespaces");

    let verified = one.verify("one-team.wasm", "one-team.source.tar").json();
    assert_eq!(
        (&verified["module"], &verified["source"]),
        (&built["module"], &built["source"])
    );

    let report = one.admit().json();
    assert_eq!(report["admitted"], true, "{report}");
    assert_eq!(
        (&report["module"], &report["warnings"]),
        (&built["module"], &Value::Array(vec![]))
    );
    assert_eq!(one.admit().json(), report, "two processes, one report");

    // Other settings and vectors: refused by their key, and by the name of what came out otherwise.
    one.edit("settings.toml", "max_seconds = 3600", "max_second = 3600");
    let refused = one.run("test", &[]);
    assert_eq!(refused.code, 6);
    assert!(
        refused.stderr.contains("max_seconds: is missing"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("max_second: is not a key"),
        "{}",
        refused.stderr
    );
    one.edit("settings.toml", "max_second = 3600", "max_seconds = 1800");
    let failed = one.run("test", &[]);
    assert_eq!(failed.code, 6);
    assert!(failed.stderr.contains("1 of 4 vectors"), "{}", failed.stderr);
    assert!(
        failed
            .stdout
            .contains("lifetime_seconds: expected 3600, got 1800"),
        "{}",
        failed.stdout
    );
    let not_admitted = one.admit();
    assert_eq!(not_admitted.code, 4);
    let report: Value = serde_json::from_str(&not_admitted.stdout).unwrap();
    assert_eq!(report["refusals"][0]["subject"], "allows-one-hour");
    one.edit("settings.toml", "1800", "3600");

    // A policy that more names persuade is warned of, and is not what the archive holds.
    one.edit("src/lib.rs", "let Some(pod) =", "if !input.csr.dns.is_empty() {\n            return narrow().into();\n        }\n        let Some(pod) =");
    fs::copy(one.path("one-team.source.tar"), one.path("before.source.tar")).unwrap();
    let changed = one.run("build", &[]).json();
    assert_ne!(changed["module"], built["module"]);
    assert_ne!(changed["source"], built["source"]);
    let report = one.admit().json();
    assert_eq!(report["admitted"], true);
    assert!(report["names"]["allowed"].as_u64().unwrap() > 0, "{report}");
    assert!(
        report["warnings"].to_string().contains("one-more-dns-name"),
        "{report}"
    );
    let differs = one.verify("one-team.wasm", "before.source.tar");
    assert_eq!(differs.code, 6);
    assert!(
        differs.stderr.contains("is not built from this source"),
        "{}",
        differs.stderr
    );

    // What does not compile says so, and leaves the old module alone.
    let before = fs::read(one.path("one-team.wasm")).unwrap();
    one.edit(
        "src/lib.rs",
        "sealwright_policy_sdk::export!",
        "sealwright_policy_sdk::exports!",
    );
    let broken = one.run("build", &[]);
    assert_eq!(broken.code, 6);
    assert!(broken.stderr.contains("does not build"), "{}", broken.stderr);
    assert_eq!(fs::read(one.path("one-team.wasm")).unwrap(), before);
}

#[test]
fn a_policy_is_not_made_over_another_nor_under_an_odd_name() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().to_str().unwrap();
    let made = Crate::new(folder.path());
    let again = policy(&["new", "one-team", "--parent", parent]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    for name in ["../x", "One", "std"] {
        assert_eq!(policy(&["new", name, "--parent", parent]).code, 2, "{name}");
    }
    assert_eq!(fs::read_dir(parent).unwrap().count(), 1, "nothing else is left");
    // Everything that the build needs is in the folder.
    for file in [
        "Cargo.lock",
        "sdk/src/lib.rs",
        "wit/policy.wit",
        "vectors/allows-one-hour.toml",
    ] {
        assert!(made.0.join(file).is_file(), "{file}");
    }
}

#[test]
fn what_is_no_module_is_told_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wasm");
    let path = file.to_str().unwrap();
    for (bytes, expected) in [
        (&b"text"[..], "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "core WebAssembly module"),
    ] {
        fs::write(&file, bytes).unwrap();
        let described = policy(&["describe", path]);
        assert_eq!(described.code, 6);
        assert!(described.stderr.contains(expected), "{}", described.stderr);
        let admitted = policy(&["admit", path]);
        assert_eq!(admitted.code, 4, "{}", admitted.stderr);
        let report: Value = serde_json::from_str(&admitted.stdout).unwrap();
        assert_eq!(report["refusals"][0]["check"], "module");
    }
    assert_eq!(policy(&["describe", "/nowhere.wasm"]).code, 2);
    let without_vectors = policy(&["test", path]);
    assert_eq!(without_vectors.code, 2);
    assert!(
        without_vectors.stderr.contains("--vectors DIR"),
        "{}",
        without_vectors.stderr
    );
}

#[test]
fn vectors_run_against_a_module_alone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let settings = write(
        "settings.json",
        r#"{"trust_domains":["cluster.local"],"namespaces":["shop"]}"#,
    );
    let vectors = folder.path().join("vectors");
    fs::create_dir(&vectors).unwrap();
    let module = guest("baseline.wasm");
    let test = |more: &[&str]| {
        let mut arguments = vec![
            "test",
            &module,
            "--settings",
            &settings,
            "--vectors",
            vectors.to_str().unwrap(),
        ];
        arguments.extend(more);
        policy(&arguments)
    };
    let empty = test(&[]);
    assert_eq!(empty.code, 6);
    assert!(empty.stderr.contains("nothing was tested"), "{}", empty.stderr);

    write(
        "vectors/a.json",
        r#"{"input":{"identity":"spiffe://cluster.local/ns/shop/sa/a"},"expect":{"allow":{"usages":["server","client"]}}}"#,
    );
    write("vectors/b.toml", "expect.deny.code = 'NAMESPACE_NOT_ALLOWED'");
    let lines = test(&[]).json_lines();
    assert_eq!(
        (lines[0]["vector"].as_str(), lines[1]["vector"].as_str()),
        (Some("a"), Some("b"))
    );
    assert!(lines.iter().all(|line| line["passed"] == true));

    // A limit that production could have as well.
    let starved = test(&["--fuel", "100"]);
    assert_eq!(starved.code, 6);
    assert!(starved.stdout.contains("POLICY_FUEL"), "{}", starved.stdout);

    write("vectors/c.toml", "expect.allow = {}\ninput.caler = {}");
    let misspelled = test(&[]);
    assert_eq!(misspelled.code, 6);
    assert!(
        misspelled.stderr.contains("c.toml") && misspelled.stderr.contains("caler"),
        "{}",
        misspelled.stderr
    );
}

#[test]
fn hostile_modules_are_refused_from_a_process_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.json");
    for (deed, code) in [
        ("loop", "POLICY_FUEL"),
        ("allocate", "POLICY_TRAP"),
        ("flood-lines", "POLICY_LOG"),
    ] {
        fs::write(&settings, format!(r#"{{"decide":"{deed}"}}"#)).unwrap();
        let admit = || {
            policy(&[
                "admit",
                &guest("hostile.wasm"),
                "--settings",
                settings.to_str().unwrap(),
            ])
        };
        let refused = admit();
        assert_eq!(refused.code, 4, "{}", refused.stderr);
        let report: Value = serde_json::from_str(&refused.stdout).unwrap();
        assert_eq!(report["admitted"], false);
        assert!(
            report["refusals"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with(code),
            "{deed}: {report}"
        );
        assert_eq!(admit().stdout, refused.stdout, "the same report");
    }
}
