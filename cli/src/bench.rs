//! `sealwright bench`: certificates a second, latencies, refusals, and what each process pays.
//!
//! With a signer of its own it also holds the rate against the token's: another program signs with a
//! throwaway key of the same kind in a scratch token, on as many threads. That program is not part of
//! this one, which signs no bare digest.

mod cpu;
mod load;
mod own;
mod raw;

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use self::{
    cpu::{CpuMeter, Processes},
    load::{Load, Measured},
    own::OwnSigner,
};
use crate::{
    args::BenchArgs,
    failure::{Class, Failure, OrFail},
    issue::call::Credentials,
    output::{self, Output},
    progress::Spinner,
};

#[derive(Debug, Serialize)]
struct Report {
    in_flight: usize,
    connections: usize,
    seconds: f64,
    issued: u64,
    certificates_per_second: f64,
    latency_ms: Latency,
    /// By gRPC code.
    refusals: BTreeMap<&'static str, u64>,
    /// CPU milliseconds for each certificate, by process; of an own signer only.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms_per_certificate: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
    /// Signatures a second of the token alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<raw::Raw>,
    /// Certificates for each signature that the token could have made.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

pub(crate) fn run(args: &BenchArgs, output: Output) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let report = match (&args.server, &args.ca_file, &args.token_file) {
        (Some(server), Some(ca), Some(token)) => {
            let credentials = Credentials::bearer(ca, token)?;
            let load = Load::new(args, server, credentials)?;
            let (measured, ()) = measure(&runtime, load, || Ok(()))?;
            Report::new(args, &measured)
        }
        _ => with_own_signer(args, &runtime)?,
    };
    print(&report, output)?;
    if report.issued == 0 {
        return Err(Failure::text(
            Class::Unavailable,
            "not one certificate was issued",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn with_own_signer(args: &BenchArgs, runtime: &tokio::runtime::Runtime) -> Result<Report, Failure> {
    let spinner = Spinner::start("starting a signer");
    let signer = OwnSigner::start(args)?;
    spinner.done();
    let load = Load::new(args, signer.grpc(), signer.credentials()?)?;
    let processes = Processes::of(signer.id())?;
    let (measured, spent) = measure(runtime, load, || CpuMeter::read(&processes))?;
    let raw = match &args.csign {
        // The signer rests meanwhile: both have the machine to themselves.
        Some(program) => Some(raw::measure(program, args, &signer)?),
        None => None,
    };
    signer.stop()?;
    let mut report = Report::new(args, &measured);
    report.algorithm = Some(args.algorithm.name());
    report.cpu_ms_per_certificate = Some(spent.per(measured.issued()));
    report.ratio = raw
        .as_ref()
        .map(|raw| report.certificates_per_second / raw.signatures_per_second.max(1.0));
    report.raw = raw;
    Ok(report)
}

/// Runs the load, with a meter read before and after the part that counts.
fn measure<M: cpu::Since>(
    runtime: &tokio::runtime::Runtime,
    load: Load,
    meter: impl Fn() -> Result<M, Failure>,
) -> Result<(Measured, M), Failure> {
    let spinner = Spinner::start("measuring");
    let measured = runtime.block_on(async {
        let running = load.start().await?;
        running.warm_up().await;
        let before = meter()?;
        let measured = running.measure().await?;
        Ok::<_, Failure>((measured, meter()?.since(before)))
    });
    spinner.done();
    measured
}

impl Report {
    fn new(args: &BenchArgs, measured: &Measured) -> Self {
        let seconds = measured.elapsed.as_secs_f64();
        Self {
            in_flight: args.in_flight,
            connections: args.connections,
            seconds,
            issued: measured.issued(),
            certificates_per_second: measured.issued() as f64 / seconds,
            latency_ms: Latency {
                p50: measured.percentile(50),
                p90: measured.percentile(90),
                p99: measured.percentile(99),
                max: measured.percentile(100),
            },
            refusals: measured.refusals.clone(),
            cpu_ms_per_certificate: None,
            algorithm: None,
            raw: None,
            ratio: None,
        }
    }
}

fn print(report: &Report, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(report);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let latency = &report.latency_ms;
    let mut rows = vec![
        row(
            "in flight",
            format!("{} over {} connections", report.in_flight, report.connections),
        ),
        row("issued", format!("{} in {:.1} s", report.issued, report.seconds)),
        row("certificates/s", format!("{:.0}", report.certificates_per_second)),
        row(
            "latency (ms)",
            format!(
                "p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}",
                latency.p50, latency.p90, latency.p99, latency.max
            ),
        ),
    ];
    for (code, count) in &report.refusals {
        rows.push(row(code, count.to_string()));
    }
    for (process, spent) in report.cpu_ms_per_certificate.iter().flatten() {
        rows.push(row(
            &format!("CPU of the {process}"),
            format!("{spent:.3} ms a certificate"),
        ));
    }
    if let Some(raw) = &report.raw {
        let text = format!(
            "{:.0} signatures/s on {} threads",
            raw.signatures_per_second, raw.threads
        );
        rows.push(row("the token alone", text));
    }
    if let Some(ratio) = report.ratio {
        rows.push(row("ratio", format!("{ratio:.2}")));
    }
    output::table(&[], rows)
}
