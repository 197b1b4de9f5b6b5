//! Files and folders that appear whole: written, synced, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::failure::{Class, Failure, OrFail};

/// Writes a new file and syncs it.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let written = || -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // With 0600 from the first moment, a secret is never open to others, whatever the umask.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    };
    written().or_fail_doing(Class::Internal, format!("cannot write {}", path.display()))
}

/// Writes a new file and syncs it; never over one that is there.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .or_fail_doing(Class::Usage, format!("cannot make {}", path.display()))
}

/// Makes a new folder.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .or_fail_doing(Class::Internal, format!("cannot make {}", path.display()))
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A TOML basic string, for a file that is written from a template.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Eight hexadecimal digits from the system generator.
pub(crate) fn random_hex() -> Result<String, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).or_fail_doing(Class::Internal, "the system has no random bytes")?;
    Ok(hex::encode(bytes))
}

/// The file of this program, also when it was replaced while running.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    let named = std::env::current_exe().or_fail_doing(Class::Internal, "cannot name this program")?;
    Ok(if named.exists() {
        named
    } else {
        PathBuf::from("/proc/self/exe")
    })
}

/// A folder beside another, removed unless it takes the other's place.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    /// A new folder (0700) in the parent of `place`, on the same file system.
    pub(crate) fn beside(place: &Path) -> Result<Self, Failure> {
        let name = place
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("folder");
        let parent = parent(place);
        let path = parent.join(format!(".{name}.new-{}", random_hex()?));
        fs::create_dir_all(&parent)
            .or_fail_doing(Class::Usage, format!("cannot make {}", parent.display()))?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .or_fail_doing(Class::Usage, format!("cannot write to {}", parent.display()))?;
        Ok(Self { path, kept: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it where nothing, or an empty folder, is.
    pub(crate) fn rename_to(mut self, place: &Path) -> io::Result<()> {
        sync_folder(&self.path)?;
        fs::rename(&self.path, place)?;
        self.kept = true;
        sync_folder(&parent(place))
    }

    /// Puts it where another folder is, in one step; the other is then removed.
    pub(crate) fn exchange_with(self, place: &Path) -> io::Result<()> {
        sync_folder(&self.path)?;
        let here = rustix::fs::CWD;
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(here, &self.path, here, place, exchange)?;
        sync_folder(&parent(place))
        // What is at our path now is the old folder: dropping removes it.
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is a sibling that nothing reads.
            let _left = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent(place: &Path) -> PathBuf {
    match place.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (Temporary, PathBuf) {
        let root = Temporary::beside(&std::env::temp_dir().join("sealwright-files")).unwrap();
        let place = root.path().join("out");
        (root, place)
    }

    #[test]
    fn takes_the_place_of_nothing_of_an_empty_folder_and_of_another() {
        let (_root, place) = place();
        let first = Temporary::beside(&place).unwrap();
        write(&first.path().join("a"), b"1", 0o600).unwrap();
        first.rename_to(&place).unwrap();
        assert_eq!(fs::read(place.join("a")).unwrap(), b"1");
        assert_eq!(
            fs::metadata(place.join("a")).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let second = Temporary::beside(&place).unwrap();
        write(&second.path().join("b"), b"2", 0o644).unwrap();
        let old = second.path().to_owned();
        second.exchange_with(&place).unwrap();
        assert!(!place.join("a").exists() && place.join("b").exists());
        assert!(!old.exists(), "the old folder is removed");
    }

    #[test]
    fn leaves_nothing_when_it_is_not_used() {
        let (_root, place) = place();
        let path = Temporary::beside(&place).unwrap().path().to_owned();
        assert!(!path.exists() && !place.exists());
    }
}
