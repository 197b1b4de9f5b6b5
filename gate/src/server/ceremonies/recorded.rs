//! What the ledger has: each record is looked at again, with the transcript that was kept.
//!
//! The program of the ceremony is not run again: another release may not lead to the same events, and the record was made
//! when it did. A replay of an export runs it.

use std::collections::BTreeMap;

use sealwright_ceremony::{Files, Recalled, recall};
use sealwright_identity::Digest;
use sealwright_ledger::{BlobKind, Body, CeremonyEntry, LedgerReader};
use sealwright_runtime::Chain;
use sealwright_statement::Signed;
use sealwright_statement::policy::Roster;

use super::error::{CeremoniesError, NoTrail};

/// Entries that are read at once.
const PIECE: u32 = 64;

/// A ceremony that is in the ledger.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) sequence: u64,
    pub(super) entry: CeremonyEntry,
    /// The first roster of those who approve policies, if the ceremony has one.
    pub(super) approvers: Option<Signed<Roster>>,
}

/// Every record by its key; of several of one key, the first.
pub(super) async fn read(
    reader: &LedgerReader,
) -> Result<BTreeMap<Digest, Result<Recorded, NoTrail>>, CeremoniesError> {
    let mut found = BTreeMap::new();
    let mut after = 0;
    loop {
        let piece = reader.ceremony_entries_after(after, PIECE).await?;
        let Some(last) = piece.last() else {
            return Ok(found);
        };
        after = last.sequence;
        for raw in piece {
            let sequence = raw.sequence;
            let damaged = |problem| CeremoniesError::Damaged { sequence, problem };
            if raw.computed_hash() != raw.hash {
                return Err(damaged("its content does not give its hash"));
            }
            let Ok(Body::Ceremony(entry)) = raw.body() else {
                return Err(damaged("its body cannot be read"));
            };
            if found.contains_key(&entry.key) {
                continue;
            }
            let key = entry.key;
            let recorded = match look(reader, &entry).await? {
                Ok(approvers) => Ok(Recorded {
                    sequence,
                    entry,
                    approvers,
                }),
                Err(problem) => Err(NoTrail::Recorded {
                    key,
                    sequence,
                    problem,
                }),
            };
            found.insert(key, recorded);
        }
    }
}

/// Whether the transcript says what the entry says of it; the approvers that it has.
async fn look(
    reader: &LedgerReader,
    entry: &CeremonyEntry,
) -> Result<Result<Option<Signed<Roster>>, String>, CeremoniesError> {
    let blob = reader.blob(&entry.blob).await?;
    let Some(blob) = blob.filter(|blob| blob.kind == BlobKind::Transcript) else {
        return Ok(Err(format!("its transcript {} is not there", entry.blob)));
    };
    let looked = tokio::task::spawn_blocking(move || {
        let files = Files::from_archive(&blob.bytes)?;
        recall(&files)
    });
    let recalled = looked
        .await
        .map_err(|error| CeremoniesError::Runtime(std::io::Error::other(error)))?;
    Ok(match recalled {
        Ok(recalled) if agrees(entry, &recalled) => Ok(recalled.approvers),
        Ok(_) => Err("its transcript says something else".to_owned()),
        Err(error) => Err(Chain(&error).to_string()),
    })
}

fn agrees(entry: &CeremonyEntry, recalled: &Recalled) -> bool {
    recalled.keys.contains(&entry.key)
        && recalled.digest == entry.transcript
        && recalled.roster == entry.roster
        && recalled.plan == entry.plan
        && recalled.ceremony.to_string() == entry.ceremony
        && recalled.rehearsal == entry.rehearsal
        && recalled.signed_by == entry.signed_by
}
