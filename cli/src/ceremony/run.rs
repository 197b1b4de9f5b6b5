//! `sealwright ceremony run`.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use sealwright_ceremony::{
    ApprovedPlan, Ceremony, Class as Kind, Declared, Error, Head, Outcome, Place, Progress, Room as _,
    Surroundings, journal::Crash,
};
use sealwright_identity::{Clock, Digest, SystemClock};
use sealwright_statement::{Envelope, FileSigner, Signer};
use serde::Serialize;

use super::{fail, only_in_a_rehearsal, read, room::Terminal, spoken, text};
use crate::{
    args::{Declare, RunArgs, SigningKey},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
pub(super) struct Ended {
    pub(super) transcript: PathBuf,
    pub(super) digest: Digest,
    pub(super) words: String,
    #[serde(flatten)]
    pub(super) head: Head,
}

pub(super) fn run(args: &RunArgs, output: Output) -> Result<ExitCode, Failure> {
    let (plan, roster) = read(&args.input)?;
    let rehearsal = plan.plan().rehearsal;
    only_in_a_rehearsal(args.yes, rehearsal)?;
    let mut approvals = Vec::new();
    for path in &args.approval {
        let approval = Envelope::parse(&text(path)?)
            .and_then(Envelope::open)
            .or_fail_doing(Class::Input, super::about(path))?;
        approvals.push(approval);
    }
    let signers = args.sign_with.iter().map(signer).collect::<Result<Vec<_>, _>>()?;
    if let Some(stranger) = signers
        .iter()
        .find(|signer| roster.owner(signer.public_key()).is_none())
    {
        let id = stranger.public_key().id();
        return Err(Failure::text(
            Class::Denied,
            format!("the roster has nobody with the key {id} of --sign-with"),
        ));
    }
    let clock = SystemClock;
    let approved =
        ApprovedPlan::judge(plan, roster, approvals, clock.now()).map_err(|error| fail(error.into()))?;
    let state = args.state.clone().unwrap_or_else(|| {
        let mut state = args.out.clone().into_os_string();
        state.push(".state");
        state.into()
    });
    let surroundings = Surroundings {
        place: Place {
            transcript: args.out.clone(),
            state,
        },
        previous: args.previous.clone(),
        transcripts: args.transcript.clone(),
        resume: args.resume,
        clock: Arc::new(clock),
        crash: Crash {
            before: args.crash_before,
            within: args.crash_within,
            after: args.crash_after,
        },
    };
    let mut ceremony = Ceremony::begin(approved, &surroundings).map_err(fail)?;
    if let Some(step) = &args.destroy {
        ceremony = ceremony.destroying(step.clone());
    }
    let mut terminal = Terminal {
        silent: args.yes,
        pins: &args.pin,
        so_pins: &args.so_pin,
        patience: args.people_deadline,
    };
    let finished = match args.declare {
        None => ceremony.run(&mut terminal),
        Some(how) => {
            let declared = declared(how, args);
            terminal
                .go(&format!("give the ceremony up as {}", declared.outcome.as_str()))
                .map_err(fail)?;
            ceremony.give_up(&declared, &mut terminal)
        }
    };
    let stopped = |error| stopped(error, args);
    let finished = finished.map_err(stopped)?;
    let head = finished.head().clone();
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as &dyn Signer).collect();
    let digest = finished.write(&signers).map_err(stopped)?;
    let words = spoken(&digest);
    let ended = Ended {
        transcript: args.out.clone(),
        digest,
        words,
        head,
    };
    match output {
        Output::Json => output::json(&ended)?,
        Output::Table => {
            output::line(&format!(
                "the transcript {} is {}",
                args.out.display(),
                ended.digest
            ))?;
            output::line(&ended.words)?;
        }
    }
    match ended.head.outcome {
        Outcome::Finished => Ok(ExitCode::SUCCESS),
        // Said by whoever declared it: a script that goes on must not take it for a ceremony.
        Outcome::Aborted | Outcome::Failed => Ok(ExitCode::from(Class::GivenUp.code())),
    }
}

/// What stops an open ceremony is one class, whatever it was, as the answer is the same. A check that failed is not: it
/// fails again. Nor is a PIN, which nobody may simply try again.
fn stopped(error: Error, args: &RunArgs) -> Failure {
    let resumable =
        matches!(error.class(), Kind::State | Kind::Unavailable | Kind::Denied) && !error.is_pin();
    if !resumable || Progress::of(&args.out) != Progress::Open {
        return fail(error);
    }
    let doing =
        "the ceremony is open on its tokens: the same command with --resume goes on once this is mended";
    Failure::doing(Class::Interrupted, error, doing)
}

/// A key in a file. A ceremony's process holds the module of its plan alone, loaded by the ceremony.
fn signer(key: &SigningKey) -> Result<FileSigner, Failure> {
    match key {
        SigningKey::File(path) => FileSigner::open(path).or_fail(Class::Usage),
        SigningKey::Token(_) => Err(Failure::text(
            Class::Usage,
            "`ceremony run` uses no tokens but the plan's: sign with a key on a token by `ceremony sign` afterwards",
        )),
    }
}

fn declared(how: Declare, args: &RunArgs) -> Declared {
    Declared {
        outcome: match how {
            Declare::Aborted => Outcome::Aborted,
            Declare::Failed => Outcome::Failed,
        },
        reason: args.reason.clone().unwrap_or_default(),
        tokens_told: !args.tokens_unreachable,
    }
}
