//! `log list`.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write},
    process::ExitCode,
};

use sealwright_identity::{Clock, HumanDuration, SystemClock, Timestamp};
use sealwright_ledger::{Filter, LedgerReader, ReadError, Row};

use super::{Source, gate, sets::Wanted};
use crate::{
    args::ListArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) async fn run(args: &ListArgs, output: Output) -> Result<ExitCode, Failure> {
    let filter = Filter {
        serial: args.serial.clone(),
        identity: args.identity.clone(),
        policy: args.policy.clone(),
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
        limit: args.limit,
    };
    let by_set = args.set.is_some() || args.approver.is_some();
    let reader = match super::source(&args.place).await? {
        Source::File(reader) => reader,
        Source::Gate(_) if filter.policy.is_some() || by_set => {
            return Err(Failure::text(
                Class::Usage,
                "--policy, --set and --approver need the ledger's file, which this user may not read; \
                 run it as the gate's user",
            ));
        }
        Source::Gate(socket) => {
            show(&gate::list(&socket, &filter).await?, output)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let wanted = Wanted::of(args, &reader).await?;
    // A revision is no word that records know.
    let filter = Filter {
        policy: filter.policy.filter(|_| wanted.revision.is_none()),
        ..filter
    };
    match (output, args.limit) {
        (Output::Json, None) => {
            let each = |row: Row| match wanted.is(&row) {
                true => print(&row),
                false => Ok(()),
            };
            match reader.list_all(&filter, each).await {
                // Who reads has enough.
                Err(ReadError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
                listed => listed.map_err(super::failure)?,
            }
        }
        (_, limit) => {
            let rows = newest(&reader, &filter, &wanted, limit.unwrap_or(ONE_ANSWER)).await?;
            show(&rows, output)?;
        }
    }
    if let Some(serial) = &args.serial
        && let Some(pruned) = reader.pruned_serial(serial).await.map_err(super::failure)?
    {
        output::notice(&pruned.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn show(rows: &[Row], output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => rows.iter().try_for_each(output::json),
        Output::Table => output::table(
            &["recorded", "outcome", "identity", "serial", "set", "policies"],
            rows.iter().map(cells),
        ),
    }
}

/// Rows that the reader gives in one answer.
const ONE_ANSWER: u32 = 10_000;

/// The newest rows, oldest first, also more than one answer holds.
async fn newest(
    reader: &LedgerReader,
    filter: &Filter,
    wanted: &Wanted,
    limit: u32,
) -> Result<Vec<Row>, Failure> {
    if limit <= ONE_ANSWER && filter.policy.is_none() && wanted.is_everything() {
        let filter = Filter {
            limit: Some(limit),
            ..filter.clone()
        };
        return reader.list(&filter).await.map_err(super::failure);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rows = VecDeque::new();
    let keep = |row| {
        if !wanted.is(&row) {
            return Ok(());
        }
        if rows.len() == most {
            rows.pop_front();
        }
        rows.push_back(row);
        Ok(())
    };
    reader.list_all(filter, keep).await.map_err(super::failure)?;
    Ok(rows.into())
}

/// However many there are, never all of them in memory.
fn print(row: &Row) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, row)?;
    writeln!(out)
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
        row.set.map(|number| number.to_string()).unwrap_or_default(),
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
