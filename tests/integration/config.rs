//! Configurations: what is over the file, and what is refused before anything is bound.

use std::fs;

use sealwright_tests::{Client, Csr, Home};
use tonic::Code;

use crate::policy::{BASELINE, HOSTILE, policy};

/// What is put into a home's configuration at a place, and what the refusal says.
const MISTAKES: [(&str, &str, &[&str]); 9] = [
    (
        "trust_domain = \"cluster.local\"",
        "lissen = 1\ntrust_domain = \"cluster.local\"",
        &["lissen", "trust_domain"],
    ),
    (
        "[server]",
        "[server]\nlissen = 1",
        &["lissen", "server", "listen"],
    ),
    (
        "[gate.token]",
        "[gate.token]\npin = \"1\"",
        &["`pin`", "gate.token", "pin_file"],
    ),
    (
        "[gate.serving]",
        "[gate.serving]\nlifetime = \"1 day\"",
        &["gate.serving.lifetime", "24h"],
    ),
    (
        "[server]",
        "[server]\nmax_connections = \"many\"",
        &["server.max_connections", "many"],
    ),
    (
        "[server]",
        "[server]\nmax_csr_bytes = 0",
        &["server.max_csr_bytes", "at least 1"],
    ),
    (
        "default_issuer = \"default\"",
        "default_issuer = \"other\"",
        &["default_issuer", "default"],
    ),
    (
        "policies = [\"baseline\"]",
        "policies = [\"missing\"]",
        &["issuers.default.policies", "missing"],
    ),
    ("[gate]", "[gate", &["line"]),
];

#[test]
fn a_mistake_in_the_file_is_named_with_its_key_and_file() {
    for (place, mistake, said) in MISTAKES {
        let home = Home::new();
        let before = fs::read(home.file("gate/ledger.db")).unwrap();
        home.replace(&format!("{place}\n"), &format!("{mistake}\n"));
        let outcome = home.refused();
        assert_eq!(outcome.code, 2, "{mistake}: {}", outcome.stderr);
        for text in said.iter().chain(&["sealwright.toml"]) {
            assert!(
                outcome.stderr.contains(text),
                "{mistake}: no {text:?} in {}",
                outcome.stderr
            );
        }
        assert_eq!(outcome.stderr.lines().count(), 1, "{mistake}: {}", outcome.stderr);
        assert_eq!(
            fs::read(home.file("gate/ledger.db")).unwrap(),
            before,
            "{mistake}"
        );
        let (code, items) = home.check();
        assert_eq!(code, 2, "{mistake}: {items:?}");
        assert_eq!(items.len(), 1);
        assert_eq!(
            (&items[0]["check"], &items[0]["state"]),
            (&"configuration".into(), &"failed".into())
        );
        assert!(items[0]["fix"].is_string());
    }
}

/// Files that are put in a home, and what the refusal says.
const FILES: [(&str, Option<&str>, &[&str]); 5] = [
    (
        "issuer-chain.pem",
        None,
        &["issuers.default.chain", "make it exist"],
    ),
    (
        "issuer-chain.pem",
        Some("no chain"),
        &["issuers.default", "put the issuing certificate first"],
    ),
    ("roots.pem", Some(""), &["issuers.default", "the trust bundle"]),
    ("jwks.json", None, &["kubernetes"]),
    ("jwks.json", Some("no keys"), &["kubernetes", "key set"]),
];

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for (name, text, said) in FILES {
        let home = Home::new();
        home.without_grants();
        match text {
            Some(text) => fs::write(home.file(name), text).unwrap(),
            None => fs::remove_file(home.file(name)).unwrap(),
        }
        let outcome = home.refused();
        assert_eq!(outcome.code, 2, "{name}: {}", outcome.stderr);
        for text in said.iter().chain(&[name]) {
            assert!(
                outcome.stderr.contains(text),
                "{name}: no {text:?} in {}",
                outcome.stderr
            );
        }
        assert!(!outcome.stderr.contains("listen"), "{name}: {}", outcome.stderr);
        let (code, items) = home.check();
        assert_eq!(code, 2, "{name}: {items:?}");
        let failed = items.iter().find(|item| item["state"] == "failed").unwrap();
        assert!(failed["found"].as_str().unwrap().contains(name), "{failed}");
        assert!(failed["fix"].is_string(), "{failed}");
    }
}

#[tokio::test]
async fn the_environment_is_over_the_file_and_flags_are_over_both() {
    let home = Home::new();
    home.without_grants();
    let serving = home.serve_with(
        &["--http", "127.0.0.3:0"],
        &[
            ("SEALWRIGHT__SERVER__LISTEN", "127.0.0.2:0"),
            ("SEALWRIGHT__HTTP__LISTEN", "127.0.0.2:0"),
        ],
    );
    assert!(serving.grpc().starts_with("127.0.0.2:"), "{}", serving.grpc());
    assert!(serving.http().starts_with("127.0.0.3:"), "{}", serving.http());

    let outcome = home.run_with(&["serve"], &[("SEALWRIGHT__SERVER__LISSEN", "x")]);
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("lissen") && outcome.stderr.contains("SEALWRIGHT__"));
}

#[tokio::test]
async fn the_gate_hears_the_environment_too() {
    // More than any disk has: nothing is signed, and only the gate knows why.
    let home = Home::new();
    home.without_grants();
    let most = i64::MAX.to_string();
    let serving = home.serve_with(&[], &[("SEALWRIGHT__GATE__DISK_RESERVE_BYTES", &most)]);
    serving.wait_until(503, "reserve").await;
}

#[tokio::test]
async fn a_limit_of_the_file_is_kept() {
    let home = Home::new();
    home.replace("[server]\n", "[server]\nmax_csr_bytes = 100\n");
    let signer = home.start();
    let csr = Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web");
    let answer = Client::connect(&signer)
        .await
        .create(&signer.token("default", "web"), &csr.pem, 60)
        .await;
    assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_good_home_passes_every_check() {
    let home = Home::new();
    let (code, items) = home.check();
    assert_eq!(code, 0, "{items:?}");
    let names: Vec<_> = items.iter().map(|item| item["check"].as_str().unwrap()).collect();
    for name in [
        "configuration",
        "home",
        "policies",
        "token",
        "PIN",
        "mechanisms",
        "ledger",
        "clock",
        "boundary",
        "limits",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(items.iter().all(|item| item["state"] != "failed"), "{items:?}");
}

/// A policy that cannot be used: its section, a file beside the configuration, what is said of it.
struct Useless {
    section: String,
    file: Option<(&'static str, &'static [u8])>,
    said: &'static [&'static str],
}

fn useless() -> Vec<Useless> {
    let row = |section, file, said| Useless { section, file, said };
    let module = |bytes, said| row(policy("bad", "bad.wasm", "{}"), Some(("bad.wasm", bytes)), said);
    let settings = |module, text, said| row(policy("bad", module, text), None, said);
    let pinned = format!("digest = \"sha256:{}\"\nsettings", "00".repeat(32));
    vec![
        row(
            policy("bad", "bad.wasm", "{}"),
            None,
            &["bad.wasm", "make it exist"],
        ),
        module(b"", &["not a WebAssembly component"]),
        module(b"#!/bin/sh\n", &["not a WebAssembly component"]),
        // The eight bytes of an empty core module, and those of an empty component.
        module(b"\0asm\x01\0\0\0", &["wasm-component-ld"]),
        module(b"\0asm\x0d\0\x01\0", &["world sealwright:policy@1.0.0"]),
        row(
            policy("bad", BASELINE, "{}").replace("settings", &pinned),
            None,
            &["digest", "baseline.wasm", "change the digest"],
        ),
        settings(BASELINE, "{}", &["trust_domains"]),
        settings(BASELINE, "{ trust_domains = [] }", &["trust_domains"]),
        settings(
            BASELINE,
            "{ trust_domains = [\"a\"], namespace = [\"b\"] }",
            &["namespaces"],
        ),
        settings(
            BASELINE,
            "{ trust_domains = [1.5] }",
            &["settings", "whole number"],
        ),
        settings(HOSTILE, "{ validate = \"refuse\" }", &["is not to my liking"]),
        settings(HOSTILE, "{ validate = \"loop\" }", &["validate-settings", "fuel"]),
        settings(HOSTILE, "{ validate = \"panic\" }", &["validate-settings"]),
    ]
}

impl Useless {
    fn home(&self) -> Home {
        let home = Home::new();
        home.without_policies().append(&self.section);
        home.replace("policies = [\"baseline\"]", "policies = [\"bad\"]");
        if let Some((name, bytes)) = self.file {
            fs::write(home.file(name), bytes).unwrap();
        }
        home
    }
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_before_anything_is_bound() {
    for (row, useless) in useless().into_iter().enumerate() {
        let outcome = useless.home().refused();
        let said = &outcome.stderr;
        assert_eq!(outcome.code, 2, "row {row}: {said}");
        for text in useless.said.iter().chain(&["policies.bad"]) {
            assert!(said.contains(text), "row {row}: no {text:?} in {said}");
        }
        assert!(!said.contains("listen"), "row {row}: {said}");
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn the_refusal_of_a_policy_names_its_file() {
    for (row, useless) in useless().into_iter().enumerate() {
        let file = if useless.section.contains("hostile.wasm") {
            "hostile.wasm"
        } else if useless.section.contains(BASELINE) {
            "baseline.wasm"
        } else {
            "bad.wasm"
        };
        // A key of the configuration file that has no canonical form is found before the module is.
        if useless.said[0] == "settings" {
            continue;
        }
        let said = useless.home().refused().stderr;
        let last = said
            .lines()
            .find(|line| line.starts_with("sealwright: "))
            .unwrap();
        assert!(last.contains(file), "row {row}: {said}");
    }
}

#[test]
fn a_check_finds_a_policy_that_cannot_be_used() {
    for (row, useless) in useless().into_iter().enumerate() {
        let (code, items) = useless.home().check();
        assert_eq!(code, 2, "row {row}: {items:?}");
        let failed: Vec<_> = items.iter().filter(|item| item["state"] == "failed").collect();
        let [failed] = failed.as_slice() else {
            panic!("row {row}: {items:?}")
        };
        let found = failed["found"].as_str().unwrap();
        assert!(found.contains("policies.bad"), "row {row}: {failed}");
        assert!(!failed["fix"].as_str().unwrap().is_empty(), "row {row}: {failed}");
    }
}
