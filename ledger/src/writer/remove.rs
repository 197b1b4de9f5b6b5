//! Taking out what a pruning has named: the entry that says so first, then piece after piece.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use tokio::sync::oneshot;

use super::{Draft, Ended, Failure, Reply, Waiting, Writer, statements::lookups_json};
use crate::{
    body::{Body, decode},
    chain::{Head, identity_tags},
    entry::EntryKind,
    error::{Error, SharedSource},
    prune::GOES,
    reader::newest_pruning,
    schema::signed,
};

/// What one transaction took out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// The last entry of it.
    pub(crate) last: u64,
    /// How many entries.
    pub(crate) entries: u64,
}

/// Entries that go together.
struct Piece {
    first: i64,
    last: i64,
    removed: Removed,
    /// Their names, `[[tag, sequence], …]`.
    lookups: String,
}

impl Writer {
    /// Writes the entry of a pruning, when the ledger still is as it was planned.
    pub(super) async fn prune(&mut self, draft: Draft, last: Head, reply: Reply) -> Result<(), Ended> {
        if let Err(error) = self.may_prune(last).await {
            self.answer(Some(reply), Err(error));
            return Ok(());
        }
        let reply = Some(reply);
        self.commit(vec![Waiting { draft, reply }]).await
    }

    async fn may_prune(&mut self, last: Head) -> Result<(), Error> {
        let open = self.state.open_decisions().first().copied();
        if open.is_some_and(|open| open <= last.sequence) {
            return Err(Error::Invalid("a decision that would go is open"));
        }
        let failed = |error: sqlx::Error| Error::NotWritten(error.into());
        let newest = newest(&mut self.connection).await?;
        if newest >= last.sequence {
            return Err(Error::Invalid("it was pruned that far before"));
        }
        let text = format!("SELECT EXISTS (SELECT 1 FROM entries WHERE sequence <= ? AND kind IN {GOES})");
        let left: bool = sqlx::query_scalar(AssertSqlSafe(text))
            .bind(signed(newest))
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed)?;
        if left {
            return Err(Error::Invalid("an earlier pruning is not at its end"));
        }
        let hash: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM entries WHERE sequence = ?")
            .bind(signed(last.sequence))
            .fetch_optional(&mut self.connection)
            .await
            .map_err(failed)?;
        if hash.as_deref() != Some(last.hash.as_bytes().as_slice()) {
            return Err(Error::Invalid("the last entry to go is not the one of the plan"));
        }
        Ok(())
    }

    /// Takes out the next entries after one that are pruned and still there; `None` when there are none.
    pub(super) async fn remove(
        &mut self,
        after: u64,
        reply: oneshot::Sender<Result<Option<Removed>, Error>>,
    ) -> Result<(), Ended> {
        let (result, ended) = super::split(self.remove_piece(after).await);
        let _ = reply.send(result);
        ended
    }

    async fn remove_piece(&mut self, after: u64) -> Result<Option<Removed>, Error> {
        let last = newest(&mut self.connection).await?;
        let limit = self.config.prune_batch.max(1);
        let Some(piece) = piece(&mut self.connection, after, last, limit).await? else {
            return Ok(None);
        };
        let text = format!(
            "BEGIN IMMEDIATE; \
             INSERT INTO removed (sequence, serial) \
             SELECT sequence, serial FROM entries WHERE kind = 2 AND sequence BETWEEN ? AND ? ORDER BY sequence; \
             DELETE FROM entries WHERE sequence BETWEEN ? AND ? AND kind IN {GOES}; \
             DELETE FROM lookups WHERE (tag, sequence) IN \
             (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)); COMMIT"
        );
        let written = sqlx::query(AssertSqlSafe(text))
            .bind(piece.first)
            .bind(piece.last)
            .bind(piece.first)
            .bind(piece.last)
            .bind(piece.lookups)
            .execute(&mut self.connection)
            .await;
        match written {
            Ok(_) => {
                self.written();
                Ok(Some(piece.removed))
            }
            Err(error) => {
                let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
                let passing = matches!(Failure::of(&error), Failure::Passing);
                let source = SharedSource::from(error);
                Err(if passing {
                    Error::NotWritten(source)
                } else {
                    Error::Fatal(source)
                })
            }
        }
    }
}

/// The last sequence that was pruned; 0 when nothing was.
async fn newest(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let newest = newest_pruning(connection)
        .await
        .map_err(|error| Error::Damaged(error.to_string()))?;
    Ok(newest.map_or(0, |pruning| pruning.entry.last.sequence))
}

async fn piece(
    connection: &mut SqliteConnection,
    after: u64,
    last: u64,
    limit: usize,
) -> Result<Option<Piece>, Error> {
    let text = format!(
        "SELECT sequence, kind, serial, body FROM entries \
         WHERE sequence > ? AND sequence <= ? AND kind IN {GOES} ORDER BY sequence LIMIT ?"
    );
    let failed = |error: sqlx::Error| Error::NotWritten(error.into());
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(signed(after))
        .bind(signed(last))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let mut ends: Option<(i64, i64)> = None;
    let mut lookups = Vec::new();
    for row in &rows {
        let sequence: i64 = row.try_get(0).map_err(failed)?;
        ends = Some((ends.map_or(sequence, |(first, _)| first), sequence));
        let damaged = |what: &str| Error::Damaged(format!("entry {sequence}: {what}"));
        let code: i64 = row.try_get(1).map_err(failed)?;
        let kind = u8::try_from(code).ok().and_then(EntryKind::from_code);
        let kind = kind.ok_or_else(|| damaged("no kind of entry"))?;
        let serial: Option<Vec<u8>> = row.try_get(2).map_err(failed)?;
        let body: Vec<u8> = row.try_get(3).map_err(failed)?;
        let body = decode(kind, serial.as_deref(), &body).map_err(|error| damaged(&error.to_string()))?;
        let Body::Decision(decision) = body else { continue };
        let place = u64::try_from(sequence).map_err(|_negative| damaged("its sequence is none"))?;
        let tags = identity_tags(&decision.identities);
        lookups.extend(tags.into_iter().map(|tag| (tag, place)));
    }
    Ok(ends.map(|(first, last)| Piece {
        first,
        last,
        removed: Removed {
            last: u64::try_from(last).unwrap_or(u64::MAX),
            entries: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        },
        lookups: lookups_json(lookups).unwrap_or_else(|| "[]".to_owned()),
    }))
}
