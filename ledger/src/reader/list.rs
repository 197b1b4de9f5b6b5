//! `log list`: one line for each request that was decided on, denied or refused.

use std::fmt::Write as _;

use sealwright_identity::{SerialNumber, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{LedgerReader, MalformedRow, ReadError, outcome_of, row, strict_blob, strict_integer};
use crate::{
    body::{Body, decode},
    chain::identity_tag,
    entry::{EntryKind, Outcome, PolicyRef},
};

/// Rows that one query reads.
const PAGE: u32 = 1000;
/// Rows of one answer when no limit is given, and the most that a limit can ask for.
const MAX_LIMIT: u32 = 10_000;

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The decision with this serial.
    pub serial: Option<SerialNumber>,
    /// Only entries with this name among their identities.
    pub identity: Option<String>,
    /// Only entries for which this policy was asked: its name, or the digest of its module or settings. No index leads
    /// to them: all others are read and passed over.
    pub policy: Option<String>,
    /// Only entries recorded at or after this time.
    pub since: Option<Timestamp>,
    /// Only entries recorded before this time.
    pub until: Option<Timestamp>,
    /// The newest so many; at most, and by default, 10,000.
    pub limit: Option<u32>,
}

/// One line of the list. Its JSON is what `log list --output json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its place in the ledger; not part of the JSON.
    #[serde(skip)]
    pub sequence: u64,
    /// Serial of the certificate, lower-case hex; null when denied or refused.
    pub serial: Option<SerialNumber>,
    /// The first of the identities.
    pub identity: Option<String>,
    /// Every name.
    pub identities: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The policies that were asked.
    pub policies: Vec<PolicyRef>,
    /// Number of the policy set that it was decided under; null where none decides, and in records of before there were
    /// sets.
    #[serde(default)]
    pub set: Option<u64>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    recorded_at: i64,
    sequence: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    OldestFirst,
    NewestFirst,
}

impl LedgerReader {
    /// The newest rows that fit, oldest first. With [`Filter::policy`] those among the newest that fit: use
    /// [`Self::list_all`] to find all.
    ///
    /// # Errors
    /// When they cannot be read in time.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Row>, ReadError> {
        let limit = filter.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        let mut connection = self.connections.bounded().await?;
        let mut rows = page(&mut connection, filter, Direction::NewestFirst, None, limit).await?;
        rows.reverse();
        Ok(rows.into_iter().filter_map(|(row, _)| row).collect())
    }

    /// Every row that fits, oldest first, however many there are. [`Filter::limit`] is not looked at.
    ///
    /// # Errors
    /// When they cannot be read in time (each page has the whole bound), or `each` says so.
    pub async fn list_all(
        &self,
        filter: &Filter,
        mut each: impl FnMut(Row) -> std::io::Result<()> + Send,
    ) -> Result<(), ReadError> {
        let mut cursor = None;
        loop {
            let mut connection = self.connections.bounded().await?;
            let rows = page(&mut connection, filter, Direction::OldestFirst, cursor, PAGE).await?;
            drop(connection);
            let Some((_, last)) = rows.last() else {
                return Ok(());
            };
            cursor = Some(*last);
            for row in rows.into_iter().filter_map(|(row, _)| row) {
                each(row).map_err(ReadError::Output)?;
            }
        }
    }
}

/// One page. A row may be missing from it (a name that only shares another's tag), its cursor is there.
async fn page(
    connection: &mut SqliteConnection,
    filter: &Filter,
    direction: Direction,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<(Option<Row>, Cursor)>, ReadError> {
    let text = statement(filter, direction, after);
    let mut query = sqlx::query(AssertSqlSafe(text))
        .bind(filter.identity.as_deref().map(identity_tag))
        .bind(filter.serial.as_ref().map(|serial| serial.as_bytes().to_vec()))
        .bind(filter.since.map(Timestamp::micros))
        .bind(filter.until.map(Timestamp::micros));
    query = query
        .bind(after.map(|cursor| cursor.recorded_at))
        .bind(after.map(|cursor| cursor.sequence))
        .bind(limit);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| read(row, filter)).collect()
}

/// The parameters are always the same seven; each shape names those that it needs. With a bound in time the order is
/// that of time, so that the index over time gives it; without one it is the order of the ledger.
fn statement(filter: &Filter, direction: Direction, after: Option<Cursor>) -> String {
    let by_time = filter.since.is_some() || filter.until.is_some();
    let mut sql = "SELECT d.sequence, d.kind, d.recorded_at, d.serial, d.body, f.kind FROM ".to_owned();
    // A CROSS JOIN keeps its order: names lead to entries.
    sql.push_str(match (&filter.identity, by_time) {
        (Some(_), _) => "lookups l CROSS JOIN entries d ON d.sequence = l.sequence ",
        (None, true) if filter.serial.is_none() => "entries d INDEXED BY entries_recorded_at ",
        (None, _) => "entries d ",
    });
    sql.push_str("LEFT JOIN entries f ON f.refers = d.sequence WHERE ");
    sql.push_str(if filter.serial.is_some() {
        "d.kind = 2 AND d.serial = ?2"
    } else {
        "d.kind IN (2, 4, 5)"
    });
    if filter.identity.is_some() {
        sql.push_str(" AND l.tag = ?1");
    }
    // A later page begins at its cursor, not at the bound: else each would pass over all before it.
    if filter.since.is_some() && after.is_none() {
        sql.push_str(" AND d.recorded_at >= ?3");
    }
    if filter.until.is_some() {
        sql.push_str(" AND d.recorded_at < ?4");
    }
    let sequence = if filter.identity.is_some() {
        "l.sequence"
    } else {
        "d.sequence"
    };
    if after.is_some() {
        let _ = if by_time {
            write!(
                sql,
                " AND d.recorded_at >= ?5 AND (d.recorded_at > ?5 OR d.sequence > ?6)"
            )
        } else {
            write!(sql, " AND {sequence} > ?6")
        };
    }
    let order = if direction == Direction::NewestFirst {
        "DESC"
    } else {
        "ASC"
    };
    let _ = if by_time {
        write!(sql, " ORDER BY d.recorded_at {order}, d.sequence {order}")
    } else {
        write!(sql, " ORDER BY {sequence} {order}")
    };
    sql.push_str(" LIMIT ?7");
    sql
}

fn read(row: &SqliteRow, filter: &Filter) -> Result<(Option<Row>, Cursor), ReadError> {
    let sequence = row::sequence(strict_integer(row, 0)?)?;
    let kind = entry_kind(strict_integer(row, 1)?)?;
    let recorded_at = strict_integer(row, 2)?;
    let cursor = Cursor {
        recorded_at,
        sequence: crate::schema::signed(sequence),
    };
    let serial: Option<Vec<u8>> = row.try_get(3)?;
    let settlement: Option<i64> = row.try_get(5)?;
    let settlement = settlement.map(entry_kind).transpose()?;
    let body = decode(kind, serial.as_deref(), &strict_blob(row, 4)?)
        .map_err(|source| ReadError::Body { sequence, source })?;
    let Body::Decision(decision) = body else {
        return Ok((None, cursor));
    };
    if filter
        .identity
        .as_ref()
        .is_some_and(|identity| !decision.identities.contains(identity))
    {
        return Ok((None, cursor));
    }
    if filter
        .policy
        .as_ref()
        .is_some_and(|wanted| !decision.policies.iter().any(|policy| is_policy(policy, wanted)))
    {
        return Ok((None, cursor));
    }
    let listed = Row {
        sequence,
        serial: decision.serial.filter(|_| kind == EntryKind::Decision),
        identity: decision.identities.first().cloned(),
        identities: decision.identities,
        outcome: outcome_of(kind, settlement),
        recorded_at: Timestamp::from_micros(recorded_at),
        policies: decision.policies,
        set: decision.set.map(|set| set.number),
    };
    Ok((Some(listed), cursor))
}

fn is_policy(policy: &PolicyRef, wanted: &str) -> bool {
    policy.name == wanted || policy.module.to_string() == wanted || policy.settings.to_string() == wanted
}

fn entry_kind(code: i64) -> Result<EntryKind, MalformedRow> {
    u8::try_from(code)
        .ok()
        .and_then(EntryKind::from_code)
        .ok_or(MalformedRow::Value("kind"))
}
