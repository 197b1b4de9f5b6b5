//! `sealwright ceremony plan` and `roster`.

use std::{path::Path, process::ExitCode};

use sealwright_ceremony::{LintedPlan, Roster, Warning, plan::Difference};
use sealwright_identity::Digest;
use serde::Serialize;

use super::{about, fail, spoken, text};
use crate::{
    args::{PlanCommand, ScriptArgs},
    failure::{Class, Failure, OrFail},
    files,
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
    let args = match command {
        PlanCommand::Lint(args) | PlanCommand::Digest(args) | PlanCommand::Show(args) => args,
        PlanCommand::Diff(args) => return diff(&args.first, &args.second, output),
    };
    let plan = open(&args.file)?;
    match command {
        PlanCommand::Diff(_) => {}
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

/// Where two plans differ; a non-zero exit when they do.
fn diff(first: &Path, second: &Path, output: Output) -> Result<ExitCode, Failure> {
    let differences = open(first)?.plan().differences(open(second)?.plan());
    differences_out(&differences, output)?;
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}

pub(super) fn differences_out(differences: &[Difference], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return differences.iter().try_for_each(output::json);
    }
    let said = |said: &Option<String>| said.clone().unwrap_or_else(|| "-".to_owned());
    let rows = differences.iter().map(|difference| {
        vec![
            difference.place.clone(),
            said(&difference.first),
            said(&difference.second),
        ]
    });
    output::table(&["place", "first", "second"], rows)
}

pub(super) fn script(args: &ScriptArgs) -> Result<ExitCode, Failure> {
    let (plan, roster) = super::read(&args.input)?;
    if let Some(path) = &args.pdf {
        let pdf = sealwright_ceremony::script_pdf(&plan, &roster).map_err(fail)?;
        files::create(path, &pdf, 0o644)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(sealwright_ceremony::script(&plan, &roster).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn estimate(path: &Path, output: Output) -> Result<ExitCode, Failure> {
    let takes = sealwright_ceremony::estimate(&open(path)?);
    if output == Output::Json {
        output::json(&takes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = [
        ("tokens", takes.tokens.to_string()),
        ("keys", takes.keys.to_string()),
        ("signatures by tokens", takes.signatures.to_string()),
        ("parts of PINs typed", takes.pins.to_string()),
        ("questions", takes.questions.to_string()),
        ("digests read aloud", takes.read_aloud.to_string()),
        ("minutes, mostly of people", takes.minutes.to_string()),
    ];
    output::table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))?;
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<LintedPlan, Failure> {
    LintedPlan::read(&text(path)?).or_fail_doing(Class::Input, about(path))
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
