//! `policy new`: a crate that builds, with the SDK beside it. Needs no file but this program.

mod template;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use crate::{
    args::NewArgs,
    failure::{Class, Failure, OrFail},
    files::{self, Temporary},
    output,
};

/// The longest name of a policy's crate.
const MAX_NAME: usize = 64;
/// Names that Rust or the folder itself has another use for.
const TAKEN: [&str; 10] = [
    "alloc",
    "build",
    "core",
    "deps",
    "proc-macro",
    "sdk",
    "std",
    "target",
    "test",
    "wit",
];

pub(super) fn run(args: &NewArgs) -> Result<ExitCode, Failure> {
    let name = crate_name(&args.name)?;
    let place = args.parent.join(name);
    if place.exists() {
        return Err(Failure::text(
            Class::Usage,
            format!(
                "{} is there already; give another name, or remove it",
                place.display()
            ),
        ));
    }
    let folder = Temporary::beside(&place)?;
    for (path, text) in template::files(name) {
        write(folder.path(), path, &text)?;
    }
    // It was made for this user alone.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).or_fail(Class::Internal)?;
    folder
        .rename_to(&place)
        .or_fail_doing(Class::Internal, format!("cannot make {}", place.display()))?;
    output::notice(&format!(
        "made {}; next: cd {} && sealwright policy test",
        place.display(),
        place.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &Path, path: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .or_fail_doing(Class::Internal, format!("cannot make {}", parent.display()))?;
    }
    files::write(&path, text.as_bytes(), 0o644)
}

/// Checks a name that becomes a folder, a crate and a policy.
fn crate_name(name: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let shaped = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--");
    if !shaped {
        return Err(Failure::text(
            Class::Usage,
            format!(
                "{name:?} is no name of a policy: lower-case letters, digits and single hyphens, \
                 a letter first, at most {MAX_NAME} characters, as in one-team"
            ),
        ));
    }
    if TAKEN.contains(&name) {
        return Err(Failure::text(
            Class::Usage,
            format!("the name {name:?} is taken by the compiler or the folder; choose another"),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_that_are_crates_and_folders() {
        for name in ["a", "one-team", "a1-b2"] {
            assert_eq!(crate_name(name).unwrap(), name);
        }
        let long = "a".repeat(65);
        for name in [
            "", "1a", "-a", "a-", "a--b", "A", "a_b", "a/b", "..", "é", "std", "sdk", &long,
        ] {
            assert_eq!(crate_name(name).unwrap_err().class(), Class::Usage, "{name}");
        }
    }
}
