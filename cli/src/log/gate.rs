//! Reading the log through a gate that listens on a named socket, for users who may not read its file.

use std::{path::Path, time::Duration};

use sealwright_gate::client::{ClientError, ClientLimits, ConnectionState, GateClient, dial};
use sealwright_ledger::{Filter, Row};
use sealwright_proto::gate::QueryRequest;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::failure::{Class, Failure, OrFail};

/// The most rows of one answer.
const MOST: u32 = 1000;

const WAIT: Duration = Duration::from_secs(10);

/// The newest rows that fit, oldest first; at most a thousand.
pub(super) async fn list(socket: &Path, filter: &Filter) -> Result<Vec<Row>, Failure> {
    let rows = ask(socket, filter, false).await?;
    let rows = rows.iter().map(|row| serde_json::from_str(row));
    rows.collect::<Result<_, _>>()
        .or_fail_doing(Class::Internal, "the gate's answer is none")
}

/// The record of a serial, whole.
pub(super) async fn show(
    socket: &Path,
    serial: &sealwright_identity::SerialNumber,
) -> Result<Value, Failure> {
    let filter = Filter {
        serial: Some(serial.clone()),
        ..Filter::default()
    };
    let rows = ask(socket, &filter, true).await?;
    let record = rows
        .first()
        .ok_or_else(|| Failure::text(Class::Input, format!("the ledger has no entry {serial}")))?;
    serde_json::from_str(record).or_fail_doing(Class::Internal, "the gate's answer is none")
}

async fn ask(socket: &Path, filter: &Filter, full: bool) -> Result<Vec<String>, Failure> {
    let away = || format!("cannot reach the gate at {}", socket.display());
    let client = GateClient::new(dial(socket.to_owned()), ClientLimits::default());
    let mut state = client.state();
    let connected = state.wait_for(|state| *state != ConnectionState::Disconnected);
    timeout(WAIT, connected)
        .await
        .or_fail_doing(Class::Unavailable, away())?
        .or_fail_doing(Class::Unavailable, away())?;
    let request = QueryRequest {
        serial: filter
            .serial
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        identity: filter.identity.clone().unwrap_or_default(),
        since_micros: filter.since.map_or(0, |time| time.micros()),
        until_micros: filter.until.map_or(0, |time| time.micros()),
        limit: filter.limit.unwrap_or(MOST).min(MOST),
        full,
    };
    match client.query(request, Instant::now() + WAIT).await {
        Ok(answer) => Ok(answer.rows),
        Err(error) => {
            let class = match error {
                ClientError::Forbidden { .. } => Class::Denied,
                _ => Class::Unavailable,
            };
            Err(error).or_fail_doing(class, "the gate did not answer")
        }
    }
}
