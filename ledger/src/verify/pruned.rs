//! Verification of a pruned ledger: the entries from before the whole part of the chain, what the prunings say of them,
//! and the serials that went.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::Problem;
use crate::{
    chain::{Head, RawEntry},
    prune::{PruneEntry, Pruning, Sum, Tally, stays},
    reader::{MalformedRow, prune_entries, pruning, strict_blob, strict_integer},
};

const CHUNK: u32 = 4096;

/// What is said of a pruned ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PrunedReport {
    /// The newest pruning's entry.
    pub entry: u64,
    /// The last entry that it took: the chain is whole from the next one on.
    pub last: Head,
    /// Entries up to it that stay.
    pub kept: u64,
    /// Serials of certificates that went, of all prunings.
    pub serials: u64,
    /// Entries that are still to go: the pruning did not come to its end. Run it again.
    pub leftover: u64,
}

/// Follows the entries up to the newest pruning's last.
#[derive(Debug)]
pub(super) struct Before {
    prunings: Vec<Pruning>,
    newest: Pruning,
    kept: Sum,
    /// Of the newest pruning: those in the table, then those of entries that are still there.
    serials: Sum,
    all_serials: u64,
    leftover: u64,
    last_seen: Option<Head>,
    /// Prunings that were met.
    met: usize,
}

/// How an entry up to the newest pruning's last is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// By itself; its neighbours are gone.
    Alone,
    /// The chain is whole from this entry on.
    First,
    /// In the chain.
    Linked,
}

impl Before {
    /// What the prunings say, and the serials that went. `None` for a ledger that was never pruned.
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        problems: &mut Vec<(u64, Problem)>,
    ) -> Result<Option<Self>, sqlx::Error> {
        let entries = prune_entries(connection).await?;
        // One that cannot be read is found where it stands.
        let prunings: Vec<_> = entries
            .iter()
            .flatten()
            .filter_map(|entry| pruning(entry).ok())
            .collect();
        let mut first = 0;
        for one in &prunings {
            if let Err(why) = plausible(one, first) {
                problems.push((one.sequence, Problem::Pruning(why)));
            }
            first = one.entry.last.sequence;
        }
        let Some(newest) = prunings.last().cloned() else {
            return Ok(None);
        };
        let mut before = Self {
            prunings,
            newest,
            kept: Sum::kept(),
            serials: Sum::serials(),
            all_serials: 0,
            leftover: 0,
            last_seen: None,
            met: 0,
        };
        before.removed(connection, problems).await?;
        Ok(Some(before))
    }

    pub(super) fn last(&self) -> Head {
        self.newest.entry.last
    }

    /// The pruning that took the entry of this sequence, if it was not one that stays. What a pruning names as its last
    /// entry is known.
    pub(super) fn took(&self, sequence: u64) -> Option<u64> {
        let mut prunings = self.prunings.iter();
        let by = prunings.find(|pruning| (1..=pruning.entry.last.sequence).contains(&sequence))?;
        (sequence != self.last().sequence).then_some(by.sequence)
    }

    /// Each pruning's serials; those of the newest go on with [`Self::next`].
    async fn removed(
        &mut self,
        connection: &mut SqliteConnection,
        problems: &mut Vec<(u64, Problem)>,
    ) -> Result<(), sqlx::Error> {
        let mut at = 0;
        let mut after = i64::MIN;
        let mut sum = Sum::serials();
        loop {
            let rows = sqlx::query(AssertSqlSafe(
                "SELECT sequence, serial FROM removed WHERE sequence > ? ORDER BY sequence LIMIT ?",
            ))
            .bind(after)
            .bind(CHUNK)
            .fetch_all(&mut *connection)
            .await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get(0)?;
            for row in &rows {
                let read = || -> Result<(u64, Vec<u8>), MalformedRow> {
                    let sequence = strict_integer(row, 0)?;
                    let sequence = u64::try_from(sequence).map_err(|_| MalformedRow::Value("sequence"))?;
                    Ok((sequence, strict_blob(row, 1)?))
                };
                let (sequence, serial) = match read() {
                    Ok(read) => read,
                    Err(error) => {
                        problems.push((0, Problem::Row(error)));
                        continue;
                    }
                };
                while let Some(one) = self.prunings.get(at)
                    && one.entry.last.sequence < sequence
                {
                    settle(one, &mut sum, problems);
                    at += 1;
                }
                if at == self.prunings.len() {
                    problems.push((
                        sequence,
                        Problem::Pruning("a serial is noted as pruned, and is not"),
                    ));
                }
                sum.add_serial(sequence, &serial);
                self.all_serials += 1;
            }
        }
        // Those after the last row, but not the newest.
        while at + 1 < self.prunings.len() {
            if let Some(one) = self.prunings.get(at) {
                settle(one, &mut sum, problems);
            }
            at += 1;
        }
        self.serials = sum;
        Ok(())
    }

    /// Looks at the next entry, up to the newest pruning's last.
    pub(super) fn next(&mut self, entry: &RawEntry, problems: &mut Vec<Problem>) -> Stands {
        let kind = entry.entry_kind();
        let goes = kind.is_ok_and(|kind| !stays(kind));
        let stands = match (self.leftover, goes) {
            (0, true) => Stands::First,
            (0, false) => Stands::Alone,
            _ => Stands::Linked,
        };
        if goes {
            self.leftover += 1;
            if let Some(serial) = &entry.serial {
                self.serials.add_serial(entry.sequence, serial);
            }
        } else {
            self.kept.add_kept(entry.head());
        }
        if stands != Stands::Linked {
            let linked = match self.last_seen {
                Some(last) if last.sequence.checked_add(1) == Some(entry.sequence) => {
                    last.hash == entry.previous
                }
                _ => true,
            };
            if !linked {
                problems.push(Problem::Link);
            }
        }
        if stands == Stands::Alone {
            if entry.computed_hash() != entry.hash {
                problems.push(Problem::Hash);
            }
            if entry.serial.is_some() || entry.refers.is_some() {
                problems.push(Problem::Shape);
            }
        }
        if entry.sequence == self.last().sequence && entry.hash != self.last().hash {
            problems.push(Problem::Link);
        }
        self.last_seen = Some(entry.head());
        stands
    }

    /// A pruning was met, in the chain or before it.
    pub(super) fn meet(&mut self, sequence: u64, entry: &PruneEntry, problems: &mut Vec<Problem>) {
        let known = self.prunings.get(self.met);
        if known.is_none_or(|known| known.sequence != sequence || known.entry != *entry) {
            problems.push(Problem::Pruning("it was not there a moment ago"));
        }
        self.met += 1;
    }

    /// All entries were seen.
    pub(super) fn end(&self, problems: &mut Vec<(u64, Problem)>) -> PrunedReport {
        let newest = &self.newest;
        let mut found = |why| problems.push((newest.sequence, Problem::Pruning(why)));
        if self.kept.tally() != newest.entry.kept {
            found("the entries from before it that stay are not those that it names");
        }
        if self.serials.tally() != newest.entry.serials {
            found(SERIALS_DIFFER);
        }
        if self.met != self.prunings.len() {
            found("a pruning is not in the chain");
        }
        PrunedReport {
            entry: newest.sequence,
            last: self.last(),
            kept: self.kept.tally().count,
            serials: self.all_serials,
            leftover: self.leftover,
        }
    }
}

const SERIALS_DIFFER: &str = "the serials that it took are not those that it names";

/// The serials of a pruning that came to its end.
fn settle(one: &Pruning, sum: &mut Sum, problems: &mut Vec<(u64, Problem)>) {
    let taken: Tally = sum.tally();
    *sum = Sum::serials();
    if taken != one.entry.serials {
        problems.push((one.sequence, Problem::Pruning(SERIALS_DIFFER)));
    }
}

/// Whether a pruning can be what it says, after one that ended at `before`: its exports follow each other, and hold
/// all that it took.
fn plausible(pruning: &Pruning, before: u64) -> Result<(), &'static str> {
    let PruneEntry { last, exports, .. } = &pruning.entry;
    if last.sequence >= pruning.sequence {
        return Err("it took itself");
    }
    if last.sequence <= before {
        return Err("it took what was pruned before");
    }
    let mut covered = before;
    for export in exports {
        if export.after.sequence > covered {
            return Err("there is a gap before one of its exports");
        }
        if export.head.sequence == last.sequence && export.head.hash != last.hash {
            return Err("its last export ends otherwise");
        }
        covered = covered.max(export.head.sequence);
    }
    if covered < last.sequence {
        return Err("it took more than its exports have");
    }
    Ok(())
}
