//! A whole export: one thread reads and checks the chain, the others execute.
//!
//! Memory grows with what decides and its changes (sets, revisions, ceremonies), not with the decisions: a bounded queue
//! of batches, blobs by their place in the file, and for open decisions only what their certificate is verified with.

use std::path::Path;

use flume::{Receiver, Sender, bounded};
use sealwright_identity::Digest;
use sealwright_ledger::{ExportError, ExportReport};
use sealwright_policy_wasm::{Engine, EngineError, EngineSettings};

use crate::{
    decision::judge,
    library::{Anchors, Library},
    reading::{Job, Reading},
    summary::{Summary, Tally},
};

/// Batches that wait.
const QUEUE: usize = 8;
/// Execution needs some room; wasmtime's own stack is apart.
const STACK_BYTES: usize = 2 << 20;

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Threads that execute; with one, the thread that reads does it all.
    pub threads: usize,
    /// The digest of the first roster, from elsewhere than the export: without one, whoever wrote the ledger may have
    /// made up the people who agreed.
    pub roster: Option<Digest>,
    /// The digest of the ceremonies' roster, or of the transcript, from elsewhere than the export.
    pub ceremony: Option<Digest>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes that there are.
    pub total: u64,
    /// Entries of the part that were read.
    pub entries: u64,
}

/// Why there is no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the export")]
    File(#[source] std::io::Error),
    /// The export is not what its ledger held.
    #[error("the export is damaged: nothing in it can be believed")]
    Export(#[from] ExportError),
    /// The engine did not start.
    #[error("the policy engine did not start")]
    Engine(#[from] EngineError),
    /// The system refused a thread, or one ended.
    #[error("a thread could not be had: {0}")]
    Thread(String),
}

/// Executes every decision of an export again.
///
/// # Errors
/// When the export is damaged, or the machine gives too little. What the records say wrongly is in the summary.
pub fn replay(
    path: &Path,
    anchors: Anchors,
    options: &ReplayOptions,
    progress: &mut dyn FnMut(ReplayProgress),
) -> Result<Summary, ReplayError> {
    let threads = options.threads.max(1);
    let engine = Engine::new(EngineSettings {
        slots: u32::try_from(threads.saturating_add(2))
            .unwrap_or(u32::MAX)
            .min(256),
        ..EngineSettings::default()
    })?;
    let profile = engine.profile().digest.to_string();
    let library = Library::new(path, engine, anchors).map_err(ReplayError::File)?;
    let mut reading = Reading::new(&library, options);
    let (report, mut tally) = if threads == 1 {
        alone(path, &library, &mut reading, progress)?
    } else {
        together(path, &library, &mut reading, threads, progress)?
    };
    let (seen, keys) = (reading.seen(), reading.keys());
    tally.add(reading.tally);
    Ok(tally.summary(report, profile, seen, keys))
}

fn alone(
    path: &Path,
    library: &Library,
    reading: &mut Reading<'_>,
    progress: &mut dyn FnMut(ReplayProgress),
) -> Result<(ExportReport, Tally), ReplayError> {
    let mut tally = Tally::default();
    let report = reading.all(path, progress, &mut |batch| {
        work(library, batch, &mut tally);
        true
    })?;
    Ok((report, tally))
}

fn together(
    path: &Path,
    library: &Library,
    reading: &mut Reading<'_>,
    threads: usize,
    progress: &mut dyn FnMut(ReplayProgress),
) -> Result<(ExportReport, Tally), ReplayError> {
    let (queue, jobs): (Sender<Vec<Job>>, Receiver<Vec<Job>>) = bounded(QUEUE.max(threads * 2));
    std::thread::scope(|scope| {
        let mut workers = Vec::with_capacity(threads);
        for number in 0..threads {
            let jobs = jobs.clone();
            let worker = std::thread::Builder::new()
                .name(format!("replay-{number}"))
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || {
                    let mut tally = Tally::default();
                    for batch in jobs.iter() {
                        work(library, batch, &mut tally);
                    }
                    tally
                })
                .map_err(|error| ReplayError::Thread(error.to_string()))?;
            workers.push(worker);
        }
        drop(jobs);
        let report = reading.all(path, progress, &mut |batch| queue.send(batch).is_ok());
        drop(queue);
        let mut tally = Tally::default();
        for worker in workers {
            let found = worker
                .join()
                .map_err(|_| ReplayError::Thread("one of them panicked".to_owned()))?;
            tally.add(found);
        }
        Ok((report?, tally))
    })
}

fn work(library: &Library, batch: Vec<Job>, tally: &mut Tally) {
    for job in batch {
        match job {
            Job::Decision(case) => tally.judged(case.sequence, judge(library, &case)),
            Job::Certificate(certificate) => match certificate.verify(library) {
                Ok(()) => tally.counts.certificates += 1,
                Err(problem) => tally.found(certificate.decision, problem),
            },
        }
    }
}
