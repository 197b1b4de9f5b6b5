//! The source of a policy: every file that its module depends on, in one order.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::tar;
use crate::failure::{Class, Failure, OrFail};

/// The file that holds every dependency's version.
pub(super) const LOCK: &str = "Cargo.lock";
const MANIFEST: &str = "Cargo.toml";
const MAX_FILES: usize = 4096;
const MAX_BYTES: u64 = 16 << 20;
const MAX_DEPTH: usize = 16;

/// Files by their path beneath the crate, with `/`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The source of one policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    library: String,
    files: Files,
}

impl Source {
    /// Everything in a folder but what starts with a dot, `target`, and what a build writes there.
    ///
    /// # Errors
    /// When it is no crate, has links, or is larger than any policy.
    pub(super) fn of_folder(dir: &Path) -> Result<Self, Failure> {
        if !dir.join(MANIFEST).is_file() {
            return Err(Failure::text(
                Class::Usage,
                format!(
                    "{} has no {MANIFEST}; name the folder of a policy, or make one with `sealwright policy new NAME`",
                    dir.display()
                ),
            ));
        }
        let mut files = Files::new();
        let mut left = MAX_BYTES;
        collect(dir, dir, &mut files, &mut left)?;
        Self::of_files(files)
    }

    /// What `policy build` wrote.
    ///
    /// # Errors
    /// When the file is not exactly that.
    pub(super) fn of_archive(path: &Path) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        // A header and padding for each file, besides what is in it.
        let most = MAX_BYTES + (MAX_FILES as u64 + 2) * 1024;
        fs::File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))?;
        let files = tar::read(&bytes).or_fail_doing(Class::Input, path.display())?;
        let source = Self::of_files(files)?;
        if source.archive()? != bytes {
            return Err(Failure::text(
                Class::Input,
                format!(
                    "{} is not an archive as `policy build` writes them",
                    path.display()
                ),
            ));
        }
        Ok(source)
    }

    fn of_files(files: Files) -> Result<Self, Failure> {
        let manifest = files.get(MANIFEST).map(Vec::as_slice).unwrap_or_default();
        let manifest = String::from_utf8_lossy(manifest);
        let table: toml::Table = toml::from_str(&manifest).or_fail_doing(Class::Input, MANIFEST)?;
        let text = |section: &str, key: &str| Some(table.get(section)?.get(key)?.as_str()?.to_owned());
        let name = text("package", "name")
            .filter(|name| is_plain(name))
            .ok_or_else(|| {
                Failure::text(
                    Class::Input,
                    format!("{MANIFEST} has no [package] with a name of letters, digits, - and _"),
                )
            })?;
        let library = text("lib", "name")
            .filter(|library| is_plain(library))
            .unwrap_or_else(|| name.replace('-', "_"));
        Ok(Self { name, library, files })
    }

    /// The crate's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name of the library's file.
    pub(super) fn library(&self) -> &str {
        &self.library
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn lock(&self) -> Option<&[u8]> {
        self.files.get(LOCK).map(Vec::as_slice)
    }

    pub(super) fn set_lock(&mut self, lock: Vec<u8>) {
        self.files.insert(LOCK.to_owned(), lock);
    }

    /// One file with all: the same bytes for the same files.
    ///
    /// # Errors
    /// When a path is longer than the format allows.
    pub(super) fn archive(&self) -> Result<Vec<u8>, Failure> {
        tar::write(&self.name, &self.files).or_fail(Class::Input)
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

fn collect(root: &Path, folder: &Path, files: &mut Files, left: &mut u64) -> Result<(), Failure> {
    let failed = |path: &Path| format!("cannot read {}", path.display());
    let inside = |path: &Path| -> Result<String, Failure> {
        let inside = path.strip_prefix(root).ok().and_then(Path::to_str);
        inside.map(str::to_owned).ok_or_else(|| {
            Failure::text(
                Class::Input,
                format!("{} has a name that is not UTF-8", path.display()),
            )
        })
    };
    for entry in fs::read_dir(folder).or_fail_doing(Class::Usage, failed(folder))? {
        let entry = entry.or_fail_doing(Class::Usage, failed(folder))?;
        let path: PathBuf = entry.path();
        let name = entry.file_name();
        let at_root = folder == root;
        if is_left_out(&name.to_string_lossy(), at_root) {
            continue;
        }
        let kind = entry.file_type().or_fail_doing(Class::Usage, failed(&path))?;
        let inside = inside(&path)?;
        if kind.is_dir() {
            if inside.matches('/').count() >= MAX_DEPTH {
                return Err(too_much(format!("folders within folders, {MAX_DEPTH} deep")));
            }
            collect(root, &path, files, left)?;
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            fs::File::open(&path)
                .and_then(|file| file.take(*left + 1).read_to_end(&mut bytes))
                .or_fail_doing(Class::Usage, failed(&path))?;
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| too_much(format!("{} MiB of source", MAX_BYTES >> 20)))?;
            files.insert(inside, bytes);
            if files.len() > MAX_FILES {
                return Err(too_much(format!("{MAX_FILES} files")));
            }
        } else {
            return Err(Failure::text(
                Class::Input,
                format!("{inside} is a link or no file; the source of a policy is plain files, so copy it"),
            ));
        }
    }
    Ok(())
}

fn is_left_out(name: &str, at_root: bool) -> bool {
    let written = name == "target" || name.ends_with(".wasm") || name.ends_with(".source.tar");
    name.starts_with('.') || (at_root && written)
}

fn too_much(what: String) -> Failure {
    Failure::text(
        Class::Input,
        format!("a policy has at most {what}; leave out what it does not need"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[package]\nname = \"one-team\"\n");
        write("src/lib.rs", "//!");
        write("src/a.wasm", "kept: not at the root");
        write("one-team.wasm", "out");
        write("one-team.source.tar", "out");
        write("target/x", "out");
        write(".git/x", "out");
        dir
    }

    #[test]
    fn holds_what_matters_and_reads_back() {
        let dir = crate_folder();
        let source = Source::of_folder(dir.path()).unwrap();
        let paths: Vec<_> = source.files().keys().map(String::as_str).collect();
        assert_eq!(paths, ["Cargo.toml", "src/a.wasm", "src/lib.rs"]);
        assert_eq!((source.name(), source.library()), ("one-team", "one_team"));

        let archive = source.archive().unwrap();
        let file = dir.path().join("a.tar");
        fs::write(&file, &archive).unwrap();
        assert_eq!(Source::of_archive(&file).unwrap(), source);
        for (change, place) in [("cut off", archive.len() - 1), ("longer", archive.len() + 1)] {
            let mut bytes = archive.clone();
            bytes.resize(place, 0);
            fs::write(&file, &bytes).unwrap();
            assert!(Source::of_archive(&file).is_err(), "{change}");
        }
    }

    #[test]
    fn refuses_links_and_folders_that_are_no_crate() {
        let dir = crate_folder();
        std::os::unix::fs::symlink("lib.rs", dir.path().join("src/link.rs")).unwrap();
        let error = Source::of_folder(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("src/link.rs is a link"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = Source::of_folder(empty.path()).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        fs::write(empty.path().join("Cargo.toml"), "[package]\nname = \"../x\"").unwrap();
        assert!(Source::of_folder(empty.path()).is_err());
    }
}
