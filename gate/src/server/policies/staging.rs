//! What was uploaded and is not yet named by a set that took effect: files in a folder of the gate's home, bounded.
//!
//! Nothing in it decides anything. It is not durable: a file that was damaged by a crash is found by its digest when it
//! is complete, or when it is named.

mod needed;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use sealwright_identity::Digest;
use sealwright_ledger::BlobKind;

pub(super) use needed::{is_over, needed};

/// The folder, in the home.
const FOLDER: &str = "staging";

/// All files together, in bytes.
const MAX_BYTES: u64 = 512 << 20;

/// How many files.
const MAX_FILES: usize = 1024;

/// What waits longer is forgotten, unless somebody signed a set that can still take effect and needs it (`needed`).
const MAX_AGE: Duration = Duration::from_secs(60 * 86_400);

/// What a file is of which not all is there.
const PART: &str = "part";

/// The largest component, in bytes.
pub(super) const MAX_MODULE_BYTES: u64 = 32 << 20;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Module,
    Source,
    Report,
    Statement,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Module, Self::Source, Self::Report, Self::Statement];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Source => "source",
            Self::Report => "report",
            Self::Statement => "statement",
        }
    }

    pub(super) const fn blob(self) -> BlobKind {
        match self {
            Self::Module => BlobKind::Module,
            Self::Source => BlobKind::Source,
            Self::Report => BlobKind::Report,
            Self::Statement => BlobKind::Statement,
        }
    }

    const fn max_bytes(self) -> u64 {
        match self {
            Self::Module => MAX_MODULE_BYTES,
            Self::Source => 16 << 20,
            Self::Report | Self::Statement => 1 << 20,
        }
    }
}

/// A file that is there whole.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) kind: Kind,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Why something cannot wait here.
#[derive(Debug, thiserror::Error)]
pub(super) enum StagingError {
    /// Too large for what it is, or not as large as it said.
    #[error("a {kind} of {size} bytes is too large, {limit} are possible")]
    TooLarge {
        kind: &'static str,
        size: u64,
        limit: u64,
    },
    /// More came than was said would.
    #[error("more than the {0} bytes came that were said to")]
    TooLong(u64),
    /// All is there and it is something else.
    #[error("what came is {found}, not {wanted}; it was thrown away, send it again from the start")]
    Digest { wanted: Digest, found: Digest },
    /// Too much waits.
    #[error("{files} files with {bytes} bytes wait already; drop what is not needed any more")]
    Full { files: usize, bytes: u64 },
    /// The disk.
    #[error("the staging folder cannot be used")]
    File(#[source] io::Error),
}

impl From<io::Error> for StagingError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// The folder. Each call blocks for a short while.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    folder: PathBuf,
}

impl Staging {
    pub(super) fn of(home: &Path) -> Self {
        Self {
            folder: home.join(FOLDER),
        }
    }

    /// Takes a piece that begins at `offset`; returns how much is there, and whether it is all. A piece that begins
    /// elsewhere than what is there ends changes nothing.
    pub(super) fn append(
        &self,
        kind: Kind,
        digest: Digest,
        size: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(u64, bool), StagingError> {
        if size > kind.max_bytes() {
            return Err(StagingError::TooLarge {
                kind: kind.word(),
                size,
                limit: kind.max_bytes(),
            });
        }
        if let Some(there) = self.size_of(kind, &digest) {
            // Whoever sends it again has a use for it: it waits from now on.
            touch(&self.path(kind.word(), &digest))?;
            return Ok((there, true));
        }
        let part = self.path(PART, &digest);
        let there = fs::metadata(&part).map_or(0, |metadata| metadata.len());
        if offset != there || data.is_empty() {
            return Ok((there, false));
        }
        let length = there.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if length > size {
            return Err(StagingError::TooLong(size));
        }
        self.room_for(u64::try_from(data.len()).unwrap_or(u64::MAX), there == 0)?;
        let mut file = create(&part, OpenOptions::new().append(true))?;
        file.write_all(data)?;
        drop(file);
        if length < size {
            return Ok((length, false));
        }
        let found = Digest::of(&fs::read(&part)?);
        if found != digest {
            fs::remove_file(&part)?;
            return Err(StagingError::Digest {
                wanted: digest,
                found,
            });
        }
        fs::rename(&part, self.path(kind.word(), &digest))?;
        Ok((length, true))
    }

    /// Puts a statement's armoured file, in the place of one that was there.
    pub(super) fn put_statement(&self, digest: Digest, armoured: &str) -> Result<(), StagingError> {
        let fresh = self.size_of(Kind::Statement, &digest).is_none();
        self.room_for(u64::try_from(armoured.len()).unwrap_or(u64::MAX), fresh)?;
        let part = self.path(PART, &digest);
        let mut file = create(&part, OpenOptions::new().write(true).truncate(true))?;
        file.write_all(armoured.as_bytes())?;
        drop(file);
        fs::rename(&part, self.path(Kind::Statement.word(), &digest))?;
        Ok(())
    }

    /// The bytes of a file, if it is there whole.
    pub(super) fn read(&self, kind: Kind, digest: &Digest) -> Result<Option<Vec<u8>>, StagingError> {
        let file = match File::open(self.path(kind.word(), digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(kind.max_bytes()).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Up to `length` bytes of a file from `offset`, and its size.
    pub(super) fn piece(
        &self,
        digest: &Digest,
        offset: u64,
        length: u64,
    ) -> Result<Option<(u64, Vec<u8>)>, StagingError> {
        for kind in [Kind::Module, Kind::Source, Kind::Report] {
            if let Some(size) = self.size_of(kind, digest) {
                let mut file = File::open(self.path(kind.word(), digest))?;
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = Vec::new();
                file.take(length).read_to_end(&mut bytes)?;
                return Ok(Some((size, bytes)));
            }
        }
        Ok(None)
    }

    /// The size of a file that is there whole.
    pub(super) fn size_of(&self, kind: Kind, digest: &Digest) -> Option<u64> {
        let metadata = fs::metadata(self.path(kind.word(), digest)).ok()?;
        Some(metadata.len())
    }

    /// Takes files away, whatever they are.
    pub(super) fn remove(&self, digest: &Digest) {
        for suffix in Kind::ALL.map(Kind::word).into_iter().chain([PART]) {
            // What is not there need not be taken away; what stays counts against the bound.
            let _gone = fs::remove_file(self.path(suffix, digest));
        }
    }

    /// Takes away what has waited too long and is not needed; returns how many files.
    pub(super) fn forget_old(&self, now: SystemTime, needed: &BTreeSet<Digest>) -> usize {
        let Ok(folder) = fs::read_dir(&self.folder) else {
            return 0;
        };
        let is_needed = |file: &fs::DirEntry| {
            let named = named(&file.file_name());
            named.is_some_and(|(digest, _)| needed.contains(&digest))
        };
        let old = |file: &fs::DirEntry| {
            let modified = file.metadata().and_then(|metadata| metadata.modified());
            // A file of the future is none that waited.
            modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > MAX_AGE))
        };
        folder
            .filter_map(Result::ok)
            .filter(|file| old(file) && !is_needed(file))
            .filter(|file| fs::remove_file(file.path()).is_ok())
            .count()
    }

    /// Everything that is there whole.
    pub(super) fn list(&self) -> Result<Vec<Staged>, StagingError> {
        let folder = match fs::read_dir(&self.folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for file in folder {
            let file = file?;
            if let Some((digest, Some(kind))) = named(&file.file_name()) {
                let size = file.metadata()?.len();
                all.push(Staged { kind, digest, size });
            }
        }
        all.sort_by_key(|staged| (staged.kind.word(), staged.digest));
        Ok(all)
    }

    fn room_for(&self, more: u64, another: bool) -> Result<(), StagingError> {
        if !self.folder.exists() {
            fs::DirBuilder::new().mode(0o700).create(&self.folder)?;
        }
        let (mut files, mut bytes) = (0, 0u64);
        for file in fs::read_dir(&self.folder)? {
            files += 1;
            bytes = bytes.saturating_add(file?.metadata()?.len());
        }
        if bytes.saturating_add(more) > MAX_BYTES || another && files >= MAX_FILES {
            return Err(StagingError::Full { files, bytes });
        }
        Ok(())
    }

    fn path(&self, suffix: &str, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        let digits = text.split_once(':').map_or(text.as_str(), |(_, digits)| digits);
        self.folder.join(format!("{digits}.{suffix}"))
    }
}

/// What a file is by its name; of a part, only the digest is known.
fn named(name: &OsStr) -> Option<(Digest, Option<Kind>)> {
    let (digits, suffix) = name.to_str()?.split_once('.')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == suffix);
    Some((format!("sha256:{digits}").parse().ok()?, kind))
}

/// The file was changed now, by the same clock as when it was written.
fn touch(path: &Path) -> io::Result<()> {
    let at = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: at(UTIME_OMIT),
        last_modification: at(UTIME_NOW),
    };
    Ok(futimens(File::open(path)?, &times)?)
}

fn create(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_where_it_ended() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::of(home.path());
        let digest = Digest::of(b"component");
        let append = |offset, data: &[u8]| staging.append(Kind::Module, digest, 9, offset, data).unwrap();
        assert_eq!(append(0, b""), (0, false));
        assert_eq!(append(0, b"comp"), (4, false));
        // Sent again, or from a place that is not there: nothing happens.
        assert_eq!(append(0, b"comp"), (4, false));
        assert_eq!(append(6, b"ent"), (4, false));
        assert_eq!(append(4, b"onent"), (9, true));
        assert_eq!(append(0, b"component"), (9, true));
        assert_eq!(
            staging.read(Kind::Module, &digest).unwrap().unwrap(),
            b"component"
        );
        assert_eq!(
            staging.piece(&digest, 4, 3).unwrap().unwrap(),
            (9, b"one".to_vec())
        );
        assert_eq!(staging.list().unwrap().len(), 1);
        staging.remove(&digest);
        assert!(staging.list().unwrap().is_empty());
        assert_eq!(staging.read(Kind::Module, &digest).unwrap(), None);
    }

    #[test]
    fn what_nobody_came_back_for_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::of(home.path());
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let size = u64::try_from(bytes.len()).unwrap();
            staging.append(Kind::Module, digest, size, 0, bytes).unwrap();
            digest
        };
        let (old, new) = (put(b"old"), put(b"new"));
        let file = |digest| File::open(staging.path("module", digest)).unwrap();
        let now = file(&new).metadata().unwrap().modified().unwrap();
        let before = now - MAX_AGE - Duration::from_secs(1);
        file(&old).set_modified(before).unwrap();
        let nothing = BTreeSet::new();
        // A clock that stands at the beginning of time forgets nothing.
        assert_eq!(staging.forget_old(SystemTime::UNIX_EPOCH, &nothing), 0);
        assert_eq!(staging.forget_old(now, &nothing), 1);
        let left = staging.list().unwrap();
        assert_eq!(left.iter().map(|one| one.digest).collect::<Vec<_>>(), [new]);
        // What is sent again waits from then on.
        file(&new).set_modified(before).unwrap();
        put(b"new");
        assert_eq!(staging.forget_old(now, &nothing), 0);
    }

    #[test]
    fn what_is_something_else_is_thrown_away() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::of(home.path());
        let digest = Digest::of(b"component");
        let refused = staging
            .append(Kind::Module, digest, 9, 0, b"compinent")
            .unwrap_err();
        assert!(matches!(refused, StagingError::Digest { .. }));
        let refused = staging.append(Kind::Module, digest, 9, 0, b"component and more");
        assert!(matches!(refused, Err(StagingError::TooLong(9))));
        let refused = staging.append(Kind::Module, digest, 1 << 30, 0, b"c");
        assert!(matches!(refused, Err(StagingError::TooLarge { .. })));
        assert_eq!(
            staging.append(Kind::Module, digest, 9, 0, b"component").unwrap(),
            (9, true)
        );
    }
}
