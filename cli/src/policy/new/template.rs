//! What `policy new` writes: the SDK and the contract as this program was built with, and an example.

/// Files of the repository, as they are.
const COPIED: &[(&str, &str)] = &[
    (
        "sdk/Cargo.toml",
        include_str!("../../../../policy-wasm/sdk/Cargo.toml"),
    ),
    (
        "sdk/src/lib.rs",
        include_str!("../../../../policy-wasm/sdk/src/lib.rs"),
    ),
    (
        "sdk/src/bindings.rs",
        include_str!("../../../../policy-wasm/sdk/src/bindings.rs"),
    ),
    (
        "sdk/src/bump.rs",
        include_str!("../../../../policy-wasm/sdk/src/bump.rs"),
    ),
    (
        "sdk/src/problem.rs",
        include_str!("../../../../policy-wasm/sdk/src/problem.rs"),
    ),
    (
        "sdk/src/verdict.rs",
        include_str!("../../../../policy-wasm/sdk/src/verdict.rs"),
    ),
    (
        "wit/policy.wit",
        include_str!("../../../../policy-wasm/wit/policy.wit"),
    ),
];

/// Files of the example; `policy-name` and `policy_name` stand for the name.
const EXAMPLE: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("example/Cargo.toml.in")),
    (".gitignore", include_str!("example/gitignore")),
    ("README.md", include_str!("example/README.md")),
    ("settings.toml", include_str!("example/settings.toml")),
    ("src/lib.rs", include_str!("example/lib.rs")),
    ("src/schema.json", include_str!("example/schema.json")),
    (
        "vectors/allows-a-day.toml",
        include_str!("example/vectors/allows-a-day.toml"),
    ),
    (
        "vectors/allows-one-hour.toml",
        include_str!("example/vectors/allows-one-hour.toml"),
    ),
    (
        "vectors/denies-another-team.toml",
        include_str!("example/vectors/denies-another-team.toml"),
    ),
    (
        "vectors/denies-without-pod.toml",
        include_str!("example/vectors/denies-without-pod.toml"),
    ),
];

/// The versions that the stock policies are built and tested with.
const LOCK: &str = include_str!("../../../../policy-wasm/guests/Cargo.lock");
const NAME: &str = "policy-name";

/// Every file of a new crate: its path and its text.
pub(super) fn files(name: &str) -> Vec<(&'static str, String)> {
    let copied = COPIED.iter().map(|(path, text)| (*path, (*text).to_owned()));
    let example = EXAMPLE
        .iter()
        .map(|(path, text)| (*path, text.replace(NAME, name)));
    copied
        .chain(example)
        .chain([("Cargo.lock", lock(name))])
        .collect()
}

/// The lock file of the stock policies, with the new crate in their place.
fn lock(name: &str) -> String {
    let (head, packages) = LOCK.split_once("[[package]]\n").unwrap_or((LOCK, ""));
    let own = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"sealwright-policy-sdk\",\n \"serde\",\n]\n\n"
    );
    let mut all: Vec<String> = packages
        .split("[[package]]\n")
        .filter(|package| !["baseline", "hostile"].iter().any(|guest| is(package, guest)))
        .map(|package| format!("{}\n\n", package.trim_end()))
        .chain([own])
        .collect();
    // cargo keeps them by name.
    all.sort();
    let text: String = all
        .iter()
        .map(|package| format!("[[package]]\n{package}"))
        .collect();
    format!("{head}{}\n", text.trim_end())
}

fn is(package: &str, name: &str) -> bool {
    package.starts_with(&format!("name = \"{name}\"\n"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_whole_sdk_and_world_are_inside() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-wasm");
        let mut there = Vec::new();
        for folder in ["sdk", "sdk/src", "wit"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    there.push(format!("{folder}/{}", entry.file_name().to_str().unwrap()));
                }
            }
        }
        there.retain(|path| path != "sdk/Cargo.lock");
        there.sort();
        let mut copied: Vec<_> = COPIED.iter().map(|(path, _)| (*path).to_owned()).collect();
        copied.sort();
        assert_eq!(there, copied);
    }

    #[test]
    fn no_placeholder_is_left() {
        for (path, text) in files("one-team") {
            assert!(!text.contains(NAME), "{path}");
        }
    }

    #[test]
    fn the_lock_file_has_the_new_crate_and_no_guest() {
        let lock = lock("one-team");
        assert!(lock.contains("[[package]]\nname = \"one-team\"\nversion = \"0.1.0\"\n"));
        assert!(lock.contains("name = \"wit-bindgen\""));
        assert!(!lock.contains("\"baseline\"") && !lock.contains("\"hostile\""));
        let names: Vec<_> = lock.lines().filter(|line| line.starts_with("name = ")).collect();
        assert!(names.is_sorted());
        // Whole, and nothing twice: cargo reads it as the stock policies' own.
        assert_eq!(names.len() + 1, LOCK.matches("[[package]]").count());
    }
}
