//! `log verify` and `log export`: without an HSM and without a server.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    process::ExitCode,
};

use sealwright_ledger::{Progress, VerifyReport, verify_export};

use crate::{
    args::{ExportArgs, VerifyArgs, Where},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    progress::Spinner,
};

pub(super) async fn run(args: &VerifyArgs, output: Output) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.place.export {
        let input =
            File::open(file).or_fail_doing(Class::Usage, format!("cannot read {}", file.display()))?;
        let report = verify_export(BufReader::new(input)).or_fail(Class::Input)?;
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = Where {
        home: args.place.home.clone(),
        config: args.place.config.clone(),
    };
    let reader = super::open(&place).await?;
    let spinner = Spinner::start("verifying");
    let mut say = |progress: Progress| {
        spinner.say(format!("verifying {} of {}", progress.entries, progress.total));
    };
    let report = reader.verify(&mut say).await.map_err(super::failure)?;
    spinner.done();
    print(&report, output)?;
    if report.is_sound() {
        return Ok(ExitCode::SUCCESS);
    }
    let more = report.findings.len() as u64 + report.more_findings;
    Err(Failure::text(
        Class::Input,
        format!("the ledger is damaged: {more} findings"),
    ))
}

fn print(report: &VerifyReport, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(report);
    }
    let mut rows = vec![
        vec!["entries".to_owned(), report.entries.to_string()],
        vec!["blobs".to_owned(), report.blobs.to_string()],
        vec!["open decisions".to_owned(), report.open_decisions.to_string()],
        vec![
            "head".to_owned(),
            format!("{} {}", report.head.sequence, report.head.hash),
        ],
        vec!["sound".to_owned(), report.is_sound().to_string()],
    ];
    if let Some(pruned) = &report.pruned {
        let of = format!(
            "up to entry {}, by entry {}; {} entries stay, {} serials are known",
            pruned.last.sequence, pruned.entry, pruned.kept, pruned.serials
        );
        rows.push(vec!["pruned".to_owned(), of]);
    }
    if let Some(left) = report
        .pruned
        .map(|pruned| pruned.leftover)
        .filter(|left| *left > 0)
    {
        let of = format!("{left} entries are still to go: run log prune again");
        rows.push(vec!["pruning".to_owned(), of]);
    }
    for finding in &report.findings {
        let place = finding.sequence.map(|sequence| format!("entry {sequence}"));
        rows.push(vec![
            place.unwrap_or_else(|| "ledger".to_owned()),
            finding.problem.to_string(),
        ]);
    }
    output::table(&[], rows)
}

pub(super) async fn export(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let reader = super::open(&args.place).await?;
    let since = args.since.as_deref().map(super::list::time).transpose()?;
    let until = args.until.as_deref().map(super::list::time).transpose()?;
    let spinner = Spinner::start("exporting");
    let mut say = |progress: Progress| {
        spinner.say(format!("exporting {} of {}", progress.entries, progress.total));
    };
    let report = match &args.out {
        None => {
            let mut out = BufWriter::new(std::io::stdout());
            reader
                .export(&mut out, since, until, &mut say)
                .await
                .map_err(super::failure)?
        }
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            let file = File::create_new(path).or_fail_doing(Class::Usage, failed())?;
            let mut out = BufWriter::new(file);
            let report = reader
                .export(&mut out, since, until, &mut say)
                .await
                .map_err(super::failure)?;
            out.flush().or_fail_doing(Class::Internal, failed())?;
            out.get_ref()
                .sync_all()
                .or_fail_doing(Class::Internal, failed())?;
            report
        }
    };
    spinner.done();
    output::notice(&format!(
        "exported {} entries and {} blobs up to entry {}",
        report.entries, report.blobs, report.head.sequence
    ));
    Ok(ExitCode::SUCCESS)
}
