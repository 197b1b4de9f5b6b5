//! `sealwright ceremony verify`.

use std::process::ExitCode;

use sealwright_ceremony::{Outcome, Verified};

use super::spoken;
use crate::{
    args::TranscriptArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) fn run(args: &TranscriptArgs, output: Output) -> Result<ExitCode, Failure> {
    if !args.transcript.is_dir() {
        let problem = format!("{} is no folder", args.transcript.display());
        return Err(Failure::text(Class::Input, problem));
    }
    // Whatever does not hold, and whatever is not there, speaks against the transcript.
    let verified = sealwright_ceremony::verify(&args.transcript)
        .or_fail_doing(Class::Contradicted, "the transcript does not hold")?;
    if let Some(known) = args.roster.filter(|known| *known != verified.roster) {
        return Err(Failure::text(
            Class::Contradicted,
            format!(
                "the transcript is by the roster {}, not by {known}",
                verified.roster
            ),
        ));
    }
    for earlier in &args.earlier {
        sealwright_ceremony::hold_against(&args.transcript, earlier)
            .or_fail_doing(Class::Contradicted, "an inventory does not hold")?;
    }
    if output == Output::Json {
        output::json(&verified)?;
        return judged(&verified);
    }
    let people = |names: Vec<String>| names.join(", ");
    let approved = verified
        .approved_by
        .iter()
        .map(|by| format!("{} ({})", by.person, by.role.as_str()));
    let rows = [
        ("ceremony", format!("{} {}", verified.ceremony, verified.title)),
        ("outcome", verified.outcome.as_str().to_owned()),
        (
            "rehearsal",
            if verified.rehearsal { "yes" } else { "no" }.to_owned(),
        ),
        ("plan", verified.plan.to_string()),
        ("roster", verified.roster.to_string()),
        ("approved by", people(approved.collect())),
        ("signed by", people(verified.signed_by.keys().cloned().collect())),
        (
            "events",
            format!("{} in {} sessions", verified.events, verified.sessions),
        ),
        ("from, to", format!("{}, {}", verified.from, verified.to)),
        ("head", verified.head.to_string()),
        ("transcript", verified.digest.to_string()),
        ("in words", spoken(&verified.digest)),
        ("remarks", verified.remarks.join("; ")),
    ];
    output::table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))?;
    if args.roster.is_none() {
        output::notice("compare the roster's digest with one that you know from elsewhere");
    }
    judged(&verified)
}

/// It holds; whether it is good for anything is another question.
fn judged(verified: &Verified) -> Result<ExitCode, Failure> {
    match verified.outcome {
        Outcome::Finished => Ok(ExitCode::SUCCESS),
        Outcome::Aborted | Outcome::Failed => Err(Failure::text(
            Class::GivenUp,
            format!(
                "the transcript holds; the ceremony was given up as {}, and what it made is for no use",
                verified.outcome.as_str()
            ),
        )),
    }
}
