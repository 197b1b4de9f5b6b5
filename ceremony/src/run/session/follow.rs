//! The sessions of a journal that is only followed: what they saw is judged again.

use sealwright_hsm::ceremony::{PairCount, TokenFacts};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Done, Loaded, ToToken, identify, judge_marks, older, quorum, step};
use crate::approval::ApprovedPlan;
use crate::error::Error;
use crate::hands::{self, PAD};
use crate::journal::{Journal, Kind};
use crate::plan::{PinEntry, TokenPlan};
use crate::preconditions::{self, Mark, MarkState, stage};
use crate::run::closing::{CLOSING, DECLARED};
use crate::run::{Hex, nobody};
use crate::transcript::chain;

/// Follows every session of a journal, as [`super::open`] wrote it. Gives why sessions stopped that others followed.
pub(in crate::run) fn follow(
    journal: &mut Journal,
    approved: &ApprovedPlan,
    given_up: bool,
) -> Result<Vec<String>, Error> {
    let plan = approved.plan().plan();
    let mut stops = Vec::new();
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
        number = number.saturating_add(1);
        let next = journal
            .first(&format!("session-{number}"), "module")
            .or_else(|| journal.first(CLOSING, DECLARED));
        for token in plan
            .tokens
            .iter()
            .filter(|token| preconditions::uses(plan, token))
        {
            let seen = Seen {
                approved,
                session: &name,
                token,
            };
            if let Err(Refused { call, error }) = seen.follow(journal) {
                let stopped = matches!(*error, Error::Precondition { .. } | Error::State(_));
                if !stopped || !ends(journal, &name, &call, next) {
                    return Err(*error);
                }
                // The tokens after it were seen before anybody logged in to this one.
                stops.push(format!("{name} stopped: {}", chain(&*error)));
            }
        }
    }
    let open = Mark::of(approved, MarkState::Open);
    for token in plan
        .tokens
        .iter()
        .filter(|token| preconditions::uses(plan, token))
    {
        let intent = ToToken::of(token);
        let calls: &[&str] = if token.initialize {
            &["C_InitToken", "C_InitPIN"]
        } else {
            &[]
        };
        for call in calls {
            follow_call(journal, &step(token), call, &intent, given_up)?;
        }
        follow_making(journal, token, given_up)?;
        follow_call(journal, &step(token), open.call(), &open, given_up)?;
    }
    Ok(stops)
}

/// Whether a session ended with what it saw: nothing of it comes after that, and the next one begins, or it was given up.
fn ends(journal: &Journal, session: &str, call: &str, next: Option<u64>) -> bool {
    let (Some(at), Some(next)) = (journal.first(session, call), next) else {
        return false;
    };
    let after = journal.events().iter();
    let mut after = after.filter(|event| event.sequence > at && event.sequence < next);
    after.all(|event| event.kind == Kind::Note)
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

/// What people said of the making of a token; where a ceremony was given up, it may not have come so far.
fn follow_making(journal: &mut Journal, token: &TokenPlan, given_up: bool) -> Result<(), Error> {
    let step = step(token);
    let due = token.initialize && token.pin == PinEntry::Pad;
    if !due || (given_up && !journal.is_answered(&step, PAD)) {
        return Ok(());
    }
    let nobody = || Err(nobody(&step, PAD));
    hands::attest(journal, &step, PAD, &hands::made_at_pad(token), nobody)
}

/// One session and one token.
struct Seen<'a> {
    approved: &'a ApprovedPlan,
    session: &'a str,
    token: &'a TokenPlan,
}

/// What a session saw did not allow it to go on, or does not hold.
struct Refused {
    /// What was seen.
    call: String,
    error: Box<Error>,
}

impl Seen<'_> {
    /// What one session saw of one token. It may have ended anywhere, but the last one did not.
    fn follow(&self, journal: &mut Journal) -> Result<(), Refused> {
        let (plan, token) = (self.approved.plan().plan(), self.token);
        self.look(
            journal,
            format!("free/{}", token.name),
            |_, free: TokenFacts, _| {
                hands::entry(token, &free)?;
                preconditions::can_become(plan, token, &free)
            },
        )?;
        self.look(
            journal,
            format!("token/{}", token.name),
            |journal, facts: TokenFacts, _| {
                preconditions::stage_1(plan, token, &facts)?;
                identify(journal, token, &facts)
            },
        )?;
        let intent = ToToken::of(token);
        let call = format!("C_Login/{}", token.name);
        if let Err(error) = journal.attempted(self.session, &call, &intent) {
            return Err(Refused {
                call,
                error: Box::new(error),
            });
        }
        self.follow_quorum(journal, &call)?;
        self.follow_pad(journal)?;
        self.look(
            journal,
            format!("marks/{}", token.name),
            |journal, marks: Vec<(String, Hex)>, at| judge_marks(journal, self.approved, token, &marks, at),
        )?;
        for step in older::on(plan, token) {
            let call = older::call(step);
            if journal.has(self.session, &call)
                && let Err(error) = older::look(journal, self.session, step, None)
            {
                return Err(Refused {
                    call,
                    error: Box::new(error),
                });
            }
        }
        for key in plan.keys().filter(|key| key.token == token.name) {
            self.look(
                journal,
                format!("clash/{}", key.name),
                |_, found: PairCount, _| {
                    if found.is_none() {
                        return Ok(());
                    }
                    Err(stage(
                        2,
                        format!("something had the label {:?} already", key.label),
                    ))
                },
            )?;
        }
        Ok(())
    }

    /// What people said of the token's own quorum: once before each login that was tried.
    fn follow_quorum(&self, journal: &mut Journal, login: &str) -> Result<(), Refused> {
        let (session, token) = (self.session, self.token);
        let Some(planned) = &token.hsm_quorum else {
            return Ok(());
        };
        let refused = |call: &str, error: Error| Refused {
            call: call.to_owned(),
            error: Box::new(error),
        };
        let what = hands::opened(token, planned);
        let mut said = Vec::new();
        for number in 1.. {
            let call = quorum::call(token, number);
            let Some(at) = journal.first(session, &call) else {
                break;
            };
            said.push(at);
            hands::attest(journal, session, &call, &what, || Err(nobody(session, &call)))
                .map_err(|error| refused(&call, error))?;
        }
        let tried = journal
            .events()
            .iter()
            .filter(|event| event.kind == Kind::Intent && event.step == session && event.call == login);
        let mut said = said.into_iter();
        for event in tried {
            if said.next().is_none_or(|said| said > event.sequence) {
                let problem = format!(
                    "a login to the token {} was tried in event {}, before people said that its quorum opened it",
                    token.name, event.sequence
                );
                return Err(refused(login, Error::check(session, problem)));
            }
        }
        Ok(())
    }

    /// What people said of the pad: before anything that a login allows.
    fn follow_pad(&self, journal: &mut Journal) -> Result<(), Refused> {
        let token = self.token;
        let call = format!("{PAD}/{}", token.name);
        let due = journal.has(self.session, &format!("marks/{}", token.name));
        if token.pin == PinEntry::Typed || (!due && !journal.has(self.session, &call)) {
            return Ok(());
        }
        let nobody = || Err(nobody(self.session, &call));
        let what = hands::typed_at_pad(token);
        hands::attest(journal, self.session, &call, &what, nobody).map_err(|error| Refused {
            call: call.clone(),
            error: Box::new(error),
        })
    }

    /// Judges what was seen, if it was: the thing, and the number of its event.
    fn look<T: Serialize + DeserializeOwned>(
        &self,
        journal: &mut Journal,
        call: String,
        judge: impl FnOnce(&mut Journal, T, u64) -> Result<(), Error>,
    ) -> Result<(), Refused> {
        let Some(at) = journal.first(self.session, &call) else {
            return Ok(());
        };
        let seen = journal.observe(self.session, &call, || Err(nobody(self.session, &call)));
        match seen.and_then(|seen| judge(journal, seen, at)) {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused {
                call,
                error: Box::new(error),
            }),
        }
    }
}
