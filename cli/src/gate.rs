//! `sealwright gate`: the process that owns the key and the ledger; and `gate reset-pin`.

mod confine;
mod variables;

use std::{
    io::Write,
    os::unix::{fs::DirBuilderExt, net::UnixStream, process::CommandExt},
    process::ExitCode,
    sync::Arc,
};

use sealwright_gate::server::{GateError, Home, ServerConfig, StreamSource, main_loop};
use sealwright_hsm::softhsm::{Restoration, TokenFolder};
use sealwright_identity::SystemClock;
use sealwright_runtime::{Chain, process, telemetry};

use crate::{
    args::{GateArgs, GateCommand, GateStart},
    check, environment,
    failure::{Class, Failure, OrFail},
    files,
    gate::variables::Variables,
    output, settings,
};

pub(crate) fn run(args: &GateArgs) -> Result<ExitCode, Failure> {
    match (&args.command, &args.start) {
        (Some(GateCommand::ResetPin(at)), _) => reset_pin(&settings::load(&at.config, &[])?),
        (None, Some(start)) if start.check => check_here(start),
        (None, Some(start)) => serve(start),
        (None, None) => Err(Failure::text(Class::Usage, "gate needs --config FILE")),
    }
}

fn serve(start: &GateStart) -> Result<ExitCode, Failure> {
    process::harden().or_fail(Class::Internal)?;
    if let Some(supervisor) = start.supervisor {
        process::die_with_parent(supervisor).or_fail(Class::Internal)?;
    }
    if !start.prepared {
        return told(start, start_over(start));
    }
    let source = match start.supervisor {
        Some(_) => StreamSource::Inherited(UnixStream::from(process::take_stdin().or_fail(Class::Internal)?)),
        None => StreamSource::Socket,
    };
    told(start, start_gate(start, source))
}

/// The supervisor passes a failure on to whoever asks why the signer is not ready.
fn told(start: &GateStart, result: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    if let (Err(failure), Some(_)) = (&result, start.supervisor) {
        let _gone = writeln!(std::io::stdout(), "{failure}");
    }
    result
}

/// Replaces this process by itself with the environment of `[gate.env]` and `gate.env_file` alone:
/// modules read theirs from C, and it cannot be changed under threads.
fn start_over(start: &GateStart) -> Result<ExitCode, Failure> {
    let loaded = settings::load(&start.config, &[])?;
    let gate = &loaded.settings.gate;
    let mut command = std::process::Command::new(files::own_program()?);
    command.args(["gate", "--prepared", "--config"]).arg(&loaded.file);
    if let Some(supervisor) = start.supervisor {
        command.arg("--supervisor").arg(supervisor.to_string());
    }
    if start.check {
        command.arg("--check");
    }
    if start.held {
        command.arg("--held");
    }
    command.env_clear().envs(environment::overrides()).envs(&gate.env);
    if let Some(file) = &gate.env_file {
        let variables = Variables::read(file)?;
        if let Some((name, _)) = variables.iter().find(|(name, _)| gate.env.contains_key(*name)) {
            return Err(Failure::text(
                Class::Usage,
                format!("gate.env_file: {name} is in [gate.env] too; write it in one of them"),
            ));
        }
        command.envs(variables.iter());
    }
    command.current_dir(&loaded.base);
    // It returns only when it failed.
    Err(Failure::new(Class::Internal, command.exec()))
}

/// What `sealwright check` asks of the token, as the gate will find it.
fn check_here(start: &GateStart) -> Result<ExitCode, Failure> {
    process::harden().or_fail(Class::Internal)?;
    if !start.prepared {
        return start_over(start);
    }
    let loaded = settings::load(&start.config, &[])?;
    // The marker of a refused PIN must find its folder, also behind Landlock.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&loaded.settings.gate.home)
        .or_fail_doing(Class::Usage, "gate.home")?;
    let confinement = confine::confine(&loaded)?;
    check::in_gate(&loaded, start.held, &confinement)
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
    let confinement = confine::confine(&loaded)?;
    if confinement.is_partial() {
        tracing::warn!(%confinement, "the gate is confined in part");
    } else {
        tracing::info!(%confinement, "the gate is confined");
    }
    let config = ServerConfig {
        file: loaded.settings.gate_file(),
        clock: Arc::new(SystemClock),
        confinement: confinement.clone(),
    };
    match main_loop(config, source) {
        Ok(()) => process::end_well(),
        // The gate has said it in the log.
        Err(error @ (GateError::Keys(_) | GateError::KeysHung)) if confinement.is_some() => {
            let class = class(&error);
            // A module that misses something of this fails in any way.
            let doing = format!("with gate.confinement ({confinement})");
            Err(error).or_fail_doing(class, doing)
        }
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
