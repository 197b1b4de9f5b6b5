//! `sealwright dev`: one command to a running signer.

mod home;
mod jwt;
mod policy;
pub(crate) mod provision;
mod template;
mod token;

use std::process::ExitCode;

use crate::{
    args::{DevArgs, DevCommand, DevStart},
    failure::{Class, Failure},
};

pub(crate) fn run(args: DevArgs) -> Result<ExitCode, Failure> {
    match (args.command, args.start) {
        (Some(DevCommand::Token(token)), _) => token::run(&token),
        (None, Some(start)) => serve(&start),
        (None, None) => Err(Failure::text(Class::Usage, "dev needs --home DIR")),
    }
}

fn serve(start: &DevStart) -> Result<ExitCode, Failure> {
    let home = home::open_or_make(start)?;
    let _ = home;
    Ok(ExitCode::SUCCESS)
}
