//! `policy test`: vectors in the production host.

mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sealwright_policy_wasm::{LogLine, Vector, VectorOutcome, VectorRunner};
use serde::Serialize;

use super::{build, module, vectors};
use crate::{
    args::TestArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) fn run(args: &TestArgs, output: Output) -> Result<ExitCode, Failure> {
    if args.watch {
        return watch::run(args, output);
    }
    once(args, output)?;
    Ok(ExitCode::SUCCESS)
}

/// What is tested, and where its vectors and settings are.
struct Places {
    /// A crate that is built first.
    folder: Option<PathBuf>,
    module: PathBuf,
    vectors: PathBuf,
    settings: Option<PathBuf>,
}

impl Places {
    /// A crate has its vectors and settings in it; a module alone has none.
    fn of(args: &TestArgs) -> Result<Self, Failure> {
        let folder = args.target.is_dir().then(|| args.target.clone());
        let vectors = match (&args.vectors, &folder) {
            (Some(named), _) => named.clone(),
            (None, Some(folder)) => folder.join("vectors"),
            (None, None) => {
                let text = "a module alone has no vectors; name their folder with --vectors DIR";
                return Err(Failure::text(Class::Usage, text));
            }
        };
        let beside = |name: &str| Some(folder.as_ref()?.join(name)).filter(|path| path.exists());
        let settings = args.settings.clone();
        Ok(Self {
            settings: settings
                .or_else(|| beside("settings.toml"))
                .or_else(|| beside("settings.json")),
            module: args.target.clone(),
            vectors,
            folder,
        })
    }
}

#[derive(Serialize)]
struct Line<'a> {
    vector: &'a str,
    passed: bool,
    expected: String,
    got: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<&'a str>,
    fuel: u64,
    microseconds: u128,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    log: &'a [LogLine],
}

/// Builds what is to be built, and runs every vector.
fn once(args: &TestArgs, output: Output) -> Result<(), Failure> {
    let places = Places::of(args)?;
    let module_file = match &places.folder {
        Some(folder) => build::build(folder, args.build_dir.as_deref())?.module_file,
        None => places.module.clone(),
    };
    let vectors = vectors::read(&places.vectors)?;
    if vectors.is_empty() {
        return Err(Failure::text(
            Class::Input,
            format!(
                "{} has no vectors, so nothing was tested",
                places.vectors.display()
            ),
        ));
    }
    let settings = vectors::settings(places.settings.as_deref())?;
    let engine = module::engine()?;
    let component = module::read(&module_file)?;
    let mut runner = VectorRunner::new(&engine, component, settings, args.limits.limits())
        .or_fail_doing(Class::Input, module_file.display())?;
    let mut outcomes = Vec::with_capacity(vectors.len());
    for vector in &vectors {
        let outcome = runner.run(vector);
        outcomes.push(outcome.or_fail_doing(Class::Input, format!("the vector {}", vector.name))?);
    }
    show(&vectors, &outcomes, output)?;
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.mismatch.is_some())
        .count();
    if failed == 0 {
        output::notice(&format!("{} vectors, all as expected", vectors.len()));
        return Ok(());
    }
    Err(Failure::text(
        Class::Input,
        format!(
            "{failed} of {} vectors came out otherwise than expected",
            vectors.len()
        ),
    ))
}

fn show(vectors: &[Vector], outcomes: &[VectorOutcome], output: Output) -> Result<(), Failure> {
    let mut lines = vectors.iter().zip(outcomes).map(|(vector, outcome)| Line {
        vector: &vector.name,
        passed: outcome.mismatch.is_none(),
        expected: vector.expect.to_string(),
        got: outcome.got.as_ref().map(ToString::to_string),
        mismatch: outcome.mismatch.as_deref(),
        fuel: outcome.evaluation.fuel,
        microseconds: outcome.took.as_micros(),
        log: &outcome.evaluation.log,
    });
    match output {
        Output::Json => lines.try_for_each(|line| output::json(&line)),
        Output::Table => output::table(&["vector", "", "verdict", "fuel", "time"], lines.map(cells)),
    }
}

fn cells(line: Line<'_>) -> Vec<String> {
    let mut verdict = line.mismatch.map_or(line.expected, str::to_owned);
    // What it logged helps where something is wrong.
    if !line.passed {
        for LogLine { message, .. } in line.log {
            verdict.push_str("\nlog: ");
            verdict.push_str(message);
        }
    }
    vec![
        line.vector.to_owned(),
        if line.passed { "ok" } else { "FAILED" }.to_owned(),
        verdict,
        line.fuel.to_string(),
        format!("{} µs", line.microseconds),
    ]
}

/// Everything that a run depends on.
fn watched(args: &TestArgs) -> Vec<&Path> {
    let named = [args.vectors.as_deref(), args.settings.as_deref()];
    std::iter::once(args.target.as_path())
        .chain(named.into_iter().flatten())
        .collect()
}
