//! The PIN marker: the memory, across restarts, of a PIN that the token refused.
//!
//! A real token locks after a few wrong PINs, and a process that is restarted
//! on failure would use them up in a minute. So a refusal is written down
//! before anybody can try again: a slow keyed digest of the PIN and the token's
//! serial number, with its random key in the same file. While the PIN source
//! still holds that PIN, no login is tried; another PIN, another token or
//! [`reset_pin_marker`] ends that.

use std::{
    fmt, fs,
    io::{self, Write},
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::{constant_time, pbkdf2, rand};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::pin::Pin;

/// The marker's name in the folder given.
const FILE: &str = "pin-refused";

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
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incorrect => "incorrect",
            Self::Locked => "locked",
            Self::Expired => "expired or not set",
        })
    }
}

/// The marker cannot be read or written.
#[derive(Debug, Error)]
#[error("cannot use the PIN marker {}", path.display())]
pub struct MarkerError {
    path: PathBuf,
    source: io::Error,
}

/// What a marker says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
        let path = folder.join(FILE);
        let failed = |source| MarkerError {
            path: path.clone(),
            source,
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// True when this very PIN was refused by the token with this serial.
    pub(crate) fn names(&self, serial: &str, pin: &Pin) -> bool {
        let (Ok(key), Ok(digest)) = (hex::decode(&self.key), hex::decode(&self.digest)) else {
            // A marker that cannot be read as such forbids every login.
            return true;
        };
        let again = digest_of(&key, serial, pin);
        self.serial == serial && constant_time::verify_slices_are_equal(&again, &digest).is_ok()
    }

    /// Writes down that `pin` was refused; durable on return.
    pub(crate) fn write(folder: &Path, serial: &str, pin: &Pin, refusal: Refusal) -> Result<(), MarkerError> {
        let path = folder.join(FILE);
        let failed = |source| MarkerError {
            path: path.clone(),
            source,
        };
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| failed(io::Error::other("no random bytes")))?;
        let marker = Self {
            serial: serial.to_owned(),
            refusal,
            key: hex::encode(key),
            digest: hex::encode(digest_of(&key, serial, pin)),
        };
        let bytes = serde_json::to_vec(&marker).map_err(|error| failed(error.into()))?;
        write_durably(folder, &path, &bytes).map_err(failed)
    }
}

/// Removes the marker, so that the next start tries the PIN again; the answer
/// says whether there was one.
///
/// # Errors
/// The file system refuses.
pub fn reset_pin_marker(folder: &Path) -> Result<bool, MarkerError> {
    let path = folder.join(FILE);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(MarkerError { path, source }),
    }
}

fn digest_of(key: &[u8], serial: &str, pin: &Pin) -> [u8; 32] {
    let mut salt = b"sealwright/pin-marker/v1\0".to_vec();
    salt.extend_from_slice(key);
    salt.extend_from_slice(serial.as_bytes());
    let mut digest = [0; 32];
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
        PinMarker::write(folder.path(), "serial", &pin, Refusal::Incorrect).unwrap();

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
        fs::write(
            folder.path().join(FILE),
            br#"{"serial":"s","refusal":"locked","key":"zz","digest":""}"#,
        )
        .unwrap();
        let marker = PinMarker::read(folder.path()).unwrap().unwrap();
        assert!(marker.names("s", &Pin::new(b"1".to_vec())));
    }
}
