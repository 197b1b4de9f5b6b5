//! `sealwright log`: the issuance log, read from its file, whether a signer runs or not.

mod ceremonies;
mod evidence;
mod gate;
mod list;
mod prune;
mod sets;
mod show;
mod verify;
pub(crate) mod who_allowed;

use std::{path::PathBuf, process::ExitCode};

use sealwright_gate::server::ledger_path;
use sealwright_ledger::{LedgerReader, ReadError};

use crate::{
    args::{LogArgs, LogCommand, Where},
    failure::{Class, Failure, OrFail},
    output::Output,
    settings,
};

pub(crate) fn run(args: &LogArgs, output: Output) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    runtime.block_on(async {
        match &args.command {
            LogCommand::List(list) => list::run(list, output).await,
            LogCommand::Show(show) => show::run(show, output).await,
            LogCommand::Verify(verify) => verify::run(verify, output).await,
            LogCommand::Export(export) => verify::export(export).await,
            LogCommand::Prune(prune) => prune::run(prune, output).await,
        }
    })
}

pub(crate) async fn open(place: &Where) -> Result<LedgerReader, Failure> {
    match source(place).await? {
        Source::File(reader) => Ok(*reader),
        Source::Gate(_) => Err(Failure::text(
            Class::Usage,
            "this needs the ledger's file, which this user may not read; run it as the gate's user",
        )),
    }
}

/// Where entries are read from.
enum Source {
    /// The file, whether a signer runs or not.
    File(Box<LedgerReader>),
    /// The gate's named socket: the file is not for this user.
    Gate(PathBuf),
}

/// The gate's home, and its named socket.
fn home(place: &Where) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    match (&place.home, &place.config) {
        (_, Some(config)) => {
            let gate = settings::load(config, &[])?.settings.gate;
            Ok((gate.home, gate.socket))
        }
        (Some(home), None) => {
            // A development home, or a gate's own.
            let inner = home.join("gate");
            let is_own = ledger_path(home).exists() && !ledger_path(&inner).exists();
            Ok((if is_own { home.clone() } else { inner }, None))
        }
        (None, None) => Err(Failure::text(
            Class::Usage,
            "log needs --home DIR or --config FILE",
        )),
    }
}

async fn source(place: &Where) -> Result<Source, Failure> {
    let (home, socket) = home(place)?;
    match (LedgerReader::open(&ledger_path(&home)).await, socket) {
        (Ok(reader), _) => Ok(Source::File(Box::new(reader))),
        (Err(ReadError::Absent(_) | ReadError::Open { .. }), Some(socket)) => Ok(Source::Gate(socket)),
        (Err(error), _) => Err(failure(error)),
    }
}

pub(crate) fn failure(error: ReadError) -> Failure {
    Failure::new(class(&error), error)
}

const fn class(error: &ReadError) -> Class {
    match error {
        ReadError::Absent(_) | ReadError::Open { .. } => Class::Usage,
        ReadError::NotFound(_) | ReadError::Pruned(_) | ReadError::Unfit(_) => Class::Input,
        ReadError::TimedOut(_) => Class::Unavailable,
        _ => Class::Internal,
    }
}
