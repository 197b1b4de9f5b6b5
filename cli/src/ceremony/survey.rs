//! `sealwright ceremony inventory` and `compare`: what is there, held against what was written down.

use std::{fs, os::unix::fs::DirBuilderExt as _, process::ExitCode};

use sealwright_ceremony::{Explained, Room as _};
use sealwright_hsm::{
    PinSource, TokenSelector,
    ceremony::{ModuleFile, Officer, SeenToken},
};

use super::{fail, plan::differences_out, room::Terminal};
use crate::{
    args::{CompareArgs, InventoryArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) fn compare(args: &CompareArgs, output: Output) -> Result<ExitCode, Failure> {
    let compared = sealwright_ceremony::compare(&args.rehearsal, &args.production).map_err(fail)?;
    if output == Output::Json {
        output::json(&compared)?;
    } else {
        output::line("Differences that the plans declare:")?;
        differences_out(&compared.declared, output)?;
        output::line("Differences that nothing explains:")?;
        differences_out(&compared.unexplained, output)?;
    }
    if compared.unexplained.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::text(
        Class::Differs,
        format!(
            "{} differences are not declared by the plans",
            compared.unexplained.len()
        ),
    ))
}

pub(super) fn inventory(args: &InventoryArgs, output: Output) -> Result<ExitCode, Failure> {
    // What is known comes first: a transcript that does not verify explains nothing.
    let explained = Explained::by(&args.transcript, &args.serial).map_err(fail)?;
    let module = ModuleFile::open(&args.module)
        .and_then(ModuleFile::load)
        .or_fail(Class::Usage)?;
    let token = module
        .find(&TokenSelector::Serial(args.serial.clone()))
        .or_fail(Class::Unavailable)?
        .ok_or_else(|| {
            let problem = format!("no token has the serial number {}", args.serial);
            Failure::text(Class::Unavailable, problem)
        })?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&args.state)
        .or_fail_doing(Class::Usage, format!("cannot make {}", args.state.display()))?;
    let officer = log_in(token, args)?;
    let surveyed = explained.survey(officer.inventory().or_fail(Class::Unavailable)?);
    if output == Output::Json {
        surveyed.iter().try_for_each(output::json)?;
    } else {
        let rows = surveyed.iter().map(|found| {
            let object = found.object.clone();
            vec![
                object.class,
                object.label.unwrap_or_default(),
                object.id.unwrap_or_default(),
                found
                    .ceremony
                    .clone()
                    .unwrap_or_else(|| "NOTHING EXPLAINS IT".to_owned()),
            ]
        });
        output::table(&["class", "label", "id", "ceremony"], rows)?;
    }
    let odd = surveyed.iter().filter(|found| found.ceremony.is_none()).count();
    if odd == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::text(
        Class::Unexplained,
        format!("{odd} objects of the token are explained by no transcript"),
    ))
}

/// By the PIN from its source, or at the pad of a token that has one.
fn log_in(token: SeenToken, args: &InventoryArgs) -> Result<Officer, Failure> {
    if token.facts().protected_path {
        let mut room = Terminal::asking(false);
        let limit = room.patience();
        room.say(&format!(
            "Now at the pad of the token {:?}: type the user PIN. Waiting, for {} at most.",
            token.facts().label,
            limit
        ));
        return token.log_in_at_pad(limit.get()).or_fail(Class::State);
    }
    let source = args
        .pin
        .as_ref()
        .map_or(PinSource::Prompt, |pin| pin.source.clone());
    let pin = source.read(&token.facts().label).or_fail(Class::State)?;
    token.log_in(pin, &args.state).or_fail(Class::State)
}
