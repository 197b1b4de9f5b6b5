//! The `sealwright` command: thin. Each subcommand calls the crate that owns the matter.
//!
//! Data goes to standard output, everything else to standard error; the exit code says what kind
//! of failure it was ([`failure::Class`]).

mod args;
mod bench;
mod ceremony;
mod check;
mod dev;
mod environment;
mod failure;
mod files;
mod front;
mod gate;
mod issue;
mod launch;
mod log;
mod memory;
mod output;
mod policy;
mod progress;
mod serve;
mod settings;
mod signing;
mod text;

use std::process::ExitCode;

use clap::Parser;
use sealwright_runtime::telemetry;

use crate::{
    args::{Cli, Command},
    failure::Failure,
};

/// A request is many small pieces of memory that threads hand to each other: the C library's
/// allocator was a seventh of what a certificate cost. A PKCS#11 module goes on using its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    telemetry::report_panics();
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Dev(dev) => dev::run(dev),
        Command::DevProvision(provision) => dev::provision::run(&provision),
        Command::Serve(serve) => serve::run(serve),
        Command::Front(front) => front::run(&front),
        Command::Gate(gate) => gate::run(&gate),
        Command::Check(at) => check::run(&at, cli.output.unwrap_or_default()),
        Command::WhoAllowed(who) => log::who_allowed::run(&who, cli.output.unwrap_or_default()),
        Command::Log(log) => log::run(&log, cli.output.unwrap_or_default()),
        Command::Policy(policy) => policy::run(&policy, cli.output.unwrap_or_default()),
        Command::Ceremony(ceremony) => ceremony::run(&ceremony, cli.output.unwrap_or_default()),
        Command::Bench(bench) => bench::run(&bench, cli.output.unwrap_or_default()),
        Command::Issue(issue) => issue::run(&issue, cli.output.unwrap_or_default()),
    }
}
