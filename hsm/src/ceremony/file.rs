//! The module's file: hashed while it is open, and that very file loaded.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};

use super::module::CeremonyModule;
use crate::{error::Error, metrics::Metrics, module::Module};

/// A module's file, open and hashed, not loaded: nothing of it has run.
#[derive(Debug)]
pub struct ModuleFile {
    file: File,
    path: PathBuf,
    digest: Digest,
}

/// A file whose code is in this process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MappedFile {
    /// Where it is.
    pub path: String,
    /// Its digest; none when the file is gone or cannot be read.
    pub digest: Option<Digest>,
}

impl ModuleFile {
    /// Opens and hashes a module.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(files(path))?;
        let mut file = File::open(&path).map_err(files(&path))?;
        let digest = hash(&mut file).map_err(files(&path))?;
        Ok(Self { file, path, digest })
    }

    /// The SHA-256 of the whole file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its path, links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, by a name that no replacement changes.
    pub(super) fn descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Loads the open file, whatever the path means by now, and looks that it is what was hashed.
    ///
    /// # Errors
    /// It is no PKCS#11 module, it was changed or replaced meanwhile, or it does not initialise.
    pub fn load(mut self) -> Result<CeremonyModule, Error> {
        let module = Module::load_through(&self.path, Some(&self.descriptor()), &Metrics::default())?;
        self.file.rewind().map_err(files(&self.path))?;
        if hash(&mut self.file).map_err(files(&self.path))? != self.digest {
            return Err(Error::ModuleReplaced { path: self.path });
        }
        let mapped = mapped_files()?;
        let ours = self.path.display().to_string();
        let same = |file: &MappedFile| file.path == ours && file.digest == Some(self.digest);
        if !mapped.iter().any(same) {
            return Err(Error::ModuleReplaced { path: self.path });
        }
        Ok(CeremonyModule::new(module, self, mapped))
    }
}

/// The SHA-256 of a file.
///
/// # Errors
/// It cannot be read.
pub fn hash_file(path: &Path) -> io::Result<Digest> {
    hash(&mut File::open(path)?)
}

fn hash(file: &mut File) -> io::Result<Digest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        context.update(buffer.get(..length).unwrap_or_default());
    }
    let digest = context.finish();
    let bytes = <[u8; 32]>::try_from(digest.as_ref()).map_err(io::Error::other)?;
    Ok(Digest::from_bytes(bytes))
}

/// Every file that is mapped executable, by path.
fn mapped_files() -> Result<Vec<MappedFile>, Error> {
    let maps = Path::new("/proc/self/maps");
    let text = std::fs::read_to_string(maps).map_err(files(maps))?;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let executable = line.split(' ').nth(1).is_some_and(|rights| rights.contains('x'));
        let Some(start) = line.find('/').filter(|_| executable) else {
            continue;
        };
        let path = line.get(start..).unwrap_or_default();
        found
            .entry(path.to_owned())
            .or_insert_with(|| hash_file(Path::new(path)).ok());
    }
    let mapped = found.into_iter();
    Ok(mapped.map(|(path, digest)| MappedFile { path, digest }).collect())
}

fn files(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Files { path, source }
}
