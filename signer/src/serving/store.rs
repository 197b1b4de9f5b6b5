//! `serving.pem` and `serving-key.pem` (0600) in the state folder.
//!
//! Each is written beside its place, synced, and renamed. A crash between the two leaves a pair
//! that does not fit, which the reader notices: it asks for a new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sealwright_x509::pem;
use zeroize::Zeroizing;

const CERTIFICATE: &str = "serving.pem";
const KEY: &str = "serving-key.pem";
const KEY_LABEL: &str = "PRIVATE KEY";
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why the state folder failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no PEM of its kind", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// The key can be read by others.
    #[error("{} can be read by others (mode {mode:o}); make it 0600", path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The stored pair, `None` when there is none.
pub(super) fn load(folder: &Path) -> Result<Option<Pair>, StoreError> {
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    let (Some(chain_pem), Some(key_pem)) = (read(&certificate)?, read(&key)?) else {
        return Ok(None);
    };
    let key_pem = Zeroizing::new(key_pem);
    let mode = fs::metadata(&key)
        .map_err(|source| io_error(&key, source))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(StoreError::KeyMode {
            path: key,
            mode: mode & 0o777,
        });
    }
    let chain = pem::decode_all(pem::CERTIFICATE, &chain_pem)
        .map_err(|_error| StoreError::Pem { path: certificate })?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_error| StoreError::Pem { path: key })?;
    Ok(Some((chain.into_iter().map(CertificateDer::from).collect(), key)))
}

/// Stores the pair, the key first.
pub(super) fn save(
    folder: &Path,
    chain: &[CertificateDer<'_>],
    key: &PrivateKeyDer<'_>,
) -> Result<(), StoreError> {
    if !folder.is_dir() {
        fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
        fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
            .map_err(|source| io_error(folder, source))?;
    }
    let key_pem = Zeroizing::new(pem::encode(KEY_LABEL, key.secret_der()));
    write(&folder.join(KEY), key_pem.as_bytes(), KEY_MODE)?;
    let chain_pem: String = chain
        .iter()
        .map(|der| pem::encode(pem::CERTIFICATE, der))
        .collect();
    write(&folder.join(CERTIFICATE), chain_pem.as_bytes(), 0o644)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(path, source)),
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let beside = path.with_extension("new");
    let written = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn key() -> PrivateKeyDer<'static> {
        let pair = rcgen::KeyPair::generate().unwrap();
        PrivatePkcs8KeyDer::from(pair.serialize_der()).into()
    }

    #[test]
    fn what_is_saved_comes_back_and_the_key_is_ours_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("front");
        assert!(load(&folder).unwrap().is_none());
        let chain = [CertificateDer::from(vec![1]), CertificateDer::from(vec![2])];
        save(&folder, &chain, &key()).unwrap();
        let second = key();
        save(&folder, &chain, &second).unwrap();
        let (stored, stored_key) = load(&folder).unwrap().unwrap();
        assert_eq!(stored, chain);
        assert_eq!(stored_key.secret_der(), second.secret_der());
        let mode = fs::metadata(folder.join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        save(home.path(), &[CertificateDer::from(vec![1])], &key()).unwrap();
        let path = home.path().join(KEY);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(home.path()), Err(StoreError::KeyMode { .. })));
    }
}
