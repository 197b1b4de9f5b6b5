//! The PIN marker: the memory, across restarts, of a PIN that the token refused.
//!
//! A real token locks after a few wrong PINs, and a process that is restarted
//! on failure would use them up in a minute. So a refusal is written down
//! before anybody can try again: a slow keyed digest of the PIN and the token's
//! serial number, with its random key in the same file. While the PIN source
//! still holds that PIN, no login is tried; another PIN, another token or
//! [`reset_pin_marker`] ends that. What happens when the process ends before
//! it can write is the matter of [`crate::attempt`].

use std::{
    fmt, fs,
    io::{self, Write},
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::{constant_time, pbkdf2, rand};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{attempt, pin::Pin};

/// The marker's name in the folder given.
const FILE: &str = "pin-refused";

/// Octets of the key, and of the digest.
const OCTETS: usize = 32;

/// Iterations of PBKDF2-HMAC-SHA256: the key lies beside the digest, so only
/// work makes a short PIN hard to find for one who has got the file.
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

/// Why the token did not take the PIN.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The PIN is wrong.
    Incorrect,
    /// Too many wrong PINs: only the security officer can help.
    Locked,
    /// The PIN must be changed first, or was never set.
    Expired,
    /// Not known: the process ended before the token had answered, and the
    /// token has counted wrong PINs, or it happened several times in a row.
    Unanswered,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incorrect => "incorrect",
            Self::Locked => "locked",
            Self::Expired => "expired or not set",
            Self::Unanswered => "a login was cut off, so its answer is not known",
        })
    }
}

/// The marker cannot be read or written.
#[derive(Debug, Error)]
#[error("cannot use the PIN marker {}", path.display())]
pub struct MarkerError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl MarkerError {
    /// Whether waiting may help: the disk is full, or cannot be written now.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(
            self.source.kind(),
            QuotaExceeded | ReadOnlyFilesystem | StorageFull
        )
    }
}

/// What a marker says.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct PinMarker {
    /// The token's serial number.
    pub serial: String,
    /// Why the PIN was refused.
    pub refusal: Refusal,
    key: String,
    digest: String,
}

impl PinMarker {
    /// Reads the marker in `folder`, `None` when there is none.
    ///
    /// # Errors
    /// It is there but cannot be read: nobody may assume then that it is not.
    pub fn read(folder: &Path) -> Result<Option<Self>, MarkerError> {
        read(&folder.join(FILE))
    }

    /// A marker for a PIN and the token with this serial. Takes its time, so
    /// it is made before the login that it may have to tell of.
    pub(crate) fn new(serial: &str, pin: &Pin, refusal: Refusal) -> io::Result<Self> {
        let mut key = [0; OCTETS];
        rand::fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;
        Ok(Self {
            serial: serial.to_owned(),
            refusal,
            key: hex::encode(key),
            digest: hex::encode(digest_of(&key, serial, pin)),
        })
    }

    /// True when this very PIN was refused by the token with this serial.
    pub(crate) fn names(&self, serial: &str, pin: &Pin) -> bool {
        let (Some(key), Some(digest)) = (octets(&self.key), octets(&self.digest)) else {
            // A marker that cannot be read as such forbids every login.
            return true;
        };
        self.serial == serial
            && constant_time::verify_slices_are_equal(&digest_of(&key, serial, pin), &digest).is_ok()
    }

    /// The same PIN, and what the token said of it.
    pub(crate) fn refused(&self, refusal: Refusal) -> Self {
        Self {
            refusal,
            ..self.clone()
        }
    }

    /// Writes the marker into `folder`; durable on return.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), MarkerError> {
        write(folder, FILE, self)
    }
}

/// The digest would let whoever reads a log try PINs at leisure.
impl fmt::Debug for PinMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinMarker")
            .field("serial", &self.serial)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}

/// Removes what is remembered of PINs in `folder`, so that the next start tries
/// again; the answer says whether there was anything.
///
/// # Errors
/// The file system refuses.
pub fn reset_pin_marker(folder: &Path) -> Result<bool, MarkerError> {
    let attempt = remove(folder, attempt::FILE)?;
    Ok(remove(folder, FILE)? || attempt)
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, MarkerError> {
    let failed = |source| MarkerError {
        path: path.to_owned(),
        source,
    };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all, and durable.
pub(crate) fn write<T: Serialize>(folder: &Path, name: &str, content: &T) -> Result<(), MarkerError> {
    let path = folder.join(name);
    serde_json::to_vec(content)
        .map_err(io::Error::from)
        .and_then(|bytes| write_durably(folder, &path, &bytes))
        .map_err(|source| MarkerError { path, source })
}

/// Whether the file was there.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<bool, MarkerError> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(MarkerError { path, source }),
    }
}

fn octets(text: &str) -> Option<[u8; OCTETS]> {
    let mut octets = [0; OCTETS];
    hex::decode_to_slice(text, &mut octets).ok()?;
    Some(octets)
}

fn digest_of(key: &[u8], serial: &str, pin: &Pin) -> [u8; OCTETS] {
    let mut salt = b"sealwright/pin-marker/v1\0".to_vec();
    salt.extend_from_slice(key);
    salt.extend_from_slice(serial.as_bytes());
    let mut digest = [0; OCTETS];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ITERATIONS,
        &salt,
        pin.bytes(),
        &mut digest,
    );
    digest
}

fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_marker_knows_its_pin_and_its_token_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(PinMarker::read(folder.path()).unwrap(), None);
        let pin = Pin::new(b"1234".to_vec());
        let marker = PinMarker::new("serial", &pin, Refusal::Incorrect).unwrap();
        marker.write(folder.path()).unwrap();
        assert!(!format!("{marker:?}").contains(&marker.digest));

        let marker = PinMarker::read(folder.path()).unwrap().unwrap();
        assert!(marker.names("serial", &pin));
        assert!(!marker.names("another", &pin));
        assert!(!marker.names("serial", &Pin::new(b"4321".to_vec())));

        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains("1234"));

        assert!(reset_pin_marker(folder.path()).unwrap());
        assert!(!reset_pin_marker(folder.path()).unwrap());
    }

    #[test]
    fn a_broken_marker_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"{").unwrap();
        assert!(PinMarker::read(folder.path()).is_err());
        let key = "00".repeat(OCTETS);
        for (key, digest) in [("zz", ""), (key.as_str(), ""), (&key, "00"), ("00", &key)] {
            let text = format!(r#"{{"serial":"s","refusal":"locked","key":"{key}","digest":"{digest}"}}"#);
            fs::write(folder.path().join(FILE), text).unwrap();
            let marker = PinMarker::read(folder.path()).unwrap().unwrap();
            assert!(marker.names("s", &Pin::new(b"1".to_vec())), "{key} {digest}");
        }
    }
}
