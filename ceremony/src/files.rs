//! A transcript's files, read whole: what is verified, kept and passed on are then the same bytes.

mod archive;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sealwright_identity::Digest;

pub use self::archive::Mode;
pub(crate) use self::archive::tar;
use crate::error::Error;
use crate::outputs::SUMS;

/// The most files of a transcript: a plan of some hundred steps makes less.
const MAX_FILES: usize = 4096;

/// The most bytes of all of them; it fits a blob of the ledger.
const MAX_BYTES: u64 = 48 * 1024 * 1024;

/// The files of a transcript by their names below its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Reads a folder.
    ///
    /// # Errors
    /// When something in it cannot be read, is neither folder nor file, or is more than any transcript has.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut left = MAX_BYTES;
        let mut folders = vec![(folder.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(Error::files(&folder))? {
                let entry = entry.map_err(Error::files(&folder))?;
                let path = entry.path();
                let odd = |problem: &'static str| Error::files(&path)(io::Error::other(problem));
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| odd("its name is not text"))?;
                let name = format!("{prefix}{name}");
                // Links are not followed: what is verified has to be in the folder.
                let kind = entry.file_type().map_err(Error::files(&path))?;
                if found.0.len() + folders.len() >= MAX_FILES {
                    return Err(odd("there are more files than a transcript has"));
                }
                if kind.is_dir() {
                    folders.push((path, format!("{name}/")));
                } else if kind.is_file() {
                    let bytes = read(&path, left).map_err(Error::files(&path))?;
                    left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    found.0.insert(name, bytes);
                } else {
                    return Err(odd("it is neither a file nor a folder"));
                }
            }
        }
        Ok(found)
    }

    /// The names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Error> {
        let bytes = self
            .bytes(name)
            .ok_or_else(|| Error::check(name, "the transcript has no such file"))?;
        std::str::from_utf8(bytes).map_err(|_| Error::check(name, "it is not text"))
    }

    /// The sums over every file but themselves.
    pub(crate) fn sums(&self) -> String {
        let files = self.0.iter().filter(|(name, _)| *name != SUMS);
        sums(files.map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
    }
}

/// The sums over files, as `sha256sum` writes them.
pub(crate) fn sums<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{}  {name}", hex::encode(Digest::of(bytes).as_bytes()));
    }
    text
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        return Ok(bytes);
    }
    Err(io::Error::other("the files are larger than a transcript's"))
}
