//! `log prune`: asks, and says what became of it. What may go is judged by the ledger.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    process::ExitCode,
    sync::Arc,
};

use sealwright_gate::server::{HomeError, ledger_path, prune};
use sealwright_identity::{SharedClock, SystemClock};
use sealwright_ledger::{
    Error as LedgerError, LedgerReader, Progress, PruneError, PrunePlan, PruneReport, PrunedExport,
};
use serde_json::{Value, json};

use crate::{
    args::PruneArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    progress::Spinner,
};

/// The longest answer that is read.
const LONGEST: u64 = 64;

pub(super) async fn run(args: &PruneArgs, output: Output) -> Result<ExitCode, Failure> {
    let (home, _socket) = super::home(&args.place)?;
    let before = super::list::time(&args.before)?;
    let clock: SharedClock = Arc::new(SystemClock);
    if args.dry_run {
        let reader = LedgerReader::open(&ledger_path(&home))
            .await
            .map_err(super::failure)?;
        let spinner = Spinner::start("reading the ledger");
        let mut say = |progress| comparing(&spinner, progress);
        let planned = prune::plan(&reader, before, &args.exports, &clock, &mut say).await;
        spinner.done();
        return show(&planned.map_err(|error| failure(error.into()))?, None, output);
    }
    let pruner = prune::Pruner::hold(&home, clock).await.map_err(failure)?;
    let spinner = Spinner::start("reading the ledger");
    let mut say = |progress| comparing(&spinner, progress);
    let planned = pruner.plan(before, &args.exports, &mut say).await;
    spinner.done();
    let plan = planned.map_err(|error| failure(error.into()))?;
    if plan.is_empty() {
        return show(&plan, None, output);
    }
    if !args.yes {
        confirm(&plan)?;
    }
    let spinner = Spinner::start("pruning");
    let mut say = |progress: Progress| {
        spinner.say(format!("removed {} of {}", progress.entries, progress.total));
    };
    let report = pruner.prune(plan.clone(), &mut say).await;
    spinner.done();
    show(&plan, Some(&report.map_err(failure)?), output)
}

fn comparing(spinner: &Spinner, progress: Progress) {
    let Progress { entries, total } = progress;
    spinner.say(format!(
        "comparing the exports with the ledger, entry {entries} of {total}"
    ));
}

/// Asks at the terminal; elsewhere `--yes` is due.
fn confirm(plan: &PrunePlan) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::text(
            Class::Usage,
            "nothing was pruned: nobody can be asked here; look with --dry-run, then give --yes",
        ));
    }
    for row in rows(plan, None) {
        output::notice(&row.join(": "));
    }
    let mut err = io::stderr();
    write!(
        err,
        "They are then in the exports alone. Type yes to delete them: "
    )
    .and_then(|()| err.flush())
    .or_fail(Class::Internal)?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .take(LONGEST)
        .read_line(&mut answer)
        .or_fail(Class::Internal)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::text(
        Class::Usage,
        "nothing was pruned: the answer was not yes",
    ))
}

fn show(plan: &PrunePlan, report: Option<&PruneReport>, output: Output) -> Result<ExitCode, Failure> {
    match output {
        Output::Json => output::json(&page(plan, report))?,
        Output::Table => output::table(&[], rows(plan, report))?,
    }
    if let Some(head) = report.and_then(|report| report.recorded) {
        output::notice(&format!(
            "keep the exports and, elsewhere, the new head: {} {}",
            head.sequence, head.hash
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn page(plan: &PrunePlan, report: Option<&PruneReport>) -> Value {
    let entry = plan.entry();
    json!({
        "first": entry.map(|_| plan.first()),
        "last": entry.map(|entry| entry.last),
        "entries": plan.goes(),
        "certificates": plan.certificates(),
        "left_by_an_earlier_pruning": plan.leftover(),
        "stay": entry.map(|entry| entry.kept.count),
        "exports": entry.map(|entry| &entry.exports),
        "removed": report.map(|report| report.removed),
        "recorded": report.and_then(|report| report.recorded),
    })
}

fn rows(plan: &PrunePlan, report: Option<&PruneReport>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if plan.is_empty() {
        row("entries that go", "none".to_owned());
    }
    if plan.leftover() > 0 {
        row(
            "left by an earlier pruning",
            format!("{} entries", plan.leftover()),
        );
    }
    if let Some(entry) = plan.entry() {
        row(
            "entries that go",
            format!(
                "{} of {} to {}, with {} certificates",
                plan.goes(),
                plan.first(),
                entry.last.sequence,
                plan.certificates()
            ),
        );
        row("entries before it that stay", entry.kept.count.to_string());
        for export in &entry.exports {
            row("export", named(export));
        }
    }
    if let Some(report) = report {
        row("removed", format!("{} entries", report.removed));
        if let Some(head) = report.recorded {
            row("recorded as", format!("{} {}", head.sequence, head.hash));
        }
    }
    rows
}

fn named(export: &PrunedExport) -> String {
    let PrunedExport {
        name,
        file,
        after,
        head,
    } = export;
    format!(
        "{name} ({file}), entries {} to {}",
        after.sequence + 1,
        head.sequence
    )
}

fn failure(error: prune::PruningError) -> Failure {
    use prune::PruningError as Error;
    let class = match &error {
        Error::Read(error) => super::class(error),
        Error::Home(HomeError::Held { .. }) | Error::Ledger(LedgerError::Held { .. }) => Class::State,
        Error::Home(_) | Error::Refused(PruneError::Future { .. } | PruneError::File { .. }) => Class::Usage,
        Error::Refused(_) => Class::Input,
        Error::Ledger(error) if error.may_pass() => Class::Unavailable,
        Error::Ledger(_) => Class::Internal,
    };
    Failure::new(class, error)
}
