//! SoftHSM's files: its configuration, and the copy of a fresh token that makes
//! good what a kill destroyed.
//!
//! SoftHSM rewrites `token.object` in place at every login and syncs nothing.
//! A process that is killed in that moment leaves a token that no module finds
//! again, with all its keys. So a copy of the folder is kept after the keys
//! were made, and single files that are missing, empty or cut short are put
//! back from it. A file that is whole is never touched.
//!
//! This looks at files only. The caller must hold the lock that keeps other
//! processes of the same home away, since a login of theirs looks like damage.

mod object_file;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::error::Error;

const TEMPLATE: &str = include_str!("../../softhsm/softhsm2.conf.template");

/// How long a file may look damaged before it is: somebody may be writing it.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// The folder of SoftHSM's tokens, and the place for its copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenFolder {
    tokens: PathBuf,
    copy: PathBuf,
}

/// What was done to a token folder at the start.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Restoration {
    /// Every file of the copy is there and whole.
    Intact,
    /// There is no copy to compare with.
    NoCopy,
    /// These files were missing or destroyed and were put back.
    PutBack(Vec<PathBuf>),
}

impl TokenFolder {
    /// Tokens in `tokens`, their copy beside it in `<tokens>.copy`.
    pub fn new(tokens: impl Into<PathBuf>) -> Self {
        let tokens = tokens.into();
        let mut copy = tokens.clone().into_os_string();
        copy.push(".copy");
        Self {
            tokens,
            copy: copy.into(),
        }
    }

    /// The folder that a SoftHSM configuration file names.
    ///
    /// # Errors
    /// The file cannot be read or names none.
    pub fn from_config(file: &Path) -> Result<Self, Error> {
        let files = |source| Error::Files {
            path: file.to_owned(),
            source,
        };
        let text = fs::read_to_string(file).map_err(files)?;
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim() == "directories.tokendir")
            .map(|(_, folder)| Self::new(folder.trim()))
            .ok_or_else(|| files(io::Error::other("no directories.tokendir in it")))
    }

    /// The folder that `SOFTHSM2_CONF` leads to, if it is set and good.
    pub fn from_environment() -> Option<Self> {
        let file = std::env::var_os("SOFTHSM2_CONF")?;
        Self::from_config(Path::new(&file)).ok()
    }

    /// Where the tokens are.
    pub fn tokens(&self) -> &Path {
        &self.tokens
    }

    /// Writes SoftHSM's configuration to `file` and makes the folder (0700).
    ///
    /// # Errors
    /// The file system refuses, or the folder's path cannot stand in the file.
    pub fn write_config(&self, file: &Path) -> Result<(), Error> {
        let path = self
            .tokens
            .to_str()
            .filter(|path| !path.contains(['\n', '#']) && self.tokens.is_absolute())
            .ok_or_else(|| Error::Files {
                path: self.tokens.clone(),
                source: io::Error::other("SoftHSM needs an absolute path in plain text"),
            })?;
        make_folder(&self.tokens)?;
        write_file(file, TEMPLATE.replace("@TOKENDIR@", path).as_bytes())
    }

    /// Syncs every file and folder of the tokens to the disk.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn sync(&self) -> Result<(), Error> {
        for path in walk(&self.tokens)? {
            sync_path(&path)?;
        }
        sync_path(&self.tokens)
    }

    /// Keeps a copy of the tokens as they are now, in place of an older one.
    /// To be called when the keys are made, and after a change of the PIN.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn keep_copy(&self) -> Result<(), Error> {
        let new = self.copy.with_extension("new");
        remove_folder(&new)?;
        make_folder(&new)?;
        for path in walk(&self.tokens)? {
            let target = new.join(relative(&path, &self.tokens)?);
            if path.is_dir() {
                make_folder(&target)?;
            } else {
                write_file(&target, &read_file(&path)?)?;
            }
        }
        let old = self.copy.with_extension("old");
        remove_folder(&old)?;
        if self.copy.exists() {
            rename(&self.copy, &old)?;
        }
        rename(&new, &self.copy)?;
        remove_folder(&old)
    }

    /// Puts back from the copy what is missing or destroyed.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn restore_if_destroyed(&self) -> Result<Restoration, Error> {
        let old = self.copy.with_extension("old");
        if !self.copy.is_dir() && old.is_dir() {
            // A kill while the copy was replaced.
            rename(&old, &self.copy)?;
        }
        if !self.copy.is_dir() {
            return Ok(Restoration::NoCopy);
        }
        if self.destroyed()?.is_empty() {
            return Ok(Restoration::Intact);
        }
        thread::sleep(SECOND_LOOK);
        let destroyed = self.destroyed()?;
        if destroyed.is_empty() {
            return Ok(Restoration::Intact);
        }
        for path in &destroyed {
            let source = self.copy.join(relative(path, &self.tokens)?);
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
            }
            write_file(path, &read_file(&source)?)?;
            tracing::warn!(
                file = %path.display(),
                "a file of the SoftHSM token was destroyed; it was put back from the copy"
            );
        }
        Ok(Restoration::PutBack(destroyed))
    }

    fn destroyed(&self) -> Result<Vec<PathBuf>, Error> {
        let mut destroyed = Vec::new();
        for kept in walk(&self.copy)? {
            if kept.is_dir() {
                continue;
            }
            let path = self.tokens.join(relative(&kept, &self.copy)?);
            if !is_whole(&path, &kept)? {
                destroyed.push(path);
            }
        }
        Ok(destroyed)
    }
}

/// An object file must be as complete as its copy; any other must only be there
/// (lock files are empty).
fn is_whole(path: &Path, copy: &Path) -> Result<bool, Error> {
    if !path.is_file() {
        return Ok(false);
    }
    if path.extension().is_some_and(|kind| kind == "object") {
        return Ok(object_file::is_whole(&read_file(path)?, &read_file(copy)?));
    }
    Ok(true)
}

/// Every file and folder below `root`, folders before what is in them.
fn walk(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(files(&folder))?;
        for entry in entries {
            let path = entry.map_err(files(&folder))?.path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn relative<'a>(path: &'a Path, root: &Path) -> Result<&'a Path, Error> {
    path.strip_prefix(root)
        .map_err(|error| files(path)(io::Error::other(error)))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(files(path))
}

/// Whole or not at all, and durable.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(files(path))?;
    path.parent().map_or(Ok(()), sync_path)
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(files(path))
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files(path)(error)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(files(from))?;
    to.parent().map_or(Ok(()), sync_path)
}

fn sync_path(path: &Path) -> Result<(), Error> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(files(path))
}

fn files(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Files { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_written_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let folder = TokenFolder::new(home.path().join("tokens"));
        let file = home.path().join("softhsm2.conf");
        folder.write_config(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("objectstore.backend = file"));
        assert!(text.contains("log.level = ERROR"));
        assert_eq!(TokenFolder::from_config(&file).unwrap(), folder);
        assert!(TokenFolder::new("tokens").write_config(&file).is_err());
        assert!(TokenFolder::from_config(&home.path().join("none")).is_err());
    }

    #[test]
    fn only_what_was_destroyed_is_put_back() {
        let home = tempfile::tempdir().unwrap();
        let folder = TokenFolder::new(home.path().join("tokens"));
        let token = folder.tokens().join("some-token");
        fs::create_dir_all(&token).unwrap();
        let whole = object_file::tests::sample();
        fs::write(token.join("token.object"), &whole).unwrap();
        fs::write(token.join("key.object"), &whole).unwrap();
        fs::write(token.join("token.lock"), b"").unwrap();
        assert_eq!(folder.restore_if_destroyed().unwrap(), Restoration::NoCopy);
        folder.keep_copy().unwrap();
        folder.keep_copy().unwrap();
        assert_eq!(folder.restore_if_destroyed().unwrap(), Restoration::Intact);

        fs::write(token.join("token.object"), &whole[..whole.len() - 1]).unwrap();
        fs::remove_file(token.join("token.lock")).unwrap();
        assert_eq!(
            folder.restore_if_destroyed().unwrap(),
            Restoration::PutBack(vec![token.join("token.lock"), token.join("token.object")])
        );
        assert_eq!(fs::read(token.join("token.object")).unwrap(), whole);

        // As a kill leaves them that came between the two renamings.
        let copy = home.path().join("tokens.copy");
        fs::rename(&copy, copy.with_extension("old")).unwrap();
        fs::remove_dir_all(&token).unwrap();
        assert!(matches!(
            folder.restore_if_destroyed().unwrap(),
            Restoration::PutBack(files) if files.len() == 3
        ));
        folder.sync().unwrap();
    }
}
