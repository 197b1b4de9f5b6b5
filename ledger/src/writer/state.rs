//! What the writer knows between commits: the end of the chain, and which decisions wait for their certificate.

use std::collections::{BTreeMap, HashSet};

use sealwright_identity::{Digest, SerialNumber, Timestamp};
use sqlx::{Row as _, SqliteConnection};

use super::Draft;
use crate::{
    body::{Body, decode},
    chain::{Head, Instance, RawEntry},
    entry::EntryKind,
    error::Error,
};

/// The state after the last commit, plus what the batch in the making changes.
#[derive(Debug)]
pub(super) struct State {
    head: Head,
    genesis: Digest,
    /// Open decisions with the digest of their to-be-signed bytes.
    pending: BTreeMap<u64, Digest>,
    /// Since the last mark: what was put in, and what was taken out.
    opened: Vec<u64>,
    closed: Vec<(u64, Digest)>,
    serials: HashSet<SerialNumber>,
}

impl State {
    /// Reads the end of the chain and the decisions that are open. Its cost does not grow with the ledger: the last
    /// entry says from where on decisions may be open.
    pub(super) async fn load(connection: &mut SqliteConnection, instance: &Instance) -> Result<Self, Error> {
        let failed = |error: sqlx::Error| Error::Damaged(error.to_string());
        let last = sqlx::query("SELECT sequence, hash, settled FROM entries ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let genesis = instance.genesis();
        let (head, settled) = match last {
            None => (
                Head {
                    sequence: 0,
                    hash: genesis,
                },
                1,
            ),
            Some(row) => {
                let hash: Vec<u8> = row.try_get(1).map_err(failed)?;
                let hash = hash
                    .try_into()
                    .map_err(|_| Error::Damaged("the last hash has not 32 bytes".into()))?;
                let sequence: i64 = row.try_get(0).map_err(failed)?;
                let sequence = u64::try_from(sequence)
                    .map_err(|_| Error::Damaged("the last sequence is negative".into()))?;
                (
                    Head {
                        sequence,
                        hash: Digest::from_bytes(hash),
                    },
                    row.try_get::<i64, _>(2).map_err(failed)?,
                )
            }
        };
        let pending = load_pending(connection, settled).await?;
        Ok(Self {
            head,
            genesis,
            pending,
            opened: Vec::new(),
            closed: Vec::new(),
            serials: HashSet::new(),
        })
    }

    pub(super) fn open_decisions(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    /// Begins a batch.
    pub(super) fn mark(&mut self) -> Head {
        self.keep();
        self.head
    }

    /// The batch is on disk.
    pub(super) fn keep(&mut self) {
        self.opened.clear();
        self.closed.clear();
        self.serials.clear();
    }

    /// The batch was not written.
    pub(super) fn undo(&mut self, mark: Head) {
        for decision in self.opened.drain(..) {
            self.pending.remove(&decision);
        }
        self.pending.extend(self.closed.drain(..));
        self.serials.clear();
        self.head = mark;
    }

    /// Whether the database ends where this state says.
    pub(super) async fn is_at_head_of(&self, connection: &mut SqliteConnection) -> bool {
        let last = sqlx::query("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(connection)
            .await;
        match last {
            Err(_) => false,
            Ok(None) => self.head.sequence == 0 && self.head.hash == self.genesis,
            Ok(Some(row)) => {
                let sequence = row
                    .try_get::<i64, _>(0)
                    .ok()
                    .and_then(|sequence| u64::try_from(sequence).ok());
                let hash: Vec<u8> = row.try_get(1).unwrap_or_default();
                sequence == Some(self.head.sequence) && hash == self.head.hash.as_bytes()
            }
        }
    }

    /// Gives an entry its place, its time and its hash.
    pub(super) fn place(
        &mut self,
        draft: &Draft,
        now: Timestamp,
        max_pending: usize,
    ) -> Result<RawEntry, Error> {
        let sequence = self
            .head
            .sequence
            .checked_add(1)
            .ok_or(Error::Invalid("the ledger is full"))?;
        match draft.kind {
            EntryKind::Decision => self.open(draft, sequence, max_pending)?,
            kind if kind.settles() => self.settle(draft)?,
            _ => {}
        }
        let settled = self
            .pending
            .first_key_value()
            .map_or(sequence + 1, |(oldest, _)| *oldest);
        let mut entry = RawEntry {
            sequence,
            kind: draft.kind.code(),
            recorded_at: now,
            refers: draft.refers,
            settled,
            serial: draft.serial.as_ref().map(|serial| serial.as_bytes().to_vec()),
            body: draft.body.clone(),
            previous: self.head.hash,
            hash: self.head.hash,
        };
        entry.hash = entry.hash_with(&draft.body_digest);
        self.head = entry.head();
        Ok(entry)
    }

    fn open(&mut self, draft: &Draft, sequence: u64, max_pending: usize) -> Result<(), Error> {
        let (Some(serial), Some(tbs)) = (&draft.serial, draft.tbs) else {
            return Err(Error::Invalid(
                "a decision has a serial and the bytes to be signed",
            ));
        };
        if self.pending.len() >= max_pending {
            return Err(Error::Overloaded { limit: max_pending });
        }
        // Serials of earlier batches are found by the index.
        if !self.serials.insert(serial.clone()) {
            return Err(Error::SerialTaken {
                serial: serial.clone(),
            });
        }
        self.pending.insert(sequence, tbs);
        self.opened.push(sequence);
        Ok(())
    }

    fn settle(&mut self, draft: &Draft) -> Result<(), Error> {
        let decision = draft.refers.unwrap_or(0);
        let Some(tbs) = self.pending.get(&decision).copied() else {
            return Err(Error::NotPending { decision });
        };
        if draft.kind == EntryKind::Certificate && draft.tbs != Some(tbs) {
            return Err(Error::OtherCertificate { decision });
        }
        self.pending.remove(&decision);
        self.closed.push((decision, tbs));
        Ok(())
    }
}

async fn load_pending(
    connection: &mut SqliteConnection,
    settled: i64,
) -> Result<BTreeMap<u64, Digest>, Error> {
    let failed = |error: sqlx::Error| Error::Damaged(error.to_string());
    let rows = sqlx::query(
        "SELECT d.sequence, d.body FROM entries d WHERE d.sequence >= ? AND d.kind = 2 \
         AND NOT EXISTS (SELECT 1 FROM entries f WHERE f.refers = d.sequence) ORDER BY d.sequence",
    )
    .bind(settled)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut pending = BTreeMap::new();
    for row in rows {
        let sequence: i64 = row.try_get(0).map_err(failed)?;
        let body: Vec<u8> = row.try_get(1).map_err(failed)?;
        let decision = match decode(EntryKind::Decision, None, &body) {
            Ok(Body::Decision(decision)) => decision,
            Ok(_) => continue,
            Err(error) => return Err(Error::Damaged(format!("entry {sequence}: {error}"))),
        };
        pending.insert(u64::try_from(sequence).unwrap_or(0), Digest::of(&decision.tbs));
    }
    Ok(pending)
}
