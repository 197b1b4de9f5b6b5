//! Admission on this machine: what a person signs was judged where that person is.
//!
//! The module is judged in a process of its own with nothing else in reach (`policy admit`). The
//! author's vectors are those in the source archive, so that everybody judges by the same.

use sealwright_identity::Digest;
use sealwright_policy_wasm::admission::{Job, Report};
use sealwright_signer::sets::limits;
use sealwright_statement::policy::Revision;

use super::{super::admit::in_own_process, explain, review::Review, wire::Client};
use crate::{
    failure::{Class, Failure, OrFail},
    output,
};

/// The report on a revision with these bytes.
pub(super) fn judge(component: &[u8], source: Option<&[u8]>, revision: &Revision) -> Result<Report, Failure> {
    let settings = sealwright_policy_wasm::parse_settings(&revision.settings).or_fail(Class::Input)?;
    let job = Job::new(component, settings, limits(revision)).with_source(source);
    in_own_process(&job)
}

/// Judges everything that a proposed set brings in, and compares with the reports that it names.
///
/// # Errors
/// When one differs: then nothing is to be signed.
pub(super) async fn agrees(client: &mut Client, review: &Review) -> Result<(), Failure> {
    for (revision, named) in review.brought_in() {
        output::notice(&format!("judging {} ({})", revision.policy, revision.digest()));
        let component = explain::blob(client, revision.module).await?;
        let source = match revision.source {
            Some(source) => Some(explain::blob(client, source).await?),
            None => None,
        };
        let here = {
            let revision = revision.clone();
            let judged = tokio::task::spawn_blocking(move || judge(&component, source.as_deref(), &revision));
            judged.await.or_fail(Class::Internal)??
        };
        if !here.admitted {
            return Err(Failure::text(
                Class::Denied,
                format!(
                    "{} is not admitted on this machine: nothing is signed",
                    revision.policy
                ),
            ));
        }
        compare(
            &revision.policy.to_string(),
            here.digest(),
            named,
            here.engine_profile,
        )?;
    }
    Ok(())
}

fn compare(policy: &str, here: Digest, named: Option<Digest>, profile: Digest) -> Result<(), Failure> {
    let named = named.ok_or_else(|| {
        Failure::text(
            Class::Input,
            format!("{policy} is new and the set names no report for it: nothing is signed"),
        )
    })?;
    if here == named {
        return Ok(());
    }
    Err(Failure::text(
        Class::Denied,
        format!(
            "the report on {policy} is {here} on this machine (engine profile {profile}), and the set names {named}: \
             nothing is signed; judge with the signer's version of this program"
        ),
    ))
}
