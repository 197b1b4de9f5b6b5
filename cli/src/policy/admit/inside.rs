//! The process that judges: it gives up everything before it reads a byte of what it judges.
//!
//! No network, no other program, no file but the system's own, bounded processor time and memory, no
//! environment. Where the kernel has no Landlock, that is said; system call filters must be there.

use std::{
    io::{self, Read},
    process::ExitCode,
};

use base64::Engine as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sealwright_policy_wasm::{
    EngineSettings, Vector, VectorFormat,
    admission::{Submission, admit},
};
use sealwright_runtime::{
    Chain,
    process::{
        harden,
        landlock::{self, Paths},
        seccomp::{self, Calls, Sockets},
    },
};

use super::{Job, Written};
use crate::{
    failure::{Class, Failure, OrFail},
    output,
};

/// Processor time of all threads, in seconds.
const PROCESSOR_SECONDS: u64 = 240;
/// Address space: three engines reserve 1 GiB each for instances, and the allocator as much.
const ADDRESS_BYTES: u64 = 16 << 30;
/// Memory that can be written.
const DATA_BYTES: u64 = 6 << 30;
const OPEN_FILES: u64 = 64;
/// Of a file in memory: the engine keeps what a component's memory begins with in one.
const FILE_BYTES: u64 = 256 << 20;
/// A job: the largest component as Base64, and a thousand vectors.
const MAX_JOB: u64 = 384 << 20;

pub(super) fn run() -> Result<ExitCode, Failure> {
    confine()?;
    let submission = read()?;
    let report = admit(&EngineSettings::default(), &submission).or_fail(Class::Unavailable)?;
    output::line(&report.canonical())?;
    Ok(ExitCode::SUCCESS)
}

fn confine() -> Result<(), Failure> {
    harden().or_fail(Class::Internal)?;
    let limits = [
        (Resource::Cpu, PROCESSOR_SECONDS),
        (Resource::As, ADDRESS_BYTES),
        (Resource::Data, DATA_BYTES),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Fsize, FILE_BYTES),
    ];
    for (resource, most) in limits {
        // Nobody may raise what is lower already.
        let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).or_fail_doing(Class::Internal, format!("cannot limit {resource:?}"))?;
    }
    if let Err(error) = landlock::confine(&Paths::default()) {
        output::notice(&format!("the judging process can read files: {}", Chain(&error)));
    }
    let calls = Calls {
        sockets: Sockets::Unix,
        processes: false,
    };
    seccomp::refuse(calls).or_fail(Class::Internal)
}

fn read() -> Result<Submission, Failure> {
    let mut text = Vec::new();
    io::stdin()
        .take(MAX_JOB)
        .read_to_end(&mut text)
        .or_fail_doing(Class::Input, "cannot read the job")?;
    let job: Job = serde_json::from_slice(&text).or_fail_doing(Class::Input, "the job is none")?;
    let component = base64::engine::general_purpose::STANDARD.decode(&job.component);
    Ok(Submission {
        component: component.or_fail_doing(Class::Input, "the module is not Base64")?,
        settings: job.settings,
        limits: job.limits,
        vectors: job.vectors.into_iter().map(vector).collect::<Result<_, _>>()?,
    })
}

fn vector(written: Written) -> Result<Vector, Failure> {
    let Written {
        name,
        whole,
        settings,
    } = written;
    let text = whole.to_string();
    let vector = Vector::parse(&name, VectorFormat::Json, &text).or_fail_doing(Class::Input, name)?;
    Ok(Vector { settings, ..vector })
}
