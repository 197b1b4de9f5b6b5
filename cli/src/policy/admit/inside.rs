//! The process that judges: it gives up everything before it reads a byte of what it judges.
//!
//! No network, no other program, no file but the system's own, bounded processor time and memory, no
//! environment. Where the kernel has no Landlock, that is said; system call filters must be there.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sealwright_policy_wasm::{
    EngineSettings,
    admission::{Job, Submission, admit},
};
use sealwright_runtime::{
    Chain,
    process::{
        die_with_parent, harden,
        landlock::{self, Paths},
        seccomp::{self, Calls, Sockets},
        take_stdin,
    },
};

use super::super::build;
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

/// Under a supervisor the job comes, and the report goes, by the socket that is its standard input.
pub(super) fn run(supervisor: Option<u32>) -> Result<ExitCode, Failure> {
    let Some(supervisor) = supervisor else {
        confine()?;
        output::line(&judge(io::stdin())?)?;
        return Ok(ExitCode::SUCCESS);
    };
    die_with_parent(supervisor).or_fail(Class::Internal)?;
    let mut socket = UnixStream::from(take_stdin().or_fail(Class::Internal)?);
    socket.set_nonblocking(false).or_fail(Class::Internal)?;
    confine()?;
    let report = judge(&socket)?;
    let gone = "nobody takes the report";
    socket
        .write_all(report.as_bytes())
        .or_fail_doing(Class::Internal, gone)?;
    socket
        .shutdown(Shutdown::Both)
        .or_fail_doing(Class::Internal, gone)?;
    Ok(ExitCode::SUCCESS)
}

fn judge(input: impl Read) -> Result<String, Failure> {
    let submission = read(input)?;
    let report = admit(&EngineSettings::default(), &submission).or_fail(Class::Unavailable)?;
    Ok(report.canonical())
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

fn read(input: impl Read) -> Result<Submission, Failure> {
    let mut text = Vec::new();
    input
        .take(MAX_JOB)
        .read_to_end(&mut text)
        .or_fail_doing(Class::Input, "cannot read the job")?;
    let job: Job = serde_json::from_slice(&text).or_fail_doing(Class::Input, "the job is none")?;
    let (mut submission, source) = job.open().or_fail_doing(Class::Input, "the job is none")?;
    if let Some(archive) = source {
        submission.vectors.extend(build::vectors_of(&archive)?);
    }
    Ok(submission)
}
