//! `sealwright gate`: the process that owns the key and the ledger; and `gate reset-pin`.

use std::{io::Write, os::unix::net::UnixStream, process::ExitCode, sync::Arc};

use sealwright_gate::server::{GateError, ServerConfig, StreamSource, main_loop};
use sealwright_identity::SystemClock;
use sealwright_runtime::{Chain, process, telemetry};

use crate::{
    args::{GateArgs, GateCommand, GateStart},
    check,
    failure::{Class, Failure, OrFail},
    output, settings,
};

pub(crate) fn run(args: &GateArgs) -> Result<ExitCode, Failure> {
    match (&args.command, &args.start) {
        (Some(GateCommand::ResetPin(at)), _) => reset_pin(&settings::load(&at.config, &[])?),
        (None, Some(start)) if start.check => check::in_gate(&settings::load(&start.config, &[])?),
        (None, Some(start)) => serve(start),
        (None, None) => Err(Failure::text(Class::Usage, "gate needs --config FILE")),
    }
}

fn serve(start: &GateStart) -> Result<ExitCode, Failure> {
    process::harden().or_fail(Class::Internal)?;
    let source = match start.supervisor {
        Some(supervisor) => {
            process::die_with_parent(supervisor).or_fail(Class::Internal)?;
            StreamSource::Inherited(UnixStream::from(process::take_stdin().or_fail(Class::Internal)?))
        }
        None => StreamSource::Socket,
    };
    let result = start_gate(start, source);
    if let (Err(failure), Some(_)) = (&result, start.supervisor) {
        // The supervisor passes it on to whoever asks why the signer is not ready.
        let _gone = writeln!(std::io::stdout(), "{failure}");
    }
    result
}

fn start_gate(start: &GateStart, source: StreamSource) -> Result<ExitCode, Failure> {
    let loaded = settings::load(&start.config, &[])?;
    telemetry::init(&loaded.settings.log).or_fail(Class::Usage)?;
    if matches!(source, StreamSource::Socket) && loaded.settings.gate.socket.is_none() {
        return Err(Failure::text(
            Class::Usage,
            "gate.socket: a gate that stands alone needs one; name it, or use `sealwright serve`",
        ));
    }
    let config = ServerConfig {
        file: loaded.settings.gate_file(),
        clock: Arc::new(SystemClock),
    };
    match main_loop(config, source) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "the gate ends");
            Err(Failure::new(class(&error), error))
        }
    }
}

fn class(error: &GateError) -> Class {
    match error.exit_code() {
        2 => Class::Usage,
        7 => Class::State,
        _ => Class::Internal,
    }
}

fn reset_pin(loaded: &settings::Loaded) -> Result<ExitCode, Failure> {
    let home = &loaded.settings.gate.home;
    let was_there = sealwright_hsm::reset_pin_marker(home).or_fail(Class::Internal)?;
    output::notice(if was_there {
        "the marker of a refused PIN is removed; the next start (or SIGHUP to `serve`) logs in again"
    } else {
        "there is no marker of a refused PIN; nothing to do"
    });
    Ok(ExitCode::SUCCESS)
}
