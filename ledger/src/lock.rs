//! The lock beside the database: one writer, for the life of the process that took it.
//!
//! The lock is the kernel's (`flock`), so it is gone with its process, however that ended. The file stays.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
}

impl Drop for LockFile {
    /// By itself, as closing is not enough: a process that another thread is just starting has the file open, too, until
    /// it runs its own program.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl LockFile {
    /// Takes the lock of a ledger, or says who has it.
    pub(crate) fn acquire(ledger: &Path) -> Result<Self, Error> {
        let path = lock_path(ledger);
        let failed = |source| Error::File {
            path: path.clone(),
            source,
        };
        let mut file = open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = read_pid(&mut file);
                return Err(Error::Held {
                    path: ledger.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The number is for people who ask who holds the lock; the lock does not depend on it, and a full disk is no
        // reason to do without.
        let text = format!("{}\n", std::process::id());
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()));
        Ok(Self { file })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn lock_path(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_holder_and_is_free_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let held = LockFile::acquire(&ledger).unwrap();
        let error = LockFile::acquire(&ledger).unwrap_err();
        assert!(matches!(error, Error::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(
            error
                .to_string()
                .contains(&format!("held by process {}", std::process::id()))
        );
        // As a process has it that is being started.
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        LockFile::acquire(&ledger).unwrap();
        drop(inherited);
    }
}
