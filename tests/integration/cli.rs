//! The command line as scripts use it: what is printed, what is left on disk, exit codes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use sealwright_tests::{Outcome, Signer, run, shared};

struct Issue<'a> {
    server: &'a str,
    token: &'a str,
    out: &'a Path,
    more: &'a [&'a str],
}

impl Issue<'_> {
    fn run(&self) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, self.token).unwrap();
        let mut arguments = vec!["issue", "--server", self.server, "--output", "json"];
        arguments.extend(["--ca-file", shared().trust_bundle().to_str().unwrap()]);
        arguments.extend([
            "--token-file",
            token.to_str().unwrap(),
            "--out",
            self.out.to_str().unwrap(),
        ]);
        arguments.extend(self.more);
        run(arguments)
    }
}

fn issue(token: &str, out: &Path, more: &[&str]) -> Outcome {
    Issue {
        server: shared().grpc(),
        token,
        out,
        more,
    }
    .run()
}

#[test]
fn the_ready_line_has_its_four_values_and_absolute_paths() {
    let ready = shared().ready().as_object().unwrap();
    assert_eq!(
        ready.keys().collect::<Vec<_>>(),
        ["grpc", "home", "http", "trust_bundle"]
    );
    assert!(shared().home().is_absolute() && shared().trust_bundle().is_absolute());
    assert!(ready["http"].as_str().unwrap().starts_with("http://127.0.0.1:"));
}

#[test]
fn issue_writes_three_files_that_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    for key_type in ["p256", "p384", "rsa2048"] {
        let out = folder.path().join("out");
        let json = issue(
            &shared().token("default", "web"),
            &out,
            &["--key-type", key_type, "--ttl", "1h"],
        )
        .json();
        assert_eq!(json["identity"], "spiffe://cluster.local/ns/default/sa/web");
        for field in ["serial", "not_before", "not_after", "files"] {
            assert!(!json[field].is_null(), "{field}: {json}");
        }
        let mode = fs::metadata(out.join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
        for name in ["key.pem", "cert-chain.pem", "root-cert.pem"] {
            assert!(fs::symlink_metadata(out.join(name)).unwrap().is_file(), "{name}");
        }
        let root = fs::read(out.join("root-cert.pem")).unwrap();
        assert_eq!(root, fs::read(shared().trust_bundle()).unwrap());
    }
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn issue_renews_with_the_certificate_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let first = issue(&shared().token("default", "web"), &out, &[]).json();
    let path = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let (cert, key, out) = (path("cert-chain.pem"), path("key.pem"), out.to_str().unwrap());
    let roots = shared().trust_bundle().to_str().unwrap();
    let arguments = [
        "issue",
        "--server",
        shared().grpc(),
        "--ca-file",
        roots,
        "--cert",
        &cert,
        "--key",
        &key,
    ];
    let second = run(arguments.into_iter().chain(["--out", out, "--output", "json"])).json();
    assert_eq!(second["identity"], first["identity"]);
    assert_ne!(second["serial"], first["serial"]);
}

#[test]
fn a_failure_leaves_the_folder_as_it_was_and_says_which_code() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("key.pem"), "kept").unwrap();
    let untouched = |outcome: &Outcome| {
        assert_eq!(outcome.stdout, "");
        assert_eq!(fs::read_to_string(out.join("key.pem")).unwrap(), "kept");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    };

    let garbage = issue("garbage", &out, &[]);
    assert_eq!(garbage.code, 3, "{}", garbage.stderr);
    assert!(
        garbage.stderr.to_uppercase().contains("UNAUTHENTICATED"),
        "{}",
        garbage.stderr
    );
    untouched(&garbage);

    let token = shared().token("default", "web");
    let long = issue(&token, &out, &["--ttl", "91d"]);
    assert_eq!(long.code, 6, "{}", long.stderr);
    assert!(
        long.stderr
            .to_uppercase()
            .replace(['_', ' '], "")
            .contains("INVALIDARGUMENT"),
        "{}",
        long.stderr
    );
    untouched(&long);

    let away = Issue {
        server: "127.0.0.1:1",
        token: &token,
        out: &out,
        more: &[],
    }
    .run();
    assert_eq!(away.code, 5, "{}", away.stderr);
    untouched(&away);

    let usage = run(["issue", "--server", "x"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
    let unknown = run(["no-such-command"]);
    assert_eq!(unknown.code, 2);
}

#[test]
fn an_expired_token_is_made_on_request_and_refused() {
    let home = shared().home().to_str().unwrap();
    let names = ["--namespace", "default", "--service-account", "web"];
    let arguments = ["dev", "token", "--home", home]
        .into_iter()
        .chain(names)
        .chain(["--ttl", "-1h"]);
    let token = run(arguments).success();
    assert_eq!(token.lines().count(), 1);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(issue(token.trim_end(), &folder.path().join("out"), &[]).code, 3);
}

#[test]
fn a_token_needs_a_home_that_was_started_once() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("none");
    let arguments = ["dev", "token", "--home", home.to_str().unwrap()];
    let outcome = run(arguments
        .into_iter()
        .chain(["--namespace", "a", "--service-account", "b"]));
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
    assert!(!home.exists());
}

#[test]
fn an_entry_is_visible_before_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let token = shared().token("visible", "web");
    let json = issue(&token, &folder.path().join("out"), &[]).json();
    let rows = shared().log_list(&["--serial", json["serial"].as_str().unwrap()]);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row["outcome"], "issued");
    assert_eq!(row["identity"], "spiffe://cluster.local/ns/visible/sa/web");
    assert!(row["recorded_at"].as_str().unwrap().ends_with('Z'));
    let policy = &row["policies"][0];
    assert!(policy["module"].as_str().unwrap().starts_with("sha256:"), "{row}");
    assert!(
        policy["settings"].as_str().unwrap().starts_with("sha256:"),
        "{row}"
    );
    assert_eq!(policy["verdict"], "allow");
    assert!(policy["fuel"].as_u64().unwrap() > 0);
}

#[test]
fn a_home_keeps_its_ca_and_its_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let first = Signer::dev_in(&home, &["--algorithm", "p384"]);
    let roots = fs::read(first.trust_bundle()).unwrap();

    // Another signer on the same home.
    let path = home.to_str().unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let held = run(["dev", "--home", path].into_iter().chain(listen));
    assert_eq!(held.code, 7, "{}", held.stderr);
    assert!(!held.stderr.is_empty());
    assert_eq!(first.stop(), 0);

    // The ledger and tokens are there without a signer.
    assert_eq!(run(["log", "verify", "--home", path]).code, 0);

    let other = run(["dev", "--home", path, "--algorithm", "p256"]
        .into_iter()
        .chain(listen));
    assert_eq!(other.code, 2, "{}", other.stderr);
    assert!(
        other.stderr.contains("p384") && other.stderr.contains("p256"),
        "{}",
        other.stderr
    );

    let again = Signer::dev_in(&home, &[]);
    assert_eq!(fs::read(again.trust_bundle()).unwrap(), roots);
    assert_eq!(again.stop(), 0);
}

#[test]
fn every_subcommand_explains_itself_with_an_example() {
    for command in [
        vec!["--help"],
        vec!["dev", "--help"],
        vec!["dev", "token", "--help"],
        vec!["serve", "--help"],
        vec!["gate", "--help"],
        vec!["check", "--help"],
        vec!["issue", "--help"],
        vec!["log", "list", "--help"],
        vec!["log", "show", "--help"],
        vec!["log", "verify", "--help"],
        vec!["log", "export", "--help"],
        vec!["bench", "--help"],
    ] {
        let text = run(&command).success();
        assert!(text.contains("sealwright "), "{command:?}: {text}");
    }
}
