//! `sealwright ceremony plan` and `roster`.

use std::{path::Path, process::ExitCode};

use sealwright_ceremony::{LintedPlan, Roster, Warning};
use sealwright_identity::Digest;
use serde::Serialize;

use super::{about, spoken, text};
use crate::{
    args::PlanCommand,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Named {
    digest: Digest,
    words: String,
}

#[derive(Serialize)]
struct Linted<'a> {
    digest: Digest,
    rehearsal: bool,
    warnings: &'a [Warning],
}

pub(super) fn run(command: &PlanCommand, output: Output) -> Result<ExitCode, Failure> {
    let (PlanCommand::Lint(args) | PlanCommand::Digest(args) | PlanCommand::Show(args)) = command;
    let plan = LintedPlan::read(&text(&args.file)?).or_fail_doing(Class::Input, about(&args.file))?;
    match command {
        PlanCommand::Lint(_) => lint(&plan, output)?,
        PlanCommand::Digest(_) => name(plan.digest(), output)?,
        PlanCommand::Show(_) => match output {
            Output::Json => output::json(plan.plan())?,
            Output::Table => {
                let text = toml::to_string(&**plan.plan()).or_fail(Class::Internal)?;
                output::line(text.trim_end())?;
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn roster(path: &Path, output: Output) -> Result<ExitCode, Failure> {
    let roster = Roster::read(&text(path)?).or_fail_doing(Class::Input, about(path))?;
    name(roster.digest(), output)?;
    Ok(ExitCode::SUCCESS)
}

fn lint(plan: &LintedPlan, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(&Linted {
            digest: plan.digest(),
            rehearsal: plan.plan().rehearsal,
            warnings: plan.warnings(),
        });
    }
    let kind = if plan.plan().rehearsal {
        "a rehearsal"
    } else {
        "in earnest"
    };
    output::line(&format!("{}: {kind}, {}", plan.plan().title, plan.digest()))?;
    let rows = plan.warnings().iter();
    output::table(
        &["warning", "what to think about"],
        rows.map(|warning| vec![warning.code.to_owned(), warning.detail.clone()]),
    )
}

fn name(digest: Digest, output: Output) -> Result<(), Failure> {
    let words = spoken(&digest);
    match output {
        Output::Json => output::json(&Named { digest, words }),
        Output::Table => {
            output::line(&digest.to_string())?;
            output::line(&words)
        }
    }
}
