//! `log list`.

use std::{io::Write, process::ExitCode};

use sealwright_identity::{Clock, HumanDuration, SystemClock, Timestamp};
use sealwright_ledger::{Filter, Row};

use crate::{
    args::ListArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) async fn run(args: &ListArgs, output: Output) -> Result<ExitCode, Failure> {
    let reader = super::open(&args.place).await?;
    let filter = Filter {
        serial: args.serial.clone(),
        identity: args.identity.clone(),
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
        limit: args.limit,
    };
    match (output, args.limit) {
        // However many there are, never all of them in memory.
        (Output::Json, None) => {
            let print = |row: Row| {
                let mut out = std::io::stdout().lock();
                serde_json::to_writer(&mut out, &row)?;
                writeln!(out)
            };
            match reader.list_all(&filter, print).await {
                Err(sealwright_ledger::ReadError::Output(error))
                    if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                listed => listed.map_err(super::failure)?,
            }
        }
        (Output::Json, Some(_)) => {
            for row in reader.list(&filter).await.map_err(super::failure)? {
                output::json(&row)?;
            }
        }
        (Output::Table, _) => {
            let rows = reader.list(&filter).await.map_err(super::failure)?;
            let header = ["recorded", "outcome", "identity", "serial", "policies"];
            output::table(&header, rows.iter().map(cells))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(row: &Row) -> Vec<String> {
    let policies: Vec<_> = row
        .policies
        .iter()
        .map(|policy| format!("{}: {}", policy.name, policy.verdict))
        .collect();
    vec![
        row.recorded_at.to_string(),
        row.outcome.to_string(),
        row.identity.clone().unwrap_or_default(),
        row.serial.as_ref().map(ToString::to_string).unwrap_or_default(),
        policies.join(", "),
    ]
}

/// A time (RFC 3339), or a duration that lies back.
pub(super) fn time(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(ago) = text.parse::<HumanDuration>() {
        return Ok(SystemClock.now().saturating_sub(ago.get()));
    }
    text.parse().or_fail_doing(
        Class::Usage,
        format!("{text:?} is neither a time such as 2026-11-22T10:00:00Z nor a duration such as 24h"),
    )
}
