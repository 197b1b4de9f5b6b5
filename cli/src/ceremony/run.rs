//! `sealwright ceremony run`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use sealwright_ceremony::{
    ApprovedPlan, Ceremony, Class as Kind, Declared, Error, Head, Outcome, Place, Progress, Room as _,
    Surroundings, Transcript, journal::Crash,
};
use sealwright_identity::{Clock, Digest, SystemClock};
use sealwright_statement::{Envelope, FileSigner, Signer};
use serde::Serialize;

use super::{fail, only_in_a_rehearsal, read, room::Terminal, spoken, text};
use crate::{
    args::{Declare, RunArgs, SigningKey, TokenUse},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    signing,
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
    let names = plan.plan().tokens.iter().map(|token| token.name.to_string());
    let names: BTreeSet<_> = names.collect();
    only_in_a_rehearsal(args.yes, rehearsal)?;
    let mut approvals = Vec::new();
    for path in &args.approval {
        let approval = Envelope::parse(&text(path)?)
            .and_then(Envelope::open)
            .or_fail_doing(Class::Input, super::about(path))?;
        approvals.push(approval);
    }
    let (signers, on_tokens) = signers(args)?;
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
            state: state.clone(),
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
    let mut digest = finished.write(&signers).map_err(stopped)?;
    // The ceremony's own module is finalised by now, and its tokens are logged out of.
    for key in on_tokens {
        digest = sign_on_token(args, key, &state, &names)?;
    }
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

/// The keys in files, opened before anything begins, and those on tokens, which are opened when all is over.
fn signers(args: &RunArgs) -> Result<(Vec<FileSigner>, Vec<&SigningKey>), Failure> {
    let (mut in_files, mut on_tokens) = (Vec::new(), Vec::new());
    for key in &args.sign_with {
        match key {
            SigningKey::File(path) => in_files.push(FileSigner::open(path).or_fail(Class::Usage)?),
            SigningKey::Token(_) => on_tokens.push(key),
        }
    }
    if !on_tokens.is_empty() && args.pkcs11_module.is_none() {
        return Err(Failure::text(
            Class::Usage,
            "a key on a token needs --pkcs11-module, the library of the token's vendor",
        ));
    }
    Ok((in_files, on_tokens))
}

/// Signs the transcript as it was written, as `ceremony sign` does. A PIN that was meant for a token of the plan goes to
/// none of a person.
fn sign_on_token(
    args: &RunArgs,
    key: &SigningKey,
    state: &Path,
    planned: &BTreeSet<String>,
) -> Result<Digest, Failure> {
    let pins = args.pin.iter().filter(|pin| !planned.contains(&pin.token));
    let tokens = TokenUse {
        pkcs11_module: args.pkcs11_module.clone(),
        pin: pins.cloned().collect(),
        state: Some(state.to_owned()),
        token_deadline: args.token_deadline,
    };
    let sign = || {
        let signer = signing::open(key, &tokens)?;
        Transcript::open(&args.out)
            .and_then(|transcript| transcript.sign(&*signer))
            .map_err(fail)
    };
    sign().map_err(|failure| {
        failure.while_doing(format!(
            "the ceremony is over and its transcript is in {}; a key on a token did not sign it, which \
             `sealwright ceremony sign` does later",
            args.out.display()
        ))
    })
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
