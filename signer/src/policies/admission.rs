//! What has to be said of a revision before it is kept: the report that people will sign.

use sealwright_policy_wasm::admission::{Finding, Job, Report};
use sealwright_statement::Sealed;
use sealwright_statement::policy::Revision;
use tokio::time::Instant;
use tracing::warn;

use super::error::Refusal;
use super::judge::{JudgeError, Judges};
use super::{CALL, MAX_BLOB_BYTES, PolicyAdministration};
use crate::sets::limits;

/// Findings that are told; all of them are in the report.
const MAX_TOLD: usize = 8;

/// The report to keep with a revision: this server's own, where it can judge, and then the author's has
/// to be the same. Empty where there is none.
///
/// # Errors
/// When the module is not admitted, or the author's report is another than this server's.
pub(super) async fn report(
    service: &PolicyAdministration,
    revision: &Sealed<Revision>,
    authors: String,
) -> Result<String, Refusal> {
    let Some(judges) = &service.judges else {
        warn!(revision = %revision.digest(), "not judged here: this front runs without a supervisor");
        return Ok(authors);
    };
    let ours = judge(service, judges, revision).await?;
    if !ours.admitted {
        return Err(Refusal::NotAdmitted(findings(&ours)));
    }
    if !authors.is_empty() {
        let theirs = Report::from_canonical(authors.as_bytes()).map_err(Refusal::Report)?;
        // Of another version of the engine it says nothing about this one.
        if theirs.engine_profile == ours.engine_profile && theirs.digest() != ours.digest() {
            return Err(Refusal::OtherReport {
                theirs: theirs.digest(),
                ours: ours.digest(),
            });
        }
    }
    Ok(ours.canonical())
}

async fn judge(
    service: &PolicyAdministration,
    judges: &Judges,
    revision: &Sealed<Revision>,
) -> Result<Report, Refusal> {
    let deadline = Instant::now() + CALL;
    // Before the module is fetched: so many are in memory at a time as are judged.
    let turn = judges.turn(deadline).await.map_err(Refusal::Judge)?;
    let source = service.sets.source();
    let component = source.blob(revision.module, MAX_BLOB_BYTES, deadline).await?;
    let archive = match revision.source {
        Some(archive) => Some(source.blob(archive, MAX_BLOB_BYTES, deadline).await?),
        None => None,
    };
    let settings = sealwright_policy_wasm::parse_settings(&revision.settings)
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    let job = Job::new(&component, settings, limits(revision)).with_source(archive.as_deref());
    turn.judge(&job, deadline).await.map_err(Refusal::Judge)
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
