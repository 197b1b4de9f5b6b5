//! The gate's home: one gate at a time.
//!
//! The lock is taken before the token is touched and held until the process ends; the
//! kernel gives it back however that happens, so a crash needs no clean-up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

const LOCK_FILE: &str = "home.lock";
const LEDGER_FILE: &str = "ledger.db";

/// A gate that was told to end may need this long to let go.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// Why the home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another gate lives here.
    #[error("{} is held by another running signer; stop it, or use another home", path.display())]
    Held {
        /// The home.
        path: PathBuf,
    },
    /// The folder or its lock file cannot be made.
    #[error("cannot use {} as a home", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The folder, locked.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder (mode 0700) where it is missing and takes its lock, waiting up to
    /// three seconds for a gate that is about to end.
    pub async fn lock(path: &Path) -> Result<Self, HomeError> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_lock(path) {
                Err(HomeError::Held { .. }) if waited < PATIENCE => {
                    tokio::time::sleep(POLL).await;
                    waited += POLL;
                }
                result => return result,
            }
        }
    }

    /// As [`Self::lock`], without waiting.
    pub fn try_lock(path: &Path) -> Result<Self, HomeError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| HomeError::Unusable { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable(path))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = open(&lock_path).map_err(unusable(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(HomeError::Held {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(unusable(&lock_path)(error.into())),
        }
        // For whoever looks who holds it; the lock itself is the kernel's, and works on a full disk.
        let _ = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the ledger is.
    pub fn ledger(&self) -> PathBuf {
        ledger_path(&self.path)
    }
}

/// A file that is there can be locked when it cannot be written: what a read-only disk means for the ledger is said
/// elsewhere, and it may pass.
fn open(path: &Path) -> io::Result<File> {
    let written = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    written.or_else(|error| File::open(path).map_err(|_absent| error))
}

/// The ledger of a home, for readers that take no lock.
pub fn ledger_path(home: &Path) -> PathBuf {
    home.join(LEDGER_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate");
        let first = Home::try_lock(&path).unwrap();
        assert!(matches!(Home::try_lock(&path), Err(HomeError::Held { .. })));
        drop(first);
        Home::try_lock(&path).unwrap();
    }
}
