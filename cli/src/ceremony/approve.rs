//! `sealwright ceremony approve`.

use std::process::ExitCode;

use sealwright_ceremony::Approval;
use sealwright_identity::Digest;
use sealwright_statement::{Envelope, Sealed, Signed};
use serde::Serialize;

use super::{only_in_a_rehearsal, read, room, text};
use crate::{
    args::ApproveArgs,
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
    signing,
};

#[derive(Serialize)]
struct Approved {
    person: String,
    role: &'static str,
    plan: Digest,
    roster: Digest,
    signatures: usize,
}

pub(super) fn run(args: &ApproveArgs, output: Output) -> Result<ExitCode, Failure> {
    let (plan, roster) = read(&args.input)?;
    only_in_a_rehearsal(args.yes, plan.plan().rehearsal)?;
    if plan.plan().roster != roster.digest() {
        return Err(Failure::text(
            Class::Input,
            format!(
                "the plan is for the roster {}, this one is {}",
                plan.plan().roster,
                roster.digest()
            ),
        ));
    }
    let signer = signing::open(&args.sign_with, &args.tokens)?;
    let person = roster
        .owner(signer.public_key())
        .filter(|person| person.roles.contains(&args.role))
        .ok_or_else(|| {
            Failure::text(
                Class::Denied,
                format!(
                    "the roster has nobody with this key who may be {}",
                    args.role.as_str()
                ),
            )
        })?;
    for warning in plan.warnings() {
        output::notice(&format!("think about {}: {}", warning.code, warning.detail));
    }
    room::confirm(args.yes, "the roster", &roster.digest())?;
    room::confirm(
        args.yes,
        &format!("the plan {:?}", plan.plan().title),
        &plan.digest(),
    )?;

    let approval = Sealed::new(Approval::of(&plan, args.role)).or_fail(Class::Internal)?;
    let mut signed = if args.out.exists() {
        let there: Signed<Approval> = Envelope::parse(&text(&args.out)?)
            .and_then(Envelope::open)
            .or_fail(Class::Input)?;
        if there.statement.digest() != approval.digest() {
            return Err(Failure::text(
                Class::Input,
                format!("{} holds an approval of something else", args.out.display()),
            ));
        }
        there
    } else {
        Signed::unsigned(approval)
    };
    signed.sign(&*signer).or_fail(Class::Unavailable)?;
    files::write(&args.out, signed.to_string().as_bytes(), 0o644)?;
    let approved = Approved {
        person: person.name.to_string(),
        role: args.role.as_str(),
        plan: plan.digest(),
        roster: roster.digest(),
        signatures: signed.signatures.len(),
    };
    match output {
        Output::Json => output::json(&approved)?,
        Output::Table => output::line(&format!(
            "{} agreed as {} to {}",
            approved.person, approved.role, approved.plan
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
