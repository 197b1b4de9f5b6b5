//! Reads of the ledger for the front and for `log`: a closed set, bounded in rows, bytes
//! and time, on connections of their own.

use sealwright_identity::Timestamp;
use sealwright_ledger::{Filter, LedgerReader, ReadError, Selector};
use sealwright_proto::gate::{QueryRequest, QueryResponse};
use sealwright_runtime::Chain;
use tokio::time::{Instant, timeout_at};

use super::refused::Refused;

/// Rows of an answer whose request names no limit.
const DEFAULT_LIMIT: u32 = 100;

/// The most rows of one answer.
const MAX_LIMIT: u32 = 1000;

/// The most bytes of one answer, with room for the rest of its frame.
const MAX_BYTES: usize = 768 * 1024;

/// The rows that `request` asks for, oldest first.
pub(super) async fn answer(
    reader: &LedgerReader,
    request: QueryRequest,
    deadline: Instant,
) -> Result<QueryResponse, Refused> {
    let full = request.full;
    let filter = filter(request)?;
    timeout_at(deadline, rows(reader, &filter, full))
        .await
        .unwrap_or(Err(Refused::Deadline))
}

async fn rows(reader: &LedgerReader, filter: &Filter, full: bool) -> Result<QueryResponse, Refused> {
    let listed = reader.list(filter).await.map_err(|error| refused(&error))?;
    let mut bytes = 0;
    let mut rows = Vec::with_capacity(listed.len());
    for row in listed {
        let text = if full {
            let selector = Selector::Sequence(row.sequence);
            let whole = reader.show(&selector).await.map_err(|error| refused(&error))?;
            whole.to_string()
        } else {
            serde_json::to_string(&row).map_err(|error| Refused::Internal(error.to_string()))?
        };
        bytes += text.len();
        if bytes > MAX_BYTES {
            return Err(Refused::Invalid(
                "the answer would be too large; ask for fewer rows with a limit".into(),
            ));
        }
        rows.push(text);
    }
    Ok(QueryResponse { rows })
}

fn filter(request: QueryRequest) -> Result<Filter, Refused> {
    let serial = match request.serial.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_error| Refused::Invalid("the serial is not hexadecimal".into()))?,
        ),
    };
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(MAX_LIMIT),
    };
    Ok(Filter {
        serial,
        identity: (!request.identity.is_empty()).then_some(request.identity),
        since: (request.since_micros != 0).then(|| Timestamp::from_micros(request.since_micros)),
        until: (request.until_micros != 0).then(|| Timestamp::from_micros(request.until_micros)),
        limit: Some(limit),
        ..Filter::default()
    })
}

fn refused(error: &ReadError) -> Refused {
    match error {
        ReadError::TimedOut(_) => Refused::Deadline,
        _ => Refused::Unavailable(Chain(error).to_string()),
    }
}
