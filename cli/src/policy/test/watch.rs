//! `policy test --watch`: again whenever a file changed, until somebody stops it.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};

use super::{once, watched};
use crate::{
    args::TestArgs,
    failure::Failure,
    output::{self, Output},
};

const INTERVAL: Duration = Duration::from_millis(400);
/// Folders within folders.
const MAX_DEPTH: u32 = 16;

pub(super) fn run(args: &TestArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut seen = None;
    loop {
        // Taken before the run: what changes meanwhile is seen afterwards.
        let now = state(args);
        if seen != Some(now) {
            if let Err(failure) = once(args, output) {
                // The next change may mend it.
                let _code = failure.report();
            }
            output::notice("waiting for a change; Ctrl-C ends");
            seen = Some(now);
        }
        thread::sleep(INTERVAL);
    }
}

/// Names, sizes and times of all files that matter.
fn state(args: &TestArgs) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in watched(args) {
        add(path, &mut hasher, 0);
    }
    hasher.finish()
}

fn add(path: &Path, hasher: &mut DefaultHasher, depth: u32) {
    let Ok(facts) = fs::metadata(path) else {
        return path.hash(hasher);
    };
    if facts.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| !(depth < MAX_DEPTH && is_written(path, depth)))
            .collect();
        paths.sort();
        if depth < MAX_DEPTH {
            paths.iter().for_each(|path| add(path, hasher, depth + 1));
        }
    } else {
        (path, facts.len(), facts.modified().ok()).hash(hasher);
    }
}

/// What a build writes into its crate.
fn is_written(path: &Path, depth: u32) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let output =
        name == "target" || name == "Cargo.lock" || name.ends_with(".wasm") || name.ends_with(".source.tar");
    name.starts_with('.') || (depth == 0 && output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_matters_and_not_what_a_build_writes() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let now = || {
            let mut hasher = DefaultHasher::new();
            add(dir.path(), &mut hasher, 0);
            hasher.finish()
        };
        write("src/lib.rs", "1");
        let first = now();
        for path in ["target/x", "a.wasm", "a.source.tar", "Cargo.lock", ".git/x"] {
            write(path, "out");
            assert_eq!(now(), first, "{path}");
        }
        write("src/lib.rs", "22");
        let second = now();
        assert_ne!(second, first);
        write("vectors/a.toml", "");
        assert_ne!(now(), second);
    }
}
