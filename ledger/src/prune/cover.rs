//! Whether exports hold what goes: each is read whole and compared with the ledger, entry by entry.

use std::{
    collections::VecDeque,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use sealwright_identity::Timestamp;
use sqlx::SqliteConnection;

use super::{CHUNK, PruneError, PrunedExport};
use crate::{
    chain::{Head, Instance, RawEntry},
    export::{ExportItem, ExportReader},
    reader::{ReadError, chunk, raw_entry},
    verify::Progress,
};

const READ_AHEAD: usize = 1 << 20;

/// So many with ordinary names are some 45 KiB, and a record has 64 KiB at most; with longer names it is refused as too large.
const MAX_EXPORTS: usize = 128;
/// A longer name is cut.
const MAX_NAME: usize = 200;

/// Reads all exports. Returns those that hold anything of what goes, in the order of the chain.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    instance: Instance,
    begin: Head,
    last: u64,
    files: &[PathBuf],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<PrunedExport>, PruneError> {
    let mut readers = Vec::with_capacity(files.len());
    for path in files {
        let reader = open(path)?;
        if reader.header().instance != instance {
            return Err(PruneError::OtherLedger { path: path.clone() });
        }
        readers.push((reader.header().after.sequence, path));
    }
    readers.sort_by_key(|(after, _)| *after);
    let mut exports = Vec::new();
    let mut covered = begin;
    let mut done = 0;
    for (after, path) in readers {
        if after > covered.sequence && covered.sequence < last {
            return Err(PruneError::Gap {
                first: covered.sequence + 1,
                last: after.min(last),
            });
        }
        let ledger = Rows::after(connection, after.max(begin.sequence));
        let export = read(ledger, path, begin, &mut done, last, progress).await?;
        let holds = export.head.sequence > export.after.sequence.max(begin.sequence);
        if holds && export.after.sequence < last {
            if export.head.sequence > covered.sequence {
                covered = export.head;
            }
            exports.push(export);
        }
    }
    if covered.sequence < last {
        let next = Rows::after(connection, covered.sequence).next().await?;
        return Err(PruneError::Short {
            end: covered.sequence,
            last,
            would_do: next.map_or(Timestamp::from_micros(0), |entry| entry.recorded_at),
        });
    }
    if exports.len() > MAX_EXPORTS {
        return Err(PruneError::TooMany {
            found: exports.len(),
            limit: MAX_EXPORTS,
        });
    }
    Ok(exports)
}

fn open(path: &Path) -> Result<ExportReader<BufReader<File>>, PruneError> {
    let failed = |source| PruneError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    ExportReader::open(BufReader::with_capacity(READ_AHEAD, file)).map_err(|source| PruneError::Export {
        path: path.to_owned(),
        source,
    })
}

/// One export: sound, and of the same entries as the ledger wherever both have them.
async fn read(
    mut ledger: Rows<'_>,
    path: &Path,
    begin: Head,
    done: &mut u64,
    total: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<PrunedExport, PruneError> {
    let unsound = |source| PruneError::Export {
        path: path.to_owned(),
        source,
    };
    let differs = |sequence| PruneError::Differs {
        path: path.to_owned(),
        sequence,
    };
    let mut reader = open(path)?;
    let after = reader.header().after;
    // The entry before the part vouches for what the part hooks into.
    if after.sequence == begin.sequence && after.hash != begin.hash {
        return Err(differs(after.sequence));
    }
    let mut first = true;
    while let Some(item) = reader.next().map_err(unsound)? {
        let entry = match item {
            ExportItem::Entry(entry, _) => entry,
            ExportItem::Blob { .. } | ExportItem::Earlier(..) => continue,
        };
        let sequence = entry.sequence;
        if sequence == begin.sequence && entry.hash != begin.hash {
            return Err(differs(sequence));
        }
        if sequence <= begin.sequence {
            continue;
        }
        if first || sequence.is_multiple_of(u64::from(CHUNK)) {
            *done = (*done).max(sequence.min(total));
            progress(Progress {
                entries: *done,
                total,
            });
        }
        first = false;
        // Also beyond what goes: an export that is longer than the ledger is of one that was cut off since.
        if ledger.next().await?.as_ref() != Some(&entry) {
            return Err(differs(sequence));
        }
    }
    let report = reader.report();
    let file = reader.file_digest();
    let (Some(report), Some(file)) = (report, file) else {
        return Err(unsound(crate::export::ExportError::Truncated));
    };
    Ok(PrunedExport {
        name: name(path),
        file,
        after,
        head: report.head,
    })
}

/// What the file is called: for people, who find it by its digest if it was renamed.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .take(MAX_NAME)
        .collect()
}

/// The ledger's entries, one after another.
struct Rows<'c> {
    connection: &'c mut SqliteConnection,
    after: u64,
    read: VecDeque<RawEntry>,
}

impl<'c> Rows<'c> {
    fn after(connection: &'c mut SqliteConnection, after: u64) -> Self {
        Self {
            connection,
            after,
            read: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<RawEntry>, ReadError> {
        if self.read.is_empty() {
            for row in chunk(self.connection, self.after, CHUNK).await? {
                self.read.push_back(raw_entry(&row)?);
            }
            self.after = self.read.back().map_or(self.after, |last| last.sequence);
        }
        Ok(self.read.pop_front())
    }
}
