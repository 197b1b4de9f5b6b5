//! The sessions of a journal that is only followed: what they saw is judged again.

use sealwright_hsm::ceremony::{PairCount, TokenFacts};
use serde::Serialize;

use super::{Done, Loaded, ToToken, identify, judge_marks, older, step};
use crate::approval::ApprovedPlan;
use crate::error::Error;
use crate::journal::Journal;
use crate::plan::TokenPlan;
use crate::preconditions::{self, Mark, MarkState};
use crate::run::{Hex, nobody};

/// Follows every session of a journal, as [`super::open`] wrote it.
pub(in crate::run) fn follow(
    journal: &mut Journal,
    approved: &ApprovedPlan,
    given_up: bool,
) -> Result<(), Error> {
    let plan = approved.plan().plan();
    let mut number = 1_u32;
    loop {
        let name = format!("session-{number}");
        if !journal.has(&name, "module") && (number > 1 || given_up) {
            break;
        }
        let loaded: Loaded = journal.observe(&name, "module", || Err(nobody(&name, "module")))?;
        let planned = plan.module.digest.is_none_or(|planned| planned == loaded.digest);
        let mapped = loaded
            .mapped
            .iter()
            .any(|file| file.path == loaded.path && file.digest == Some(loaded.digest));
        if !planned || !mapped {
            return Err(Error::check(&name, "the module is not the one of the plan"));
        }
        for token in plan
            .tokens
            .iter()
            .filter(|token| preconditions::uses(plan, token))
        {
            follow_token(journal, approved, &name, token)?;
        }
        number = number.saturating_add(1);
    }
    let open = Mark::of(approved, MarkState::Open);
    for token in plan
        .tokens
        .iter()
        .filter(|token| preconditions::uses(plan, token))
    {
        let intent = ToToken {
            token: &token.name,
            label: &token.label,
        };
        let calls: &[&str] = if token.initialize {
            &["C_InitToken", "C_InitPIN"]
        } else {
            &[]
        };
        for call in calls {
            follow_call(journal, &step(token), call, &intent, given_up)?;
        }
        follow_call(journal, &step(token), open.call(), &open, given_up)?;
    }
    Ok(())
}

/// A call that has its result; where a ceremony was given up, it may have none, or not be there.
fn follow_call(
    journal: &mut Journal,
    step: &str,
    call: &str,
    intent: &impl Serialize,
    given_up: bool,
) -> Result<(), Error> {
    if given_up && !journal.is_answered(step, call) {
        return journal.attempted(step, call, intent);
    }
    let _: Done = journal.perform(step, call, intent, |_| Err(nobody(step, call)))?;
    Ok(())
}

/// What one session saw of one token. It may have ended anywhere, but the last one did not.
fn follow_token(
    journal: &mut Journal,
    approved: &ApprovedPlan,
    session: &str,
    token: &TokenPlan,
) -> Result<(), Error> {
    let plan = approved.plan().plan();
    let call = format!("free/{}", token.name);
    if journal.has(session, &call) {
        let free: TokenFacts = journal.observe(session, &call, || Err(nobody(session, &call)))?;
        preconditions::can(plan, token, &free)?;
    }
    let call = format!("token/{}", token.name);
    if journal.has(session, &call) {
        let facts: TokenFacts = journal.observe(session, &call, || Err(nobody(session, &call)))?;
        preconditions::stage_1(plan, token, &facts)?;
        identify(journal, token, &facts)?;
    }
    let intent = ToToken {
        token: &token.name,
        label: &token.label,
    };
    journal.attempted(session, &format!("C_Login/{}", token.name), &intent)?;
    let call = format!("marks/{}", token.name);
    if let Some(at) = journal.first(session, &call) {
        let marks: Vec<(String, Hex)> = journal.observe(session, &call, || Err(nobody(session, &call)))?;
        judge_marks(journal, approved, token, &marks, at)?;
    }
    for step in older::on(plan, token) {
        if journal.has(session, &older::call(step)) {
            older::look(journal, session, step, None)?;
        }
    }
    for key in plan.keys().filter(|key| key.token == token.name) {
        let call = format!("clash/{}", key.name);
        if journal.has(session, &call) {
            let found: PairCount = journal.observe(session, &call, || Err(nobody(session, &call)))?;
            if found
                != (PairCount {
                    private: 0,
                    public: 0,
                })
            {
                return Err(Error::check(
                    session,
                    format!("{call}: something had the key's label"),
                ));
            }
        }
    }
    Ok(())
}
