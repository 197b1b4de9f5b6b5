//! `policy replay`: every decision of an export, executed again.

use std::{process::ExitCode, time::Instant};

use sealwright_audit::{Anchors, Incomparable, ReplayError, ReplayOptions, ReplayProgress, Summary, replay};
use serde::Serialize;

use crate::{
    args::ReplayArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    progress::Spinner,
};

/// Findings that a table shows.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct Replayed<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    sound: bool,
    complete: bool,
    threads: usize,
    seconds: f64,
    cpu_seconds: f64,
    decisions_per_second: f64,
    decisions_per_cpu_second: f64,
}

pub(super) fn run(args: &ReplayArgs, output: Output) -> Result<ExitCode, Failure> {
    let anchor = || args.trust_anchor.display();
    let pem =
        std::fs::read(&args.trust_anchor).or_fail_doing(Class::Usage, format!("cannot read {}", anchor()))?;
    let anchors = Anchors::from_pem(&pem).or_fail_doing(Class::Usage, anchor())?;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let spinner = Spinner::start("replaying");
    let mut say = |progress: ReplayProgress| {
        let percent = progress.bytes * 100 / progress.total.max(1);
        spinner.say(format!("replaying: {} entries, {percent} %", progress.entries));
    };
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let options = ReplayOptions {
        threads,
        roster: args.roster,
        ceremony: args.ceremony,
    };
    let summary = replay(&args.bundle, anchors, &options, &mut say).map_err(|error| {
        let class = match &error {
            ReplayError::File(_) => Class::Usage,
            ReplayError::Export(_) => Class::Input,
            _ => Class::Internal,
        };
        Failure::new(class, error)
    })?;
    spinner.done();
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let rate = |time: f64| summary.counts.decisions as f64 / time.max(1e-9);
    let replayed = Replayed {
        sound: summary.is_sound(),
        complete: summary.is_complete(),
        threads,
        seconds,
        cpu_seconds: cpu,
        decisions_per_second: rate(seconds).round(),
        decisions_per_cpu_second: rate(cpu).round(),
        summary: &summary,
    };
    match output {
        Output::Json => output::json(&replayed)?,
        Output::Table => table(&replayed)?,
    }
    let findings = summary.findings.len() as u64 + summary.more_findings;
    if !replayed.sound {
        let text = format!("{findings} findings: the records are contradicted");
        return Err(Failure::text(Class::Contradicted, text));
    }
    if !replayed.complete {
        let text = "nothing is contradicted, but not everything could be compared";
        return Err(Failure::text(Class::Incomplete, text));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(replayed: &Replayed<'_>) -> Result<(), Failure> {
    let (summary, counts) = (replayed.summary, &replayed.summary.counts);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row(
            "chain",
            format!(
                "sound, up to entry {} {}",
                summary.export.head.sequence, summary.export.head.hash
            ),
        ),
        row(
            "begins after",
            format!(
                "entry {} {}",
                summary.export.after.sequence, summary.export.after.hash
            ),
        ),
        row("decisions", counts.decisions.to_string()),
        row("  reproduced", counts.reproduced.to_string()),
    ];
    for (name, count) in [
        ("  reproduced, fuel not comparable", counts.reproduced_elsewhere),
        ("  contradicted", counts.differing),
        ("  aborted when made", counts.aborted),
        ("  not comparable here", counts.uncompared),
        ("  turned down before any policy", counts.unasked),
        ("  refused by the gate", counts.refused),
        ("  of the signer's own server", counts.serving),
    ] {
        if count > 0 {
            rows.push(row(name, count.to_string()));
        }
    }
    rows.push(row("certificates verified", counts.certificates.to_string()));
    keys(summary, &mut rows);
    sets(summary, &mut rows);
    for (what, Incomparable { count, first }) in &summary.not_comparable {
        let first: Vec<_> = first.iter().map(ToString::to_string).collect();
        rows.push(row(
            &format!("not comparable: {}", what.as_str()),
            format!(
                "{count} (entries {}{})",
                first.join(", "),
                if *count > first.len() as u64 { ", …" } else { "" }
            ),
        ));
    }
    let rate = format!(
        "{:.1} s, {:.0} decisions a second, {:.0} a second of one processor",
        replayed.seconds, replayed.decisions_per_second, replayed.decisions_per_cpu_second
    );
    rows.push(row("took", rate));
    for finding in summary.findings.iter().take(SHOWN) {
        rows.push(row(
            &format!("entry {}", finding.sequence),
            finding.problem.to_string(),
        ));
    }
    let more = (summary.findings.len().saturating_sub(SHOWN)) as u64 + summary.more_findings;
    if more > 0 {
        rows.push(row("and", format!("{more} more findings (--output json)")));
    }
    output::table(&[], rows)
}

fn keys(summary: &Summary, rows: &mut Vec<Vec<String>>) {
    for made in &summary.keys.ceremonies {
        let kind = if made.rehearsal {
            "a rehearsal"
        } else {
            "in earnest"
        };
        let text = format!(
            "transcript {}\nroster {}\nby entry {}, {kind}, signed by {}",
            made.transcript,
            made.roster,
            made.sequence,
            made.signed_by.join(", ")
        );
        rows.push(vec![format!("ceremony of issuer {}", made.issuer), text]);
    }
    for (name, count) in [
        (
            "certificates of issuers with ceremony: none",
            summary.keys.without_ceremony,
        ),
        ("certificates of keys of a rehearsal", summary.keys.rehearsed),
        (
            "certificates of before ceremonies were recorded",
            summary.keys.before_ceremonies,
        ),
    ] {
        if count > 0 {
            rows.push(vec![name.to_owned(), count.to_string()]);
        }
    }
}

fn sets(summary: &Summary, rows: &mut Vec<Vec<String>>) {
    let sets = &summary.sets;
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Some(roster) = &sets.first_roster {
        let by = sets
            .by_ceremony
            .map(|entry| format!(", by the ceremony of entry {entry}"));
        row("first roster", format!("{roster}{}", by.unwrap_or_default()));
    }
    let beyond = sets.activated.len().saturating_sub(SHOWN);
    if beyond > 0 {
        row("policy sets before", beyond.to_string());
    }
    for set in sets.activated.iter().skip(beyond) {
        let text = format!(
            "{}, from entry {}, approvals: {}",
            set.digest, set.sequence, set.approvals
        );
        row(&format!("policy set {}", set.number), text);
        for stop in &set.stopped {
            let (decisions, denied, aborted) =
                (stop.counts.decisions, stop.counts.denied, stop.counts.aborted);
            let text = format!(
                "{}, by entry {}: {decisions} decisions, {denied} denied, {aborted} aborted",
                stop.revision, stop.sequence
            );
            row("  a canary was stopped", text);
        }
    }
    for (name, count) in [
        ("certificates of a rehearsal, approvals: none", sets.rehearsed),
        ("certificates of before there were policy sets", sets.without_set),
    ] {
        if count > 0 {
            row(name, count.to_string());
        }
    }
}

/// Processor time of this process, all threads together.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
