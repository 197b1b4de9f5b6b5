//! A plan as a script to print, with blanks to fill in, and an estimate of what it takes.

use std::fmt::Write as _;

use sealwright_identity::Digest;
use sealwright_statement::words::words;
use serde::Serialize;

use crate::error::Error;
use crate::hands;
use crate::plan::{Attestation, LintedPlan, Purpose, Step, Unexplained};
use crate::preconditions::uses;
use crate::report;
use crate::roster::Roster;

/// What a ceremony takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Tokens that somebody logs in to.
    pub tokens: usize,
    /// Keys that are made.
    pub keys: usize,
    /// Signatures by the token: two for each key, one for each certificate and request.
    pub signatures: usize,
    /// Parts of PINs that are typed in one start.
    pub pins: u64,
    /// Questions before something that cannot be undone.
    pub questions: usize,
    /// Times that a digest is read aloud and three of its words are typed, in the run.
    pub read_aloud: usize,
    /// Two minutes for each PIN and question, five for each reading: the people are what takes time.
    pub minutes: u64,
}

/// What a plan takes.
#[must_use]
pub fn estimate(plan: &LintedPlan) -> Estimate {
    let plan = plan.plan();
    let used: Vec<_> = plan.tokens.iter().filter(|token| uses(plan, token)).collect();
    let keys = plan.keys().count();
    let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count();
    let certificates = count(|step| {
        matches!(
            step,
            Step::Root(_) | Step::Intermediate(_) | Step::CrossCertificate(_)
        )
    });
    let requests = count(|step| matches!(step, Step::Csr(_)));
    let checkpoints = count(|step| matches!(step, Step::Checkpoint(_)));
    let fresh = used.iter().filter(|token| token.initialize).count();
    // A new token takes the security officer's PIN, the new user PIN, and that again to log in.
    let pins = used
        .iter()
        .map(|token| {
            token
                .pin_parts
                .saturating_mul(if token.initialize { 3 } else { 1 })
        })
        .sum();
    let attested = plan.keys();
    let attested = attested.filter(|key| matches!(key.attestation, Attestation::File(_)));
    let questions = fresh + keys + attested.count() + certificates;
    // A token's own quorum says that it is there by words, too.
    let quorums = used.iter().filter(|token| token.hsm_quorum.is_some()).count();
    let read_aloud = checkpoints + 1 + quorums;
    let acts = u64::try_from(questions).unwrap_or(u64::MAX).saturating_add(pins);
    let readings = u64::try_from(read_aloud).unwrap_or(u64::MAX);
    Estimate {
        tokens: used.len(),
        keys,
        signatures: 2 * keys + certificates + requests,
        pins,
        questions,
        read_aloud,
        minutes: acts.saturating_mul(2).saturating_add(readings.saturating_mul(5)),
    }
}

/// The script, Markdown.
#[must_use]
pub fn script(plan: &LintedPlan, roster: &Roster) -> String {
    let mut text = String::new();
    // Writing to a text does not fail.
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    let body = plan.plan();
    line(&format!("# {}", body.title));
    line("");
    line(&format!(
        "{}. Ceremony {}. It may run from {} to {}.",
        if body.rehearsal {
            "A rehearsal"
        } else {
            "In earnest"
        },
        body.ceremony,
        body.not_before,
        body.not_after
    ));
    line("");
    line("Date: ____________  Place: ______________________________  Began at: ________  Ended at: ________");
    line("");
    line("## People");
    line("");
    line("| name | may be | is here as | came | left | signature |");
    line("| --- | --- | --- | --- | --- | --- |");
    for person in &roster.people {
        let roles: Vec<_> = person.roles.iter().map(|role| role.as_str()).collect();
        line(&format!("| {} | {} |  |  |  |  |", person.name, roles.join(", ")));
    }
    line("");
    line(&format!("{} operators must agree.", roster.threshold));
    line("");
    line("## Read aloud before anything is done");
    line("");
    line("One reads from this paper, another from the screen, a third compares. Tick each row.");
    for (what, digest) in [("The plan", plan.digest()), ("The roster", body.roster)] {
        line("");
        line(&format!("{what}: `{digest}`"));
        line("");
        spelled(&digest, &mut line);
    }
    line("");
    line("## What is done");
    line("");
    line("| step | what | seen by | time |");
    line("| --- | --- | --- | --- |");
    for token in body.tokens.iter().filter(|token| token.initialize) {
        line(&format!(
            "| {} | a free slot becomes the token {:?} |  |  |",
            token.name, token.label
        ));
    }
    for token in body.tokens.iter().filter(|token| uses(body, token)) {
        if let Some(told) = hands::told(token) {
            line(&format!("| {} | {told} |  |  |", token.name));
        }
        if let Some(quorum) = &token.hsm_quorum {
            let blanks = vec!["____________"; usize::try_from(quorum.threshold).unwrap_or(1)].join(" ");
            line(&format!("| {} | who opened it: {blanks} |  |  |", token.name));
        }
    }
    for step in &body.steps {
        line(&format!("| {} | {} |  |  |", step.name(), told(step)));
    }
    line("| the end | the head is read aloud, the new keys confirm it, the tokens are marked |  |  |");
    line("");
    line("## Heads of the transcript, as read aloud");
    line("");
    let checkpoints = body.steps.iter().filter_map(|step| match step {
        Step::Checkpoint(step) => Some(step.name.as_str()),
        _ => None,
    });
    for name in checkpoints.chain(["the end"]) {
        line(&format!(
            "{name}, first four words: ______________ ______________ ______________ ______________"
        ));
        line("");
    }
    line(
        "The transcript (digest of SHA256SUMS), first eight words: ________________________________________________",
    );
    line("");
    line("## Exceptions");
    line("");
    line(
        "What was not as this script says, when, and who decided what: ______________________________________________",
    );
    text
}

/// The same as a PDF.
///
/// # Errors
/// By a fault of ours alone.
pub fn script_pdf(plan: &LintedPlan, roster: &Roster) -> Result<Vec<u8>, Error> {
    let foot = format!("ceremony {}, plan {}", plan.plan().ceremony, plan.digest());
    report::script(&plan.plan().title, &foot, &script(plan, roster))
}

fn spelled(digest: &Digest, line: &mut impl FnMut(&str)) {
    let all: Vec<_> = words(digest).collect();
    for (row, number) in all.chunks(8).zip((1..).step_by(8)) {
        line(&format!("- [ ] {number}: {}", row.join(" ")));
    }
}

pub(crate) fn told(step: &Step) -> String {
    match step {
        Step::Key(key) => {
            let purpose = match key.purpose {
                Purpose::Issuing => "certificates",
                Purpose::Health => "health probes",
                Purpose::Checkpoint => "the ledger's checkpoints",
            };
            format!(
                "the {} key {:?} is made in the token {}, for {purpose}; {}",
                key.algorithm,
                key.label,
                key.token,
                key.attestation_told()
            )
        }
        Step::Root(root) => format!("the root certificate {:?} is signed", root.profile.common_name),
        Step::Intermediate(step) => format!(
            "the certificate {:?} is signed by {}",
            step.profile.common_name, step.issuer
        ),
        Step::CrossCertificate(step) => format!(
            "a certificate for {:?} is signed by the older key {:?} in the token {}",
            step.profile.common_name, step.label, step.token
        ),
        Step::Csr(csr) => format!(
            "a request for {:?} is signed, for a CA elsewhere",
            csr.common_name
        ),
        Step::ImportCertificate(import) => {
            format!(
                "the certificate from elsewhere for the key {:?} is checked",
                import.label
            )
        }
        Step::ApproverRoster(_) => "the roster of those who approve policies is handed over".to_owned(),
        Step::Inventory(step) => {
            let tokens: Vec<_> = step.tokens.iter().map(|name| name.as_str()).collect();
            let odd = match step.unexplained {
                Unexplained::Stop => "stops everything",
                Unexplained::Record => "is written down",
            };
            format!(
                "every object in {} is listed; what nothing explains {odd}",
                if tokens.is_empty() {
                    "all tokens".to_owned()
                } else {
                    tokens.join(", ")
                }
            )
        }
        Step::Checkpoint(_) => "everybody stops; the transcript's head is read aloud".to_owned(),
    }
}
