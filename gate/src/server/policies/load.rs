//! The history, read from the ledger at a start: every entry is judged again, by the people who were asked then.

use std::collections::BTreeMap;

use sealwright_identity::Digest;
use sealwright_ledger::{BlobKind, Body, LedgerReader, PolicyEntry, PolicyEvent, RawEntry};
use sealwright_statement::policy::{Revision, Revocation, Roster, Set};
use sealwright_statement::{Envelope, EnvelopeError, Signed, Statement};

use super::error::PoliciesError;
use super::history::{Brought, History, Surroundings};

/// Entries that are read at once.
const PIECE: u32 = 64;

/// The history of a ledger; `None` for one that has no policy entry yet.
pub(super) async fn history(reader: &LedgerReader) -> Result<Option<History>, PoliciesError> {
    let mut history = None;
    let mut after = 0;
    loop {
        let piece = reader.policy_entries_after(after, PIECE).await?;
        let Some(last) = piece.last() else {
            return Ok(history);
        };
        after = last.sequence;
        for raw in &piece {
            let entry = Entry::read(reader, raw).await?;
            history = Some(entry.take_effect(history)?);
        }
    }
}

/// An entry with the statements that it brings in.
struct Entry {
    sequence: u64,
    entry: PolicyEntry,
    statements: BTreeMap<Digest, Envelope>,
}

impl Entry {
    async fn read(reader: &LedgerReader, raw: &RawEntry) -> Result<Self, PoliciesError> {
        let sequence = raw.sequence;
        let damaged = |problem| PoliciesError::Damaged { sequence, problem };
        if raw.computed_hash() != raw.hash {
            return Err(damaged("its content does not give its hash"));
        }
        let Ok(Body::Policy(entry)) = raw.body() else {
            return Err(damaged("its body cannot be read"));
        };
        let mut statements = BTreeMap::new();
        for brought in &entry.brings {
            let missing = || PoliciesError::Missing {
                sequence,
                digest: brought.blob,
            };
            let blob = reader.blob(&brought.blob).await?.ok_or_else(missing)?;
            if blob.kind != BlobKind::Statement {
                return Err(missing());
            }
            let text = String::from_utf8(blob.bytes).map_err(|_error| damaged("a statement is not text"))?;
            let envelope = Envelope::parse(&text).map_err(|source| unreadable(sequence, source))?;
            if envelope.digest() != brought.statement {
                return Err(damaged("a statement has another digest than it says"));
            }
            statements.insert(brought.statement, envelope);
        }
        Ok(Self {
            sequence,
            entry,
            statements,
        })
    }

    fn take_effect(mut self, history: Option<History>) -> Result<History, PoliciesError> {
        let damaged = |problem| PoliciesError::Damaged {
            sequence: self.sequence,
            problem,
        };
        let brings = self.entry.brings.clone();
        let mut history = match (history, self.entry.event) {
            (None, PolicyEvent::Roster) => {
                let roster: Signed<Roster> = self.statement()?;
                History::begin(roster.statement)
            }
            (None, _) => return Err(damaged("no roster was there before it")),
            (Some(_), PolicyEvent::Roster) => return Err(damaged("a roster was there before it")),
            (Some(mut history), PolicyEvent::Set) => {
                self.set(&mut history)?;
                history.placed(self.sequence);
                history
            }
            (Some(mut history), PolicyEvent::Revocation) => {
                self.revocation(&mut history)?;
                history
            }
            (Some(mut history), PolicyEvent::Stop) => {
                let stop = self.entry.stopped.ok_or_else(|| damaged("it names no canary"))?;
                if !history.may_stop(self.entry.statement, &stop) {
                    return Err(damaged(
                        "it stops a canary that no bound of the set in force stops",
                    ));
                }
                history.stop(stop.revision, self.entry.judged_at);
                history
            }
        };
        if history.number() != self.entry.number {
            return Err(PoliciesError::Damaged {
                sequence: self.sequence,
                problem: "it names another set than the one in force",
            });
        }
        history.count(self.entry.statement, &brings);
        Ok(history)
    }

    fn set(&mut self, history: &mut History) -> Result<(), PoliciesError> {
        let set: Signed<Set> = self.statement()?;
        let brought = self.brought()?;
        let around = self.around(set.statement.deployment, history);
        let approved = history.judge_recorded(&set, &brought, around);
        let approved = approved.map_err(|source| self.quorum(source))?;
        history
            .apply(&approved, &brought, self.entry.judged_at, self.entry.seeded)
            .map_err(|source| self.quorum(source))
    }

    fn revocation(&mut self, history: &mut History) -> Result<(), PoliciesError> {
        let revocation: Signed<Revocation> = self.statement()?;
        let around = self.around(revocation.statement.deployment, history);
        let approved = history.judge_revocation(&revocation, around);
        history.revoke(&approved.map_err(|source| self.quorum(source))?);
        Ok(())
    }

    /// An earlier set may have been for issuers with other keys. Threshold 0 is taken only from a ledger that began
    /// with it: a start then asks for the mark of a rehearsal.
    fn around(&self, deployment: Digest, history: &History) -> Surroundings {
        Surroundings {
            deployment,
            rehearsal: history.roster().threshold == 0,
            now: self.entry.judged_at,
        }
    }

    /// The statement that takes effect.
    fn statement<T: Statement>(&mut self) -> Result<Signed<T>, PoliciesError> {
        let envelope = self.statements.remove(&self.entry.statement);
        let envelope = envelope.ok_or(PoliciesError::Damaged {
            sequence: self.sequence,
            problem: "it does not bring in its own statement",
        })?;
        self.open(envelope)
    }

    fn brought(&mut self) -> Result<Brought, PoliciesError> {
        let mut brought = Brought::default();
        for envelope in std::mem::take(&mut self.statements).into_values() {
            if envelope.kind() == Revision::TYPE {
                brought.revisions.push(self.open(envelope)?);
            } else if brought.roster.replace(self.open(envelope)?).is_some() {
                return Err(PoliciesError::Damaged {
                    sequence: self.sequence,
                    problem: "it brings in two rosters",
                });
            }
        }
        Ok(brought)
    }

    fn open<T: Statement>(&self, envelope: Envelope) -> Result<Signed<T>, PoliciesError> {
        envelope
            .open()
            .map_err(|source| unreadable(self.sequence, source))
    }

    fn quorum(&self, source: sealwright_statement::policy::QuorumError) -> PoliciesError {
        PoliciesError::Quorum {
            sequence: self.sequence,
            source: Box::new(source),
        }
    }
}

fn unreadable(sequence: u64, source: EnvelopeError) -> PoliciesError {
    PoliciesError::Statement {
        sequence,
        source: Box::new(source),
    }
}
