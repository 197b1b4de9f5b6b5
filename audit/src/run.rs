//! A whole export: one thread reads and checks the chain, the others execute.
//!
//! Memory does not grow with the export: a bounded queue of batches, blobs by their place in the file, and for open
//! decisions only what their certificate is verified with.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path, sync::Arc};

use flume::{Receiver, Sender, bounded};
use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{
    Body, DecisionEntry, EntryKind, ExportError, ExportItem, ExportReader, ExportReport, RawEntry, StartEntry,
};
use sealwright_policy_wasm::{Engine, EngineError, EngineSettings};

use crate::{
    certificate::Certificate,
    decision::{Case, judge},
    library::{Anchors, Library},
    problem::Uncompared,
    summary::{Summary, Tally},
};

/// Jobs that change hands at once.
const BATCH: usize = 64;
/// Bytes of records that change hands at once; whole records, so a little more.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that wait.
const QUEUE: usize = 8;
const READ_AHEAD: usize = 1 << 20;
/// Execution needs some room; wasmtime's own stack is apart.
const STACK_BYTES: usize = 2 << 20;

/// How to replay.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Threads that execute; with one, the thread that reads does it all.
    pub threads: usize,
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

enum Job {
    Decision(Box<Case>),
    Certificate(Box<Certificate>),
}

/// What a certificate is verified with.
struct Open {
    decided_at: Timestamp,
    issuer: String,
    issuer_key: Digest,
    tbs: Vec<u8>,
    start: Option<Arc<StartEntry>>,
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
    let (report, tally) = if threads == 1 {
        alone(path, &library, progress)?
    } else {
        together(path, &library, threads, progress)?
    };
    Ok(tally.summary(report, profile))
}

fn alone(
    path: &Path,
    library: &Library,
    progress: &mut dyn FnMut(ReplayProgress),
) -> Result<(ExportReport, Tally), ReplayError> {
    let mut tally = Tally::default();
    let mut reading = Reading::default();
    let report = reading.all(path, library, progress, &mut |batch| {
        work(library, batch, &mut tally);
        true
    })?;
    tally.add(reading.tally);
    Ok((report, tally))
}

fn together(
    path: &Path,
    library: &Library,
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
        let mut reading = Reading::default();
        let report = reading.all(path, library, progress, &mut |batch| queue.send(batch).is_ok());
        drop(queue);
        let mut tally = reading.tally;
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

/// The thread that reads.
#[derive(Default)]
struct Reading {
    start: Option<Arc<StartEntry>>,
    open: HashMap<u64, Open>,
    batch: Vec<Job>,
    tally: Tally,
}

impl Reading {
    fn all(
        &mut self,
        path: &Path,
        library: &Library,
        progress: &mut dyn FnMut(ReplayProgress),
        hand_over: &mut dyn FnMut(Vec<Job>) -> bool,
    ) -> Result<ExportReport, ReplayError> {
        let file = File::open(path).map_err(ReplayError::File)?;
        let total = file.metadata().map_err(ReplayError::File)?.len();
        let mut reader = ExportReader::open(BufReader::with_capacity(READ_AHEAD, file))?;
        let (mut entries, mut bytes) = (0, 0);
        while let Some(item) = reader.next()? {
            match item {
                ExportItem::Blob { place, kind, .. } => library.put(kind, place),
                ExportItem::Earlier(_, Body::Start(start)) => self.start = Some(Arc::new(start)),
                ExportItem::Earlier(..) => {}
                ExportItem::Entry(entry, body) => {
                    entries += 1;
                    bytes += entry.body.len();
                    self.entry(&entry, body);
                }
            }
            if self.batch.len() >= BATCH || bytes >= BATCH_BYTES {
                bytes = 0;
                progress(ReplayProgress {
                    bytes: reader.offset(),
                    total,
                    entries,
                });
                if !hand_over(std::mem::take(&mut self.batch)) {
                    return Err(ReplayError::Thread("all of them ended".to_owned()));
                }
            }
        }
        hand_over(std::mem::take(&mut self.batch));
        reader.report().ok_or(ReplayError::Export(ExportError::Truncated))
    }

    fn entry(&mut self, entry: &RawEntry, body: Body) {
        match body {
            Body::Start(start) => self.start = Some(Arc::new(start)),
            Body::Decision(decision) => self.decision(entry, decision),
            Body::Certificate(part) => {
                let Some(decision) = entry.refers else { return };
                match self.open.remove(&decision) {
                    Some(open) => self.batch.push(Job::Certificate(Box::new(Certificate {
                        decision,
                        decided_at: open.decided_at,
                        issuer: open.issuer,
                        issuer_key: open.issuer_key,
                        tbs: open.tbs,
                        part,
                        start: open.start,
                    }))),
                    // Its decision is in the export of an earlier time.
                    None => self.tally.uncompared(decision, Uncompared::Certificate),
                }
            }
            Body::Failed { .. } | Body::Unreleased => {
                if let Some(decision) = entry.refers {
                    self.open.remove(&decision);
                }
            }
            _ => {}
        }
    }

    fn decision(&mut self, entry: &RawEntry, decision: DecisionEntry) {
        // The reader has seen to it that the kind is known.
        let Ok(kind) = entry.entry_kind() else { return };
        if kind == EntryKind::Decision {
            self.open.insert(
                entry.sequence,
                Open {
                    decided_at: entry.recorded_at,
                    issuer: decision.issuer.clone(),
                    issuer_key: decision.issuer_key,
                    tbs: decision.tbs.clone(),
                    start: self.start.clone(),
                },
            );
        }
        self.batch.push(Job::Decision(Box::new(Case {
            sequence: entry.sequence,
            kind,
            recorded_at: entry.recorded_at,
            decision,
            start: self.start.clone(),
        })));
    }
}
