//! What documents claim, held against the tree and a running signer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sealwright_tests::{
    Client, Csr, dev_token,
    fault::{Faulty, Scene, WEB},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// Texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Every test function of the workspace.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let mut is_test = false;
                for line in text.lines().map(str::trim) {
                    let line = line.strip_prefix("async ").unwrap_or(line);
                    if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                        is_test = true;
                    } else if let (true, Some(rest)) = (is_test, line.strip_prefix("fn ")) {
                        tests.insert(rest.split('(').next().unwrap().to_owned());
                        is_test = false;
                    }
                }
            }
        }
    }
    tests
}

/// A name of three words and more with nothing but underscores between them.
fn is_a_tests_name(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().all(letters) && text.split('_').filter(|word| !word.is_empty()).count() >= 3
}

#[test]
fn every_cited_test_exists() {
    let known = tests();
    assert!(known.len() > 300, "{}", known.len());
    let text = document("threat-model.md");
    let cited: BTreeSet<_> = quoted(&text).filter(|text| is_a_tests_name(text)).collect();
    assert!(cited.len() > 50, "{}", cited.len());
    let missing: Vec<_> = cited.iter().filter(|name| !known.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/threat-model.md cites {missing:?}");

    let text = document("ceremony.md");
    let (_, claims) = text.split_once("## What can be believed").unwrap();
    let missing: Vec<_> = quoted(claims)
        .filter(|text| is_a_tests_name(text) && !known.contains(*text))
        .collect();
    assert!(missing.is_empty(), "docs/ceremony.md cites {missing:?}");
}

#[test]
fn every_attack_has_an_answer_and_a_test_or_says_none() {
    let text = document("threat-model.md");
    let (_, attacks) = text.split_once("## The stranger").unwrap();
    let rows = attacks
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        let test = cells[2];
        let named = test.starts_with('`') || test.starts_with("none") || matches!(test, "test" | "above");
        assert!(named, "{row}");
    }
}

/// Families of metrics, as a page declares them.
fn families(page: &str) -> BTreeSet<String> {
    let mut families = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(name), "declared twice: {line}");
        }
    }
    families
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let text = document("operations.md");
    let (_, table) = text.split_once("\n## Metrics").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut documented = BTreeSet::new();
    let mut later = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for name in quoted(cell) {
            documented.insert(name.to_owned());
            if cell.contains('†') {
                later.insert(name.to_owned());
            }
        }
    }

    let faulty = Faulty::new();
    let scene = faulty.start().await;
    let at_start = families(&scene.serving.page("/metrics").await.1);
    exercise(&faulty, &scene).await;
    let shown = families(&scene.serving.page("/metrics").await.1);
    let undocumented: Vec<_> = shown
        .union(&at_start)
        .filter(|name| !documented.contains(*name))
        .collect();
    assert!(
        undocumented.is_empty(),
        "not in docs/operations.md: {undocumented:?}"
    );
    let gone: Vec<_> = documented
        .iter()
        .filter(|name| !shown.contains(*name) && !later.contains(*name))
        .collect();
    assert!(gone.is_empty(), "documented, and not there: {gone:?}");
}

/// One certificate, one denial, one fault that is repaired.
async fn exercise(faulty: &Faulty, scene: &Scene<'_>) {
    scene.ask().await.unwrap();
    let token = dev_token(faulty.home.path(), "kube-system", "web");
    let client = Client::connect_to(scene.serving.grpc(), &faulty.home.file("roots.pem")).await;
    let denied = client.create(&token, &Csr::ztunnel(WEB).pem, 60).await;
    denied.unwrap_err();
    faulty.inject("sign=logout count:1");
    scene.ask().await.unwrap();
    faulty.lift();
}

#[test]
fn the_documents_name_each_exit_code() {
    let text = document("operations.md");
    let (_, table) = text.split_once("\n## Exit codes").unwrap();
    let failure = fs::read_to_string(root().join("cli/src/failure.rs")).unwrap();
    let codes = failure.lines().filter_map(|line| {
        let code = line.trim().strip_prefix("Self::")?.split_once(" => ")?.1;
        code.trim_end_matches(',').parse::<u8>().ok()
    });
    let codes: Vec<_> = codes.collect();
    assert!(codes.len() >= 7, "{codes:?}");
    for code in codes {
        assert!(table.contains(&format!("\n| {code} |")), "{code}");
    }
}
