//! The work folder, and cargo in it.
//!
//! Its source is always at one path, so that a project costs no second build of the standard library, and
//! that path stands in no module.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{FlockOperation, flock};
use sealwright_policy_wasm::{BuildNote, ENCODER};

use super::{
    source::{Files, LOCK, Source},
    toolchain::{TARGET, Toolchain},
};
use crate::{
    failure::{Class, Failure, OrFail},
    output,
};

/// The stack of a policy, in bytes: what lies within the memory that the host keeps for the next instance.
const STACK_BYTES: u32 = 64 << 10;
/// What of the environment cargo still sees: where the registry is, and how to get there.
const KEPT: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "RUSTUP_HOME",
    "RUSTUP_DIST_",
    "RUSTUP_AUTO_INSTALL",
    "RUSTUP_TOOLCHAIN",
];

/// The work folder, held by this process alone.
#[derive(Debug)]
pub(super) struct Workshop {
    root: PathBuf,
    toolchain: Toolchain,
    _lock: File,
}

impl Workshop {
    /// Waits until no other build uses it.
    ///
    /// # Errors
    /// When there is no place for it, or no compiler.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, Failure> {
        let root = named.map_or_else(default_root, |path| Ok(path.to_owned()))?;
        let failed = format!(
            "cannot use the build folder {}; name another with --build-dir",
            root.display()
        );
        let prepared = || -> io::Result<(PathBuf, File)> {
            fs::create_dir_all(root.join("source"))?;
            let root = fs::canonicalize(&root)?;
            let lock = File::create(root.join(".lock"))?;
            flock(&lock, FlockOperation::LockExclusive)?;
            Ok((root, lock))
        };
        let (root, lock) = prepared().or_fail_doing(Class::Usage, failed)?;
        let toolchain = Toolchain::find(&root.join("source"))?;
        Ok(Self {
            root,
            toolchain,
            _lock: lock,
        })
    }

    /// The core module. `again`: from nothing but what is in the source, whatever was built before.
    ///
    /// # Errors
    /// When cargo fails, which it says itself.
    pub(super) fn build(&self, source: &Source, again: bool) -> Result<Vec<u8>, Failure> {
        let folder = self.root.join("source");
        if again {
            if source.lock().is_none() {
                let text = format!("the source has no {LOCK}, so nobody knows what it was built with");
                return Err(Failure::text(Class::Input, text));
            }
            fs::remove_dir_all(&folder).or_fail_doing(Class::Internal, "cannot empty the build folder")?;
        }
        unpack(&folder, source.files()).or_fail_doing(Class::Internal, "cannot fill the build folder")?;
        let target = self.root.join("target");
        if self.toolchain.builds_std && !target.join(TARGET).exists() {
            output::notice("compiling the standard library for WebAssembly: a minute or two, once");
        }
        let mut cargo = plain(Command::new(&self.toolchain.cargo));
        cargo
            .current_dir(&folder)
            .args([
                "build",
                "--release",
                "--lib",
                "--quiet",
                "--target",
                TARGET,
                "--target-dir",
            ])
            .arg(&target)
            .env("RUSTC", &self.toolchain.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags())
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("CARGO_INCREMENTAL", "0");
        if again {
            cargo.arg("--locked");
        }
        if self.toolchain.builds_std {
            cargo
                .arg("-Zbuild-std=core,alloc,std,panic_abort")
                .env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some(linker) = &self.toolchain.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        // Standard output is ours.
        cargo.stdout(io::stderr());
        let status = cargo
            .status()
            .or_fail_doing(Class::Internal, "cannot start cargo")?;
        if !status.success() {
            let advice = if again {
                "the source does not build here; see above"
            } else {
                "the policy does not build; see above"
            };
            return Err(Failure::text(Class::Input, advice));
        }
        let module = target
            .join(TARGET)
            .join("release")
            .join(format!("{}.wasm", source.library()));
        fs::read(&module).or_fail_doing(
            Class::Input,
            "cargo built no WebAssembly library; Cargo.toml needs [lib] with crate-type = [\"cdylib\"]",
        )
    }

    /// The lock file as cargo left it.
    pub(super) fn lock_file(&self) -> Result<Vec<u8>, Failure> {
        fs::read(self.root.join("source").join(LOCK))
            .or_fail_doing(Class::Internal, "cargo left no Cargo.lock")
    }

    pub(super) fn note(&self) -> BuildNote {
        let built = self.toolchain.builds_std;
        BuildNote {
            compiler: self.toolchain.compiler.clone(),
            standard_library: if built { "build-std" } else { "prebuilt" }.to_owned(),
            linker: self.toolchain.linked_by.clone(),
            encoder: ENCODER.to_owned(),
        }
    }

    /// Flags that go before all that a user's configuration says. A module must not depend on where it
    /// was built.
    fn flags(&self) -> OsString {
        let remap = |from: &Path, to: &str| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push("=");
            flag.push(to);
            flag
        };
        let flags = [
            remap(&self.root.join("source"), "/policy"),
            remap(&cargo_home(), "/cargo"),
            format!("-Clink-arg=-zstack-size={STACK_BYTES}").into(),
        ];
        flags.join(std::ffi::OsStr::new("\u{1f}"))
    }
}

/// A program without what an outer cargo hands down: another toolchain, flags, target folders.
pub(super) fn plain(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let bytes = name.as_bytes();
        let cargos = bytes.starts_with(b"CARGO") || bytes.starts_with(b"RUST");
        let kept = KEPT.iter().any(|kept| bytes.starts_with(kept.as_bytes()));
        if (cargos && !kept) || bytes == b"LD_LIBRARY_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

fn default_root() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| {
        Failure::text(
            Class::Usage,
            "neither XDG_CACHE_HOME nor HOME is set; name a folder with --build-dir",
        )
    })?;
    Ok(cache.join("sealwright/policy-build"))
}

fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    )
}

/// Makes the folder hold these files and no other. A file that is there already is not touched, so that
/// cargo does not build again what did not change.
fn unpack(folder: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clear(folder, "", files)?;
    for (path, bytes) in files {
        let path = folder.join(path);
        if fs::read(&path).is_ok_and(|there| &there == bytes) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, bytes)?;
    }
    Ok(())
}

/// Removes what is not one of the files.
fn clear(folder: &Path, prefix: &str, files: &Files) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let inside = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let beneath = format!("{inside}/");
            if files.keys().any(|path| path.starts_with(&beneath)) {
                clear(&entry.path(), &beneath, files)?;
            } else {
                fs::remove_dir_all(entry.path())?;
            }
        } else if !(kind.is_file() && files.contains_key(&inside)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_folder_holds_the_source_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["old/x", "src/old.rs", "src/lib.rs/x"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "old").unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("sdk")).unwrap();
        let files: Files = [("src/lib.rs", "new"), ("sdk/a", "a")]
            .map(|(path, text)| (path.to_owned(), text.into()))
            .into();
        unpack(root, &files).unwrap();
        let kept = fs::metadata(root.join("sdk/a")).unwrap().modified().unwrap();
        unpack(root, &files).unwrap();
        assert_eq!(
            fs::metadata(root.join("sdk/a")).unwrap().modified().unwrap(),
            kept
        );
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["sdk", "src"]);
        assert_eq!(fs::read_dir(root.join("src")).unwrap().count(), 1);
    }
}
