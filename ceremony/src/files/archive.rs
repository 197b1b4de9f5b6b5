//! The files of a transcript as one tar archive (POSIX ustar) with one spelling: names ascending, mode 0644, no owner,
//! no time. `tar` unpacks it; two archives of the same files are the same bytes.
//!
//! The policy builder (`cli`) has an archive of its own: the headers differ, and each one's digests are kept.

use std::collections::BTreeMap;

use super::{Files, MAX_FILES};
use crate::error::Error;

const BLOCK: usize = 512;

/// Where the checksum stands in a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The largest name: longer ones would need a second field.
const MAX_NAME: usize = 99;

impl Files {
    /// The archive.
    ///
    /// # Errors
    /// When a name is longer than an archive holds, which no ceremony makes.
    pub fn archive(&self) -> Result<Vec<u8>, Error> {
        let files = self.0.iter();
        tar(files.map(|(name, bytes)| (name.clone(), Mode::Plain, bytes.as_slice())))
    }

    /// Reads an archive that [`Self::archive`] made.
    ///
    /// # Errors
    /// When it is none: another spelling of the same files is refused, too.
    pub fn from_archive(archive: &[u8]) -> Result<Self, Error> {
        let files = parse(archive).ok_or_else(other)?;
        if files.archive()? == archive {
            return Ok(files);
        }
        Err(other())
    }
}

/// Whether a file of an archive is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is read: 0644.
    Plain,
    /// It is run: 0755.
    Program,
}

/// An archive of files, in the order in which they come.
pub(crate) fn tar<'a>(files: impl Iterator<Item = (String, Mode, &'a [u8])>) -> Result<Vec<u8>, Error> {
    let mut archive = Vec::new();
    for (name, mode, bytes) in files {
        let header = header(&name, mode, bytes.len())
            .ok_or_else(|| Error::check(&name, "it does not fit an archive"))?;
        archive.extend_from_slice(&header);
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn other() -> Error {
    Error::check("archive", "it is not the archive of a transcript")
}

/// Whatever is odd comes out as another archive.
fn parse(archive: &[u8]) -> Option<Files> {
    let mut files = BTreeMap::new();
    let mut rest = archive;
    loop {
        let (header, after) = rest.split_at_checked(BLOCK)?;
        let name = header.get(..=MAX_NAME)?;
        let name = name.get(..name.iter().position(|byte| *byte == 0)?)?;
        if name.is_empty() || files.len() >= MAX_FILES {
            return Some(Files(files));
        }
        let size = std::str::from_utf8(header.get(124..135)?).ok()?;
        let size = usize::from_str_radix(size, 8).ok()?;
        let (bytes, _) = after.split_at_checked(size)?;
        files.insert(std::str::from_utf8(name).ok()?.to_owned(), bytes.to_vec());
        rest = after.get(size.checked_next_multiple_of(BLOCK)?..)?;
    }
}

fn header(name: &str, mode: Mode, size: usize) -> Option<[u8; BLOCK]> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return None;
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| -> Option<()> {
        header.get_mut(at..at + text.len())?.copy_from_slice(text);
        Some(())
    };
    put(0, name.as_bytes())?;
    let mode = match mode {
        Mode::Plain => b"0000644\0",
        Mode::Program => b"0000755\0",
    };
    put(100, mode)?;
    put(108, b"0000000\x000000000\x00")?;
    let size = format!("{size:011o}");
    put(124, size.get(..11).filter(|text| *text == size)?.as_bytes())?;
    put(136, b"00000000000\x00        0")?;
    put(257, b"ustar\x0000")?;
    put(329, b"0000000\x000000000\x00")?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header
        .get_mut(CHECKSUM)?
        .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_one_spelling() {
        let file = |name: &str, size: usize| (name.to_owned(), vec![7; size]);
        let files = Files([file("a", 0), file("b/c.pem", 512), file("d", 1000)].into());
        let archive = files.archive().unwrap();
        assert_eq!(archive.len(), 512 * (3 + 1 + 2 + 2));
        assert_eq!(Files::from_archive(&archive).unwrap(), files);
        // Whatever changes is refused, or other files.
        for at in 0..archive.len() {
            let mut changed = archive.clone();
            changed[at] ^= 1;
            if let Ok(other) = Files::from_archive(&changed) {
                assert_ne!(other, files, "{at}");
            }
        }
        assert!(Files::from_archive(&archive[..archive.len() - 512]).is_err());
        assert!(Files::from_archive(&[archive.as_slice(), &[0; 512]].concat()).is_err());
        assert!(Files::from_archive(b"").is_err());
        assert!(Files([file(&"x".repeat(100), 1)].into()).archive().is_err());
    }

    #[test]
    fn tar_unpacks_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files([("a/b".to_owned(), b"text".to_vec())].into());
        let path = folder.path().join("t.tar");
        std::fs::write(&path, files.archive().unwrap()).unwrap();
        let tar = std::process::Command::new("tar")
            .arg("-xf")
            .arg(&path)
            .arg("-C")
            .arg(folder.path())
            .status();
        assert!(tar.unwrap().success());
        assert_eq!(std::fs::read(folder.path().join("a/b")).unwrap(), b"text");
    }
}
