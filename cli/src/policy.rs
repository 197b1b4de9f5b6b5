//! `sealwright policy`: policies from the first line to the set that decides.

mod describe;
mod module;

use std::process::ExitCode;

use crate::{
    args::{PolicyArgs, PolicyCommand},
    failure::Failure,
    output::Output,
};

pub(crate) fn run(args: &PolicyArgs, output: Output) -> Result<ExitCode, Failure> {
    match &args.command {
        PolicyCommand::Describe(describe) => describe::run(describe, output),
    }
}
