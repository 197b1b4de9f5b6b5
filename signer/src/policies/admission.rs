//! What has to be so before a revision is kept, or run in shadow: its code runs here, and its module is admitted.
//! The report on that is what people will sign.

use std::sync::Arc;

use sealwright_policy_wasm::Policy;
use sealwright_policy_wasm::admission::{Finding, Job, Report};
use sealwright_statement::Sealed;
use sealwright_statement::policy::Revision;
use tracing::warn;

use super::error::Refusal;
use super::judge::JudgeError;
use super::{MAX_BLOB_BYTES, PolicyAdministration, deadline};
use crate::sets::limits;

/// Findings that are told; all of them are in the report.
const MAX_TOLD: usize = 8;

/// A revision that may be tried here.
pub(super) struct Vetted {
    /// Its code.
    pub(super) policy: Arc<Policy>,
    /// The report to keep with it: this server's own, where it can judge. Empty where there is none.
    pub(super) report: String,
}

/// Compiles a revision's module, and has it judged. The author's report, where there is one, has to say the same.
///
/// # Errors
/// When the module does not run here, when it is not admitted, or when the author's report is another than this
/// server's.
pub(super) async fn vet(
    service: &PolicyAdministration,
    revision: &Sealed<Revision>,
    authors: String,
) -> Result<Vetted, Refusal> {
    let deadline = deadline();
    let source = service.sets.source();
    // Before the module is fetched: so many are in memory at a time as are judged.
    let turn = match &service.judges {
        Some(judges) => Some(judges.turn(deadline).await.map_err(Refusal::Judge)?),
        None => None,
    };
    let component = source.blob(revision.module, MAX_BLOB_BYTES, deadline).await?;
    let Some(turn) = turn else {
        warn!(revision = %revision.digest(), "not judged here: this front runs without a supervisor");
        let policy = source.compile_bytes(revision, component).await?;
        let report = authors;
        return Ok(Vetted { policy, report });
    };
    let archive = match revision.source {
        Some(archive) => Some(source.blob(archive, MAX_BLOB_BYTES, deadline).await?),
        None => None,
    };
    let settings = sealwright_policy_wasm::parse_settings(&revision.settings)
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    let job = Job::new(&component, settings, limits(revision)).with_source(archive.as_deref());
    // What cannot be run here is no use to anybody.
    let policy = source.compile_bytes(revision, component).await?;
    let ours = turn.judge(&job, deadline).await.map_err(Refusal::Judge)?;
    compare(&ours, &authors)?;
    let report = ours.canonical();
    Ok(Vetted { policy, report })
}

fn compare(ours: &Report, authors: &str) -> Result<(), Refusal> {
    if !ours.admitted {
        return Err(Refusal::NotAdmitted(findings(ours)));
    }
    if authors.is_empty() {
        return Ok(());
    }
    let theirs = Report::from_canonical(authors.as_bytes()).map_err(Refusal::Report)?;
    // Of another version of the engine it says nothing about this one.
    if theirs.engine_profile == ours.engine_profile && theirs.digest() != ours.digest() {
        return Err(Refusal::OtherReport {
            theirs: theirs.digest(),
            ours: ours.digest(),
        });
    }
    Ok(())
}

fn findings(report: &Report) -> String {
    let told = report.refusals.iter().take(MAX_TOLD).map(
        |Finding {
             check,
             subject,
             message,
         }| format!("{check} {subject}: {message}"),
    );
    told.collect::<Vec<_>>().join("; ")
}

/// Whose fault it is, for the code of the answer.
pub(super) fn is_of_module(error: &JudgeError) -> bool {
    matches!(error, JudgeError::NoReport | JudgeError::Report(_))
}
