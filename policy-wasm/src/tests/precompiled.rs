//! Code that is kept between starts, and code that somebody else put there.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::support::{guest, source};
use crate::{CodeOrigins, Engine, EngineSettings, Evaluation, Policy, input::tests::sample};

/// An engine of its own: what one test keeps must not be in another's memory.
fn engine(folder: &Path) -> Engine {
    Engine::new(EngineSettings {
        slots: 1,
        code_folder: Some(folder.to_owned()),
        ..EngineSettings::default()
    })
    .unwrap()
}

/// A start with one policy: what it decides, and where its code came from.
fn start(folder: &Path) -> (Evaluation, CodeOrigins) {
    let engine = engine(folder);
    let settings = json!({"trust_domains": ["cluster.local"]});
    let policy = Policy::load(&engine, source(guest("baseline"), settings)).unwrap();
    (policy.evaluate(&sample()), engine.code_origins())
}

fn origins(kept: u64, compiled: u64, refused: u64) -> CodeOrigins {
    CodeOrigins {
        kept,
        compiled,
        refused,
    }
}

/// The one file of code in the folder.
fn code(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "key")
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_was_compiled_once_is_not_compiled_again_and_decides_the_same() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    let (first, origin) = start(&folder);
    assert_eq!(origin, origins(0, 1, 0));
    let (second, origin) = start(&folder);
    assert_eq!(origin, origins(1, 0, 0));
    // Verdict, narrowing and fuel: the record of a decision does not depend on where code came from.
    assert_eq!(first, second);
    for path in [folder.clone(), folder.join("key"), code(&folder)] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn a_poisoned_or_damaged_file_is_refused_and_written_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    let (honest, _) = start(&folder);
    let file = code(&folder);
    let whole = fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let last = whole.len() - 1;
    let poisons = [
        flipped(0),
        flipped(32),
        flipped(last / 2),
        flipped(last),
        whole[..last].to_vec(),
        whole[..20].to_vec(),
        Vec::new(),
        [&whole[..], b"x"].concat(),
    ];
    for (number, poison) in poisons.into_iter().enumerate() {
        fs::write(&file, &poison).unwrap();
        let (evaluation, origin) = start(&folder);
        assert_eq!(origin, origins(0, 1, 1), "poison {number}");
        assert_eq!(evaluation, honest);
        assert_eq!(start(&folder).1, origins(1, 0, 0), "after poison {number}");
    }
}

#[test]
fn the_code_of_one_component_is_not_taken_for_another() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    start(&folder);
    let honest = code(&folder);
    // Good code with a good tag, under the name of another component.
    let taken = engine(&folder);
    let settings = json!({"decide": "allow"});
    Policy::load(&taken, source(guest("hostile"), settings)).unwrap();
    let hostile = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| *path != honest && path.file_name().unwrap() != "key")
        .unwrap();
    fs::rename(&hostile, &honest).unwrap();
    assert_eq!(start(&folder).1, origins(0, 1, 1));
}

#[test]
fn a_file_that_others_can_write_or_that_is_no_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    start(&folder);
    let file = code(&folder);
    fs::set_permissions(&file, Permissions::from_mode(0o620)).unwrap();
    assert_eq!(start(&folder).1, origins(0, 1, 1));

    let aside = home.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    symlink(&aside, &file).unwrap();
    assert_eq!(start(&folder).1, origins(0, 1, 1));
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
}

#[test]
fn with_another_key_nothing_that_was_kept_is_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    start(&folder);
    let key = folder.join("key");
    fs::remove_file(&key).unwrap();
    assert_eq!(start(&folder).1, origins(0, 1, 1));
    for (content, mode) in [(&b"short"[..], 0o600), (&[7; 32], 0o644)] {
        fs::write(&key, content).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        assert_eq!(start(&folder).1, origins(0, 1, 1));
        assert_ne!(fs::read(&key).unwrap(), content);
    }
}

#[test]
fn a_folder_that_others_can_use_keeps_nothing() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("code");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o770)).unwrap();
    assert_eq!(start(&folder).1, origins(0, 1, 0));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    let link = home.path().join("link");
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    symlink(&folder, &link).unwrap();
    assert_eq!(start(&link).1, origins(0, 1, 0));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
