//! `policy admit`: a module judged in a process of its own.
//!
//! This process reads the files and starts another of the same program, which is given them on its standard
//! input, can reach nothing and nobody ([`inside`]), and answers with a report. So does whoever else needs
//! one: [`in_own_process`]. A server's front, which may start no program, asks its supervisor for such a
//! process.

mod inside;

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use sealwright_policy_wasm::admission::{Job, Report};

use super::{module, vectors};
use crate::{
    args::AdmitArgs,
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
};

/// How long a judgement may take. Its processor time has a limit of its own.
const DEADLINE: Duration = Duration::from_secs(300);
/// The largest report.
const MAX_REPORT: u64 = 4 << 20;

pub(super) fn run(args: &AdmitArgs, output: Output) -> Result<ExitCode, Failure> {
    if args.confined {
        return inside::run(args.supervisor);
    }
    let Some(path) = &args.module else {
        return Err(Failure::text(Class::Usage, "admit needs a MODULE"));
    };
    let vectors = args.vectors.as_deref().map(vectors::read).transpose()?;
    let settings = vectors::settings(args.settings.as_deref())?;
    let limits = args.limits.limits();
    let job = Job::new(&module::read(path)?, settings, limits).with_vectors(&vectors.unwrap_or_default());
    let report = in_own_process(&job)?;
    show(&report, output)?;
    if report.admitted {
        return Ok(ExitCode::SUCCESS);
    }
    let more = report.refusals.len() as u64 + report.refusals_untold;
    Err(Failure::text(
        Class::Denied,
        format!("not admitted: {more} findings speak against it"),
    ))
}

/// The report on a module, from a process that has nothing but the job.
///
/// # Errors
/// When there is none: the process failed, was ended by its limits, or took too long.
pub(super) fn in_own_process(job: &Job) -> Result<Report, Failure> {
    let text = serde_json::to_vec(job).or_fail(Class::Internal)?;
    let mut child = Command::new(files::own_program()?)
        .args(["policy", "admit", "--confined"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .or_fail_doing(Class::Internal, "cannot start the process that judges modules")?;
    let answer = converse(&mut child, text);
    // Whatever happened, it does not outlive this.
    if answer.is_none() {
        let _gone = child.kill();
    }
    let status = child.wait().or_fail(Class::Internal)?;
    let Some(answer) = answer else {
        let text = format!("no judgement within {} s", DEADLINE.as_secs());
        return Err(Failure::text(Class::Unavailable, text));
    };
    if !status.success() {
        return Err(ended(status));
    }
    Report::from_canonical(answer.strip_suffix(b"\n").unwrap_or(&answer)).or_fail(Class::Internal)
}

/// Hands the job over and takes the answer; `None` when that takes too long.
fn converse(child: &mut Child, text: Vec<u8>) -> Option<Vec<u8>> {
    let (mut input, output) = (child.stdin.take()?, child.stdout.take()?);
    let (say, said) = sync_channel(1);
    thread::spawn(move || {
        // One that ends early says why by its status.
        let _closed = input.write_all(&text);
        drop(input);
        let mut answer = Vec::new();
        let _cut_off = output.take(MAX_REPORT).read_to_end(&mut answer);
        // Nobody waits any more: nothing to tell.
        let _late = say.send(answer);
    });
    said.recv_timeout(DEADLINE).ok()
}

fn ended(status: ExitStatus) -> Failure {
    let text = match status.signal() {
        Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() => {
            "the module took more processor time than admission allows".to_owned()
        }
        Some(signal) => format!("the process that judges modules was ended by signal {signal}"),
        None => "the process that judges modules gave no report; see above".to_owned(),
    };
    Failure::text(Class::Input, text)
}

fn show(report: &Report, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        // The very bytes that the digest is of.
        output::line(&report.canonical())?;
    } else {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("admitted", report.admitted.to_string()),
            row("module", report.module.to_string()),
            row("engine profile", report.engine_profile.to_string()),
        ];
        if let Some(described) = &report.described {
            rows.push(row(
                "describes itself as",
                format!("{} {}", described.name, described.version),
            ));
        }
        let passed = report.vectors.iter().filter(|vector| vector.passed).count();
        rows.push(row(
            "vectors",
            format!("{passed} of {} passed", report.vectors.len()),
        ));
        if let Some(corpus) = &report.corpus {
            rows.push(row(
                "hostile requests",
                format!(
                    "{} (corpus {}), {} allowed, at most {} fuel on {}",
                    corpus.requests, corpus.version, corpus.allowed, corpus.most_fuel, corpus.most_fuel_on
                ),
            ));
        }
        rows.push(row("asked for again", report.repeated.to_string()));
        for (word, findings) in [("refused", &report.refusals), ("warning", &report.warnings)] {
            for finding in findings {
                let text = format!("{} {}: {}", finding.check, finding.subject, finding.message);
                rows.push(row(word, text));
            }
        }
        output::table(&[], rows)?;
    }
    output::notice(&format!("report {}", report.digest()));
    Ok(())
}
