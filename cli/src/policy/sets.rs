//! `sealwright policy`, as far as it is about sets.
//!
//! What a person signs is put together and read here, on that person's machine, from the bytes that are
//! signed. What a signer says about them is shown and not believed.

mod admission;
mod agree;
mod ahead;
mod bounds;
mod explain;
mod propose;
mod push;
mod review;
mod roster;
mod shadow;
mod show;
mod wire;

use std::process::ExitCode;

use crate::{args::SetCommand, failure::Failure, output::Output, signing};

pub(super) fn run(command: &SetCommand, output: Output) -> Result<ExitCode, Failure> {
    match command {
        SetCommand::Keygen(args) => signing::make(args, output),
        SetCommand::Roster(args) => roster::run(args, output),
        SetCommand::Push(args) => wire::block_on(push::run(args, output)),
        SetCommand::Propose(args) => wire::block_on(propose::run(args, output)),
        SetCommand::Review(args) => wire::block_on(review::run(args, output)),
        SetCommand::Approve(args) => wire::block_on(agree::approve(args, output)),
        SetCommand::Activate(args) => wire::block_on(agree::activate(args, output)),
        SetCommand::Rollback(args) => wire::block_on(agree::rollback(args, output)),
        SetCommand::Revoke(args) => wire::block_on(agree::revoke(args, output)),
        SetCommand::Shadow(args) => wire::block_on(shadow::run(args, output)),
        SetCommand::Shadows(args) => wire::block_on(shadow::list(args, output)),
        SetCommand::Status(args) => wire::block_on(show::status(args, output)),
        SetCommand::Explain(args) => wire::block_on(explain::run(args, output)),
        SetCommand::Watch(args) => wire::block_on(show::watch(args, output)),
    }
}
