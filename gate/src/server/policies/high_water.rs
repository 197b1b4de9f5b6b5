//! How often what decides was changed, in a file beside the ledger: a ledger that was restored from an older copy is
//! noticed by it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sealwright_identity::Digest;

use super::error::PoliciesError;

const FILE: &str = "policy-set.mark";

/// A mark above this length is none.
const MAX_BYTES: u64 = 160;

/// How far a ledger has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Changes so far.
    pub(super) changes: u64,
    /// The number of the set in force.
    pub(super) number: u64,
    /// The statement of the last change.
    pub(super) statement: Digest,
}

impl Standing {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let standing = Self {
            changes: words.next()?.parse().ok()?,
            number: words.next()?.parse().ok()?,
            statement: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(standing)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            changes,
            number,
            statement,
        } = self;
        write!(f, "change {changes} ({statement}) with set {number} in force")
    }
}

/// The mark of a home.
#[derive(Debug)]
pub(super) struct HighWater {
    path: PathBuf,
}

impl HighWater {
    pub(super) fn of(home: &Path) -> Self {
        Self {
            path: home.join(FILE),
        }
    }

    /// Refuses a ledger with fewer changes than the mark, or another last one.
    pub(super) fn check(&self, ledger: Option<Standing>) -> Result<(), PoliciesError> {
        let Some(known) = self.read()? else {
            return Ok(());
        };
        let newer = |found: &Standing| found.changes > known.changes || *found == known;
        if ledger.as_ref().is_some_and(newer) {
            return Ok(());
        }
        Err(PoliciesError::Restored {
            path: self.path.clone(),
            known: known.to_string(),
            found: ledger.map_or_else(|| "no change".to_owned(), |found| found.to_string()),
        })
    }

    /// Writes the mark: durable on return, and never half written.
    pub(super) fn raise(&self, standing: Standing) -> Result<(), PoliciesError> {
        self.write(standing).map_err(|source| self.failed(source))
    }

    fn write(&self, standing: Standing) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        let Standing {
            changes,
            number,
            statement,
        } = standing;
        writeln!(file, "{changes} {number} {statement}")?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()
    }

    fn read(&self) -> Result<Option<Standing>, PoliciesError> {
        let text = match File::open(&self.path) {
            Ok(file) => {
                let mut text = String::new();
                io::Read::read_to_string(&mut io::Read::take(file, MAX_BYTES), &mut text).map(|_read| text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        let text = text.map_err(|source| self.failed(source))?;
        match text.strip_suffix('\n').and_then(Standing::parse) {
            Some(mark) => Ok(Some(mark)),
            None => Err(self.failed(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not hold two numbers and a digest",
            ))),
        }
    }

    fn failed(&self, source: io::Error) -> PoliciesError {
        PoliciesError::File {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_mark_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mark = HighWater::of(folder.path());
        let at = |changes, text: &[u8]| Standing {
            changes,
            number: 3,
            statement: Digest::of(text),
        };
        mark.check(None).unwrap();
        mark.raise(at(4, b"1")).unwrap();
        mark.raise(at(5, b"1")).unwrap();
        mark.check(Some(at(5, b"1"))).unwrap();
        mark.check(Some(at(6, b"2"))).unwrap();
        for below in [None, Some(at(4, b"1")), Some(at(5, b"2"))] {
            let refused = mark.check(below).unwrap_err();
            assert!(matches!(refused, PoliciesError::Restored { .. }));
        }
        fs::write(&mark.path, "5").unwrap();
        assert!(matches!(
            mark.check(Some(at(9, b"1"))),
            Err(PoliciesError::File { .. })
        ));
    }
}
