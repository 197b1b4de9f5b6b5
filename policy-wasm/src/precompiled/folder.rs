//! A folder that is its owner's alone: every file is looked at by its descriptor before it is read.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, renameat, statat, unlinkat},
    io::Errno,
    process::geteuid,
};

use super::PrecompiledError;

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: u32 = 0o700;
/// What is kept at most; the oldest goes first.
const MAX_FILES: usize = 512;
const MAX_BYTES: u64 = 1 << 30;
/// Files that were being written; what a crash left is removed at the next start.
const UNFINISHED: &str = ".new";

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens it, or makes it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, PrecompiledError> {
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(path, error)),
            Ok(()) | Err(_) => {}
        }
        let odd = |reason| PrecompiledError::Folder {
            path: path.to_owned(),
            reason,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = match open(path, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(odd("it is no folder")),
            opened => opened.map_err(|error| io_error(path, error))?,
        };
        let stat = fstat(&descriptor).map_err(|error| io_error(path, error))?;
        if !is_ours(&stat) {
            return Err(odd("it belongs to another user"));
        }
        if is_open_to_others(&stat) {
            return Err(odd("others may use it; make it 0700, or remove it"));
        }
        let folder = Self {
            path: path.to_owned(),
            descriptor,
        };
        folder.remove_unfinished()?;
        Ok(folder)
    }

    /// A whole file, `None` when there is none.
    pub(super) fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, PrecompiledError> {
        let odd = |reason| PrecompiledError::File {
            name: name.to_owned(),
            reason,
        };
        // A pipe in its place must not hold the start up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = match openat(&self.descriptor, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(odd("it is a link")),
            opened => opened.map_err(|error| self.error(name, error))?,
        };
        let stat = fstat(&descriptor).map_err(|error| self.error(name, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(odd("it is no regular file"));
        }
        if !is_ours(&stat) || is_open_to_others(&stat) {
            return Err(odd("it is not its owner's alone"));
        }
        let size = size_of(&stat);
        if size > u64::try_from(max).unwrap_or(u64::MAX) {
            return Err(odd("it is too large"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        File::from(descriptor)
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| self.error(name, error))?;
        Ok(Some(bytes))
    }

    /// Puts a file in place, whole. It is not synced: what a crash damages is found out.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), PrecompiledError> {
        let mut random = [0; 8];
        rand::fill(&mut random).map_err(|_| PrecompiledError::Random)?;
        let beside = format!("{}{UNFINISHED}", hex::encode(random));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = || -> io::Result<()> {
            let mut file = File::from(openat(&self.descriptor, &beside, flags, FILE_MODE)?);
            parts.iter().try_for_each(|part| file.write_all(part))?;
            Ok(renameat(&self.descriptor, &beside, &self.descriptor, name)?)
        };
        written().map_err(|error| {
            // What is left of it would be removed at the next start.
            let _best_effort = unlinkat(&self.descriptor, &beside, AtFlags::empty());
            self.error(name, error)
        })
    }

    /// Removes the oldest files beyond what is kept, and never `but`.
    pub(super) fn prune(&self, but: &str) -> Result<(), PrecompiledError> {
        let mut files: Vec<(i64, u64, String)> = Vec::new();
        for name in self.names()? {
            if name != but
                && let Ok(stat) = statat(&self.descriptor, &name, AtFlags::SYMLINK_NOFOLLOW)
            {
                files.push((stat.st_mtime, size_of(&stat), name));
            }
        }
        files.sort_unstable_by(|left, right| right.cmp(left));
        let mut bytes = 0;
        for (number, (_, size, name)) in files.iter().enumerate() {
            bytes += size;
            if number >= MAX_FILES || bytes > MAX_BYTES {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    fn remove_unfinished(&self) -> Result<(), PrecompiledError> {
        let names = self.names()?;
        let mut unfinished = names.iter().filter(|name| name.ends_with(UNFINISHED));
        unfinished.try_for_each(|name| self.remove(name))
    }

    fn remove(&self, name: &str) -> Result<(), PrecompiledError> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(error) => Err(self.error(name, error)),
        }
    }

    fn names(&self) -> Result<Vec<String>, PrecompiledError> {
        let list = || -> rustix::io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&self.descriptor)? {
                // Names that are no UTF-8 are none of ours.
                if let Ok(name) = entry?.file_name().to_str()
                    && !matches!(name, "." | "..")
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|error| io_error(&self.path, error))
    }

    fn error(&self, name: &str, error: impl Into<io::Error>) -> PrecompiledError {
        io_error(&self.path.join(name), error)
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw()
}

fn is_open_to_others(stat: &Stat) -> bool {
    stat.st_mode & 0o077 != 0
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(u64::MAX)
}

fn io_error(path: &Path, error: impl Into<io::Error>) -> PrecompiledError {
    PrecompiledError::Io {
        path: path.to_owned(),
        source: error.into(),
    }
}
