//! `sealwright ceremony sign`: somebody who was there puts their name to a transcript.

use std::process::ExitCode;

use sealwright_ceremony::Transcript;

use super::{fail, only_in_a_rehearsal, room, run::Ended, spoken};
use crate::{
    args::SignArgs,
    failure::Failure,
    output::{self, Output},
    signing,
};

pub(super) fn run(args: &SignArgs, output: Output) -> Result<ExitCode, Failure> {
    let transcript = Transcript::open(&args.transcript).map_err(fail)?;
    only_in_a_rehearsal(args.yes, transcript.head().rehearsal)?;
    let signer = signing::open(&args.sign_with, &args.tokens)?;
    room::confirm(args.yes, "the transcript's head", &transcript.head().head)?;
    let head = transcript.head().clone();
    let digest = transcript.sign(&*signer).map_err(fail)?;
    let ended = Ended {
        transcript: args.transcript.clone(),
        digest,
        words: spoken(&digest),
        head,
    };
    match output {
        Output::Json => output::json(&ended)?,
        Output::Table => {
            output::line(&format!(
                "the transcript {} is now {}",
                args.transcript.display(),
                ended.digest
            ))?;
            output::line(&ended.words)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
