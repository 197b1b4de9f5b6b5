//! `sealwright policy`: policies from the first line to the set that decides.

mod admit;
mod build;
mod describe;
mod module;
mod new;
mod replay;
mod sets;
mod test;
mod vector;
mod vectors;

use std::process::ExitCode;

use crate::{
    args::{PolicyArgs, PolicyCommand},
    failure::Failure,
    output::Output,
};

pub(crate) fn run(args: &PolicyArgs, output: Output) -> Result<ExitCode, Failure> {
    match &args.command {
        PolicyCommand::New(new) => new::run(new),
        PolicyCommand::Build(build) => build::run(build, output),
        PolicyCommand::Test(test) => test::run(test, output),
        PolicyCommand::VerifySource(verify) => build::verify(verify, output),
        PolicyCommand::Admit(admit) => admit::run(admit, output),
        PolicyCommand::Describe(describe) => describe::run(describe, output),
        PolicyCommand::Replay(replay) => replay::run(replay, output),
        PolicyCommand::Vector(vector) => vector::run(vector),
        PolicyCommand::Sets(command) => sets::run(command, output),
    }
}
