//! `sealwright ceremony`: the command line of the key ceremony. The crate of that name does everything.

mod approve;
mod begin;
mod bundle;
mod note;
mod plan;
mod room;
mod run;
mod sign;
mod survey;
mod verify;

use std::{fs, path::Path, process::ExitCode};

use sealwright_ceremony::{Class as Kind, Error, LintedPlan, Roster};
use sealwright_identity::Digest;
use sealwright_statement::{MAX_ARMOUR_BYTES, Sealed, words::words};

use crate::{
    args::{CeremonyArgs, CeremonyCommand, Input},
    failure::{Class, Failure, OrFail},
    output::Output,
    signing,
};

pub(crate) fn run(args: &CeremonyArgs, output: Output) -> Result<ExitCode, Failure> {
    match &args.command {
        CeremonyCommand::Plan(command) => plan::run(command, output),
        CeremonyCommand::Roster(file) => plan::roster(&file.file, output),
        CeremonyCommand::NewKey(args) => signing::make(args, output),
        CeremonyCommand::NewRoster(args) => begin::roster(args, output),
        CeremonyCommand::NewPlan(args) => begin::plan(args, output),
        CeremonyCommand::Approve(args) => approve::run(args, output),
        CeremonyCommand::Run(args) => run::run(args, output),
        CeremonyCommand::Sign(args) => sign::run(args, output),
        CeremonyCommand::Script(args) => plan::script(args),
        CeremonyCommand::Estimate(file) => plan::estimate(&file.file, output),
        CeremonyCommand::Compare(args) => survey::compare(args, output),
        CeremonyCommand::Inventory(args) => survey::inventory(args, output),
        CeremonyCommand::Note(args) => note::run(args),
        CeremonyCommand::Report(args) => bundle::report(args),
        CeremonyCommand::Bundle(args) => bundle::bundle(args, output),
        CeremonyCommand::Verify(args) => verify::run(args, output),
    }
}

/// The plan and the roster of a command.
fn read(input: &Input) -> Result<(LintedPlan, Sealed<Roster>), Failure> {
    let plan = LintedPlan::read(&text(&input.plan)?).or_fail_doing(Class::Input, about(&input.plan))?;
    let roster = Roster::read(&text(&input.roster)?).or_fail_doing(Class::Input, about(&input.roster))?;
    Ok((plan, roster))
}

/// A text file, of a bounded size.
fn text(path: &Path) -> Result<String, Failure> {
    let doing = || format!("cannot read {}", path.display());
    let length = fs::metadata(path).or_fail_doing(Class::Input, doing())?.len();
    if length > u64::try_from(MAX_ARMOUR_BYTES).unwrap_or(u64::MAX) {
        return Err(Failure::text(
            Class::Input,
            format!("{} is too large", path.display()),
        ));
    }
    fs::read_to_string(path).or_fail_doing(Class::Input, doing())
}

fn about(path: &Path) -> String {
    format!("{} is refused", path.display())
}

/// Skipping questions is for practice.
fn only_in_a_rehearsal(yes: bool, rehearsal: bool) -> Result<(), Failure> {
    if yes && !rehearsal {
        return Err(Failure::text(
            Class::Usage,
            "--yes is for rehearsals only: this is in earnest, so each question is answered by a person",
        ));
    }
    Ok(())
}

/// A digest as it is read aloud.
fn spoken(digest: &Digest) -> String {
    words(digest).collect::<Vec<_>>().join(" ")
}

fn class(error: &Error) -> Class {
    match error.class() {
        Kind::Input => Class::Input,
        Kind::Denied => Class::Denied,
        Kind::State => Class::State,
        Kind::Unavailable => Class::Unavailable,
        Kind::Check => Class::Contradicted,
        Kind::Internal => Class::Internal,
    }
}

fn fail(error: Error) -> Failure {
    Failure::new(class(&error), error)
}
