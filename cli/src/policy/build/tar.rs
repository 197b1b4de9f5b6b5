//! Archives of plain files, each with one spelling: POSIX ustar, sorted, no owner, no time.
//!
//! Any `tar` unpacks them. What is read here is only what was written here.

use std::collections::BTreeMap;

const BLOCK: usize = 512;
const MODE: &[u8] = b"0000644\0";
const NOBODY: &[u8] = b"0000000\0";
const NO_TIME: &[u8] = b"00000000000\0";
const MAGIC: &[u8] = b"ustar\x0000";
/// Places in a header.
const NAME: usize = 0;
const SIZE: usize = 124;
const CHECKSUM: usize = 148;
const KIND: usize = 156;
const PREFIX: usize = 345;

/// The archive of some files beneath a folder of that name.
///
/// # Errors
/// When a path is longer than the format allows.
pub(super) fn write(folder: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, TarError> {
    let mut archive = Vec::new();
    for (path, bytes) in files {
        archive.extend(header(&format!("{folder}/{path}"), bytes.len())?);
        archive.extend(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

/// The files of an archive that [`write()`] made, without their folder. Whoever needs to know that it is
/// exactly that writes it again and compares.
///
/// # Errors
/// When it is another archive, or none.
pub(super) fn read(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut files = BTreeMap::new();
    let mut rest = archive;
    loop {
        let (header, after) = rest.split_at_checked(BLOCK).ok_or(TarError::Form)?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(files);
        }
        if header.get(KIND) != Some(&b'0') {
            return Err(TarError::Form);
        }
        let text = |start: usize, length: usize| -> Result<&str, TarError> {
            let field = header.get(start..start + length).ok_or(TarError::Form)?;
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
            std::str::from_utf8(field.get(..end).unwrap_or_default()).map_err(|_| TarError::Form)
        };
        let path = match text(PREFIX, 155)? {
            "" => text(NAME, 100)?.to_owned(),
            prefix => format!("{prefix}/{}", text(NAME, 100)?),
        };
        let size = usize::from_str_radix(text(SIZE, 12)?, 8).map_err(|_| TarError::Form)?;
        let (bytes, _) = after.split_at_checked(size).ok_or(TarError::Form)?;
        let (_, inside) = path.split_once('/').ok_or(TarError::Form)?;
        let strange = |part: &str| matches!(part, "" | "." | "..");
        if inside.split('/').any(strange) || files.insert(inside.to_owned(), bytes.to_vec()).is_some() {
            return Err(TarError::Path(path));
        }
        rest = after.get(size.next_multiple_of(BLOCK)..).ok_or(TarError::Form)?;
    }
}

fn header(path: &str, size: usize) -> Result<[u8; BLOCK], TarError> {
    let mut header = [0; BLOCK];
    let (prefix, name) = split(path).ok_or_else(|| TarError::Path(path.to_owned()))?;
    let size = format!("{size:011o}\0");
    let fields: [(usize, &[u8]); 10] = [
        (NAME, name.as_bytes()),
        (100, MODE),
        (108, NOBODY),
        (116, NOBODY),
        (SIZE, size.as_bytes()),
        (136, NO_TIME),
        (CHECKSUM, b"        "),
        (KIND, b"0"),
        (257, MAGIC),
        (PREFIX, prefix.as_bytes()),
    ];
    let put = |header: &mut [u8; BLOCK], start: usize, bytes: &[u8]| {
        if let Some(field) = header.get_mut(start..start + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    for (start, bytes) in fields {
        put(&mut header, start, bytes);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// A path as the format's two fields: the whole in the second, or the last parts that fit.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    path.match_indices('/')
        .filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(|(prefix, name)| prefix.len() <= 155 && !name.is_empty() && name.len() <= 100)
}

/// Why there is no archive, or no file in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    #[error("the archive is not one that `sealwright policy build` wrote")]
    Form,
    #[error("the path {0:?} is too long for an archive, or leaves it")]
    Path(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        let deep = format!("{}/{}.rs", "d".repeat(90), "f".repeat(90));
        [
            ("a".to_owned(), b"one".to_vec()),
            ("b/c".to_owned(), vec![7; 512]),
            ("b/empty".to_owned(), Vec::new()),
            (deep, vec![1; 513]),
        ]
        .into()
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let archive = write("one-team", &files()).unwrap();
        assert_eq!(archive.len() % BLOCK, 0);
        assert_eq!(read(&archive).unwrap(), files());
        assert!(archive.starts_with(b"one-team/a\0"));
    }

    #[test]
    fn the_systems_tar_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar");
        std::fs::write(&file, write("one-team", &files()).unwrap()).unwrap();
        let output = std::process::Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .arg("-C")
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        for (path, bytes) in files() {
            assert_eq!(
                std::fs::read(dir.path().join("one-team").join(path)).unwrap(),
                bytes
            );
        }
    }

    #[test]
    fn leaves_no_folder() {
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "."] {
            let archive = write("n", &[(path.to_owned(), Vec::new())].into()).unwrap();
            assert!(matches!(read(&archive), Err(TarError::Path(_))), "{path}");
        }
        let long = "x".repeat(300);
        assert!(write("n", &[(long, Vec::new())].into()).is_err());
    }

    #[test]
    fn any_bytes_are_no_trouble() {
        let archive = write("n", &files()).unwrap();
        for end in [0, 1, 511, 512, 600] {
            assert!(read(&archive[..end]).is_err());
        }
        let mut link = archive.clone();
        link[KIND] = b'2';
        assert!(read(&link).is_err());
        let mut huge = archive;
        huge[SIZE..SIZE + 11].copy_from_slice(b"77777777777");
        assert!(read(&huge).is_err());
    }
}
