//! The statements of one commit, sent so that a commit crosses to SQLite's thread as few times as can be.
//!
//! A batch is cut into pieces; each is one multi-row INSERT, the first of them opens the transaction and the last one
//! commits it. A batch of up to 16, or of 24, 32 … 64, is one piece and one crossing, any other is two: each piece more
//! costs both threads a wake-up or two. The sizes are few, so all of them stay prepared (11 KB to 70 KB each).

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use sqlx::{AssertSqlSafe, SqliteConnection, query::Query, sqlite::SqliteArguments};

use crate::{chain::RawEntry, schema::signed};

/// An entry with the tags under which it is found.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) entry: RawEntry,
    pub(crate) tags: Vec<i64>,
}

/// The largest piece.
pub(crate) const MAX_PIECE: usize = 64;

/// Up to here there is a piece of every size; above, of every so many rows.
const EXACT: usize = 16;
const STEP: usize = 8;

const COLUMNS: &str = "sequence, kind, recorded_at, settled, refers, serial, previous, hash, body";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    rows: usize,
    first: bool,
    last: bool,
    lookups: bool,
}

/// The texts that were needed so far.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    texts: HashMap<Shape, Arc<str>>,
}

impl Statements {
    /// Writes the entries in one transaction. After an error the transaction may still be open.
    pub(crate) async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        batch: &[Tagged],
    ) -> Result<(), sqlx::Error> {
        let lookups = batch.iter().flat_map(|tagged| {
            let tags = tagged.tags.iter();
            tags.map(|tag| (*tag, tagged.entry.sequence))
        });
        let lookups = lookups_json(lookups);
        let mut rest = batch;
        let mut first = true;
        while !rest.is_empty() {
            let rows = piece(rest.len());
            let (now, later) = rest.split_at_checked(rows).unwrap_or((rest, &[]));
            let last = later.is_empty();
            let shape = Shape {
                rows,
                first,
                last,
                lookups: last && lookups.is_some(),
            };
            let text = self.texts.entry(shape).or_insert_with(|| text(shape).into());
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(text)));
            for tagged in now {
                query = bind(query, &tagged.entry);
            }
            if let Some(lookups) = lookups.as_ref().filter(|_| shape.lookups) {
                query = query.bind(lookups.clone());
            }
            query.execute(&mut *connection).await?;
            rest = later;
            first = false;
        }
        Ok(())
    }
}

/// The largest size of a piece that fits.
fn piece(rows: usize) -> usize {
    let rows = rows.clamp(1, MAX_PIECE);
    if rows <= EXACT { rows } else { rows - rows % STEP }
}

fn text(shape: Shape) -> String {
    let mut sql = String::new();
    if shape.first {
        sql.push_str("BEGIN IMMEDIATE; ");
    }
    let _ = write!(sql, "INSERT INTO entries ({COLUMNS}) VALUES ");
    for row in 0..shape.rows {
        sql.push_str(if row == 0 {
            "(?,?,?,?,?,?,?,?,?)"
        } else {
            ",(?,?,?,?,?,?,?,?,?)"
        });
    }
    if shape.lookups {
        sql.push_str(
            "; INSERT INTO lookups (tag, sequence) \
             SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
        );
    }
    if shape.last {
        sql.push_str("; COMMIT");
    }
    sql
}

type EntryQuery<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

pub(crate) fn bind<'q>(query: EntryQuery<'q>, entry: &RawEntry) -> EntryQuery<'q> {
    query
        .bind(signed(entry.sequence))
        .bind(i64::from(entry.kind))
        .bind(entry.recorded_at.micros())
        .bind(signed(entry.settled))
        .bind(entry.refers.map(signed))
        .bind(entry.serial.clone())
        .bind(entry.previous.as_bytes().to_vec())
        .bind(entry.hash.as_bytes().to_vec())
        .bind(entry.body.clone())
}

/// Tags with the sequences of their entries as `[[tag, sequence], …]`, one parameter however many there are; `None` when
/// there is none.
pub(super) fn lookups_json(lookups: impl IntoIterator<Item = (i64, u64)>) -> Option<String> {
    let mut json = String::new();
    for (tag, sequence) in lookups {
        let comma = if json.is_empty() { '[' } else { ',' };
        let _ = write!(json, "{comma}[{tag},{sequence}]");
    }
    if json.is_empty() {
        return None;
    }
    json.push(']');
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_at_most_two_pieces() {
        assert_eq!(
            [1, 2, 3, 16, 17, 23, 24, 63, 64, 200].map(piece),
            [1, 2, 3, 16, 16, 16, 24, 56, 64, 64]
        );
        for rows in 1..=MAX_PIECE {
            let rest = rows - piece(rows);
            assert!(rest == 0 || piece(rest) == rest, "{rows}");
        }
    }

    #[test]
    fn a_whole_batch_is_one_text() {
        let shape = Shape {
            rows: 2,
            first: true,
            last: true,
            lookups: true,
        };
        let text = text(shape);
        assert!(text.starts_with("BEGIN IMMEDIATE; INSERT INTO entries"));
        assert!(text.ends_with("; COMMIT"));
        assert_eq!(text.matches('?').count(), 19);
    }
}
