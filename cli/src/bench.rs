//! `sealwright bench`: certificates a second, latencies, refusals, and what each process pays.
//!
//! With a signer of its own it also holds the rate against the token's: another program signs with a
//! throwaway key of the same kind in a scratch token, on as many threads. That program is not part of
//! this one, which signs no bare digest.

mod burst;
mod caller;
mod cpu;
mod latency;
mod load;
mod machine;
mod metrics;
mod own;
mod raw;
mod report;

use std::process::ExitCode;

use self::{
    cpu::{CpuMeter, Processes},
    load::{Load, Measured, Pace, Target},
    machine::Machine,
    metrics::DecisionTimes,
    own::OwnSigner,
    report::{HalfLoad, Report},
};
use crate::{
    args::BenchArgs,
    failure::{Class, Failure, OrFail},
    issue::call::Credentials,
    output::Output,
    progress::Spinner,
};

pub(crate) fn run(args: &BenchArgs, output: Output) -> Result<ExitCode, Failure> {
    let files = raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let before = Machine::now();
    let mut report = match (&args.server, &args.ca_file, &args.token_file) {
        (Some(server), Some(ca), Some(token)) => {
            let target = Target::one(server, Credentials::bearer(ca, token)?);
            let load = Load::prepare(args, target)?;
            let (measured, ()) = measure(&runtime, &load, Pace::Answers, || Ok(()))?;
            let mut report = Report::new(args, &measured);
            report.half_load = half_load(args, &runtime, &load, &measured)?;
            report
        }
        _ => with_own_signer(args, &runtime, files)?,
    };
    report.machine_before = before;
    report.machine_after = Machine::now();
    report.print(output)?;
    if report.issued == 0 {
        return Err(Failure::text(
            Class::Unavailable,
            "not one certificate was issued",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn with_own_signer(
    args: &BenchArgs,
    runtime: &tokio::runtime::Runtime,
    files: u64,
) -> Result<Report, Failure> {
    let spinner = Spinner::start("starting a signer");
    let signer = OwnSigner::start(args)?;
    spinner.done();
    let processes = Processes::of(signer.id())?;
    runtime.block_on(async { tokio::time::sleep(own::REST).await });
    let memory = processes.memory()?;
    let mut report = match args.burst {
        Some(pods) => burst(args, runtime, &signer, &processes, pods, files)?,
        None => steady(args, runtime, &signer, &processes)?,
    };
    report.memory_mb = Some(memory);
    report.memory_after_mb = Some(processes.memory()?);
    report.ready_ms = Some(signer.ready_in().as_secs_f64() * 1000.0);
    report.algorithm = Some(args.algorithm.name());
    report.raw = match &args.csign {
        // The signer rests meanwhile: both have the machine to themselves.
        Some(program) => Some(raw::measure(program, args, &signer)?),
        None => None,
    };
    signer.stop()?;
    report.ratio = report
        .raw
        .as_ref()
        .map(|raw| report.certificates_per_second / raw.signatures_per_second.max(1.0));
    Ok(report)
}

fn steady(
    args: &BenchArgs,
    runtime: &tokio::runtime::Runtime,
    signer: &OwnSigner,
    processes: &Processes,
) -> Result<Report, Failure> {
    let target = Target::several(signer.grpc(), signer.credentials(args.identities.max(1))?);
    let load = Load::prepare(args, target)?;
    let idle = runtime.block_on(load.open_idle(args.idle_connections))?;
    let decisions = DecisionTimes::read(signer.http())?;
    let (measured, spent) = measure(runtime, &load, Pace::Answers, || CpuMeter::read(processes))?;
    let decisions = DecisionTimes::read(signer.http())?.since(&decisions);
    let mut report = Report::new(args, &measured);
    report.cpu_us_per_certificate = Some(spent.micros_per(measured.issued()));
    report.decision_us = decisions.summary();
    report.half_load = half_load(args, runtime, &load, &measured)?;
    drop(idle);
    Ok(report)
}

fn burst(
    args: &BenchArgs,
    runtime: &tokio::runtime::Runtime,
    signer: &OwnSigner,
    processes: &Processes,
    pods: usize,
    files: u64,
) -> Result<Report, Failure> {
    let spinner = Spinner::start("preparing tokens and requests");
    let burst = burst::Burst::prepare(args, signer, pods, files)?;
    spinner.say("bursting");
    let before = CpuMeter::read(processes)?;
    let (measured, burst) = runtime.block_on(burst.run())?;
    let spent = cpu::Since::since(CpuMeter::read(processes)?, before);
    spinner.done();
    let mut report = Report::new(args, &measured);
    report.cpu_us_per_certificate = Some(spent.micros_per(measured.issued()));
    report.burst = Some(burst);
    Ok(report)
}

/// The same load again, at half of the rate, open: who comes does not wait for who came before.
fn half_load(
    args: &BenchArgs,
    runtime: &tokio::runtime::Runtime,
    load: &Load,
    full: &Measured,
) -> Result<Option<HalfLoad>, Failure> {
    if !args.half {
        return Ok(None);
    }
    let rate = full.per_second() / 2.0;
    let (measured, ()) = measure(runtime, load, Pace::Arrivals(rate), || Ok(()))?;
    Ok(Some(HalfLoad::new(rate, &measured)))
}

/// Runs the load, with a meter read before and after the part that counts.
fn measure<M: cpu::Since>(
    runtime: &tokio::runtime::Runtime,
    load: &Load,
    pace: Pace,
    meter: impl Fn() -> Result<M, Failure>,
) -> Result<(Measured, M), Failure> {
    let spinner = Spinner::start("measuring");
    let measured = runtime.block_on(async {
        let running = load.start(pace).await?;
        running.warm_up().await;
        let before = meter()?;
        let measured = running.measure().await?;
        Ok::<_, Failure>((measured, meter()?.since(before)))
    });
    spinner.done();
    measured
}

/// As many files as may be: a connection is one here and one in the signer. Says how many.
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What cannot be raised stays: a burst then holds fewer connections open.
    let _kept = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
