//! `sealwright gate`: the process that owns the key and the ledger; and `gate reset-pin`.

use std::{
    io::Write,
    os::unix::{net::UnixStream, process::CommandExt},
    process::ExitCode,
    sync::Arc,
};

use sealwright_gate::server::{GateError, Home, ServerConfig, StreamSource, main_loop};
use sealwright_hsm::softhsm::{Restoration, TokenFolder};
use sealwright_identity::SystemClock;
use sealwright_runtime::{Chain, process, telemetry};

use crate::{
    args::{GateArgs, GateCommand, GateStart},
    check,
    failure::{Class, Failure, OrFail},
    files, launch, output, settings,
};

pub(crate) fn run(args: &GateArgs) -> Result<ExitCode, Failure> {
    match (&args.command, &args.start) {
        (Some(GateCommand::ResetPin(at)), _) => reset_pin(&settings::load(&at.config, &[])?),
        (None, Some(start)) if start.check => {
            check::in_gate(&settings::load(&start.config, &[])?, start.held)
        }
        (None, Some(start)) => serve(start),
        (None, None) => Err(Failure::text(Class::Usage, "gate needs --config FILE")),
    }
}

fn serve(start: &GateStart) -> Result<ExitCode, Failure> {
    process::harden().or_fail(Class::Internal)?;
    if start.supervisor.is_none() && !start.prepared {
        return Err(start_over(start));
    }
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

/// Replaces this process by itself with the environment of `[gate.env]` alone, which a supervisor would
/// have given it: modules read theirs from C, and it cannot be changed under threads.
fn start_over(start: &GateStart) -> Failure {
    let prepared = || {
        let loaded = settings::load(&start.config, &[])?;
        let mut command = std::process::Command::new(files::own_program()?);
        command.args(["gate", "--prepared", "--config"]).arg(&loaded.file);
        command
            .env_clear()
            .envs(launch::overrides())
            .envs(&loaded.settings.gate.env);
        command.current_dir(&loaded.base);
        Ok(command)
    };
    match prepared() {
        Ok(mut command) => Failure::new(Class::Internal, command.exec()),
        Err(failure) => failure,
    }
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
    restore_softhsm(&loaded);
    let config = ServerConfig {
        file: loaded.settings.gate_file(),
        clock: Arc::new(SystemClock),
    };
    match main_loop(config, source) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The gate has said it in the log.
        Err(error) => Err(Failure::new(class(&error), error)),
    }
}

/// SoftHSM rewrites a token's file at each login, in place: a kill in the midst destroys it. What is
/// destroyed is put back from the copy that was kept when the token was made.
fn restore_softhsm(loaded: &settings::Loaded) {
    // Another gate's login would look like a destroyed file: only with the home is it ours to judge.
    let Ok(_held) = Home::try_lock(&loaded.settings.gate.home) else {
        return;
    };
    match TokenFolder::from_environment().map(|folder| folder.restore_if_destroyed()) {
        Some(Ok(Restoration::PutBack(files))) => {
            tracing::warn!(
                ?files,
                "SoftHSM's files were destroyed, and were put back from their copy"
            );
        }
        Some(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "SoftHSM's files could not be compared with their copy");
        }
        Some(Ok(_)) | None => {}
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
