//! Admission: whether a module may be part of what decides, and the report that people sign.
//!
//! Asked before a module is approved, on the server and again on each approver's machine: so the report
//! holds nothing but what follows from the submission, the engine profile and the corpus. No times, no
//! host names, no order of threads. Equal submissions give equal bytes.
//!
//! What it is not: a proof. It finds modules that cannot be loaded, do not do what their author says,
//! fail on hostile requests or are not repeatable; not what a policy does on one namespace that nobody
//! thought of. A policy that fails there denies.
//!
//! It runs code that nobody here wrote: the caller gives it a process of its own with limits
//! (`sealwright policy admit`).

mod cases;
mod corpus;
mod job;
mod repeat;
mod report;

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use self::{
    cases::{Bench, Case},
    report::{MODULE, REPEATABLE, SETTINGS},
};
pub use self::{
    corpus::{CORPUS_VERSION, corpus_digest},
    job::{Job, JobError},
    report::{CorpusReport, Described, Finding, NamesReport, Report, ReportError, VectorReport},
};
use crate::{
    AbortReason, Engine, EngineError, EngineSettings, Limits, LoadError, Policy, Vector, VectorError,
};

/// What is to be admitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The component's bytes.
    pub component: Vec<u8>,
    /// Its settings.
    pub settings: Value,
    /// Its limits.
    pub limits: Limits,
    /// The author's vectors.
    pub vectors: Vec<Vector>,
}

/// Instances of the engine: a component of several memories takes as many, and one more is held.
const SLOTS: u32 = 16;
/// Long enough that fuel ends a decision first, on any machine that is fit to run this.
const EPOCH_DEADLINE: Duration = Duration::from_secs(60);

/// Judges a submission. Blocks for seconds.
///
/// A refusal is a report too; it says what has to change.
///
/// # Errors
/// When this machine could not judge it: the same submission may be admitted elsewhere.
pub fn admit(settings: &EngineSettings, submission: &Submission) -> Result<Report, AdmissionError> {
    let engine = engine(settings)?;
    let mut report = Report::new(engine.profile(), submission);
    let Some(bench) = load(&engine, submission, &mut report) else {
        return Ok(report);
    };
    let authored = cases::authored(&bench, &submission.vectors)?;
    let said = bench.evaluate_all(&authored)?;
    report.add_vectors(&submission.vectors, &authored, &said);

    let hostile = corpus::cases(&authored, &said);
    let answers = bench.evaluate_all(&hostile)?;
    report.add_corpus(&hostile, &answers);
    report.add_names(&corpus::widening(&bench, &authored, &said, &hostile, &answers)?);

    // What already fails need not be repeated.
    if report.refusals.is_empty() {
        let cases: Vec<Case> = authored.into_iter().chain(hostile).collect();
        let first: Vec<_> = said.into_iter().chain(answers).collect();
        let findings = repeat::differences(settings, submission, &bench, &cases, &first)?;
        findings.into_iter().for_each(|finding| report.refuse(finding));
        report.repeated = true;
    }
    report.conclude();
    Ok(report)
}

/// The engine of production, but for what decides no verdict.
fn engine(settings: &EngineSettings) -> Result<Engine, AdmissionError> {
    Engine::new(EngineSettings {
        slots: SLOTS,
        epoch_deadline: EPOCH_DEADLINE,
        code_folder: None,
        ..settings.clone()
    })
    .map_err(AdmissionError::Engine)
}

/// The policies, when the module is one and takes its settings; else the report says why not.
fn load(engine: &Engine, submission: &Submission, report: &mut Report) -> Option<Bench> {
    match Policy::describe(engine, submission.component.clone()) {
        Ok(description) => report.described = Some(Described::from(&description)),
        Err(error) => {
            report.refuse(Finding::new(MODULE, "", chain(&error)));
            return None;
        }
    }
    match Bench::load(engine, submission) {
        Ok(bench) => Some(bench),
        Err((vector, error)) => {
            report.refuse(Finding::new(
                SETTINGS,
                vector.as_deref().unwrap_or(""),
                chain(&error),
            ));
            None
        }
    }
}

/// An error with its reasons, as one line.
fn chain(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    crate::decision::tame(&text, report::MAX_MESSAGE)
}

/// Policies by their settings: the first has those of the submission.
type Policies = Vec<Arc<Policy>>;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// No engine.
    #[error("there is no engine to judge the module with")]
    Engine(#[source] EngineError),
    /// The engine's own code did not come back.
    #[error("the machine code of the module cannot be used again")]
    Code(#[source] wasmtime::Error),
    /// What was loaded before was not loaded again.
    #[error("the module was loaded once, and not again")]
    Again(#[source] LoadError),
    /// The ordinary request is none: a fault of ours.
    #[error("the corpus cannot be made")]
    Corpus(#[source] VectorError),
    /// No verdict, for the host's reasons.
    #[error("no verdict on {case:?}: {reason}; try again on a machine with more room")]
    Aborted {
        /// The request.
        case: String,
        /// Why.
        reason: AbortReason,
    },
}
