//! The stages 1 and 2 of a start: tokens found, logged in to, and judged. Each start of the program over one
//! transcript is a session of its own; what it saw is written down again.

mod follow;
mod login;
mod older;
mod quorum;

use std::collections::BTreeMap;

use sealwright_hsm::TokenSelector;
use sealwright_hsm::ceremony::{CeremonyModule, MappedFile, ModuleFile, Officer, PairCount, TokenFacts};
use sealwright_identity::Digest;
use sealwright_statement::policy::Name;
use serde::{Deserialize, Serialize};

pub(super) use self::follow::follow;
use super::Hex;
use crate::approval::ApprovedPlan;
use crate::error::Error;
use crate::hands;
use crate::journal::{Attempt, Journal};
use crate::plan::{PinEntry, Plan, TokenPlan};
use crate::preconditions::{self, Begun, Mark, MarkState, Place, stage};
use crate::room::Room;

/// The module as it was loaded.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    path: String,
    digest: Digest,
    mapped: Vec<MappedFile>,
}

/// What is about to be done to a token.
#[derive(Serialize)]
struct ToToken<'a> {
    token: &'a Name,
    label: &'a str,
    #[serde(skip_serializing_if = "PinEntry::is_typed")]
    pin: PinEntry,
}

impl<'a> ToToken<'a> {
    fn of(token: &'a TokenPlan) -> Self {
        Self {
            token: &token.name,
            label: &token.label,
            pin: token.pin,
        }
    }
}

/// Nothing to say but that it was done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {}

/// Which token it is, for the whole ceremony.
#[derive(Serialize)]
struct Identity<'a> {
    label: &'a str,
    serial: &'a str,
    manufacturer: &'a str,
    model: &'a str,
}

struct Session<'a> {
    journal: &'a mut Journal,
    approved: &'a ApprovedPlan,
    name: String,
    module: CeremonyModule,
    place: &'a Place,
    room: &'a mut dyn Room,
}

/// Loads the module, passes stages 1 and 2, initialises the tokens that the plan says, and logs in.
pub(super) fn open(
    journal: &mut Journal,
    approved: &ApprovedPlan,
    module: ModuleFile,
    place: &Place,
    room: &mut dyn Room,
) -> Result<BTreeMap<Name, Officer>, Error> {
    let mut session = load(journal, approved, module, place, room)?;
    session.run(approved.plan().plan())
}

/// The same to tell the tokens that a ceremony is given up: those that have its mark, and nothing is made.
pub(super) fn reopen(
    journal: &mut Journal,
    approved: &ApprovedPlan,
    module: ModuleFile,
    place: &Place,
    room: &mut dyn Room,
) -> Result<BTreeMap<Name, Officer>, Error> {
    let mut session = load(journal, approved, module, place, room)?;
    let (plan, open) = (approved.plan().plan(), Mark::of(approved, MarkState::Open));
    let mut officers = BTreeMap::new();
    for token in &plan.tokens {
        if session.journal.is_answered(&step(token), open.call()) {
            session.see(plan, token)?;
            officers.insert(token.name.clone(), session.log_in(token)?);
        }
    }
    Ok(officers)
}

fn load<'a>(
    journal: &'a mut Journal,
    approved: &'a ApprovedPlan,
    module: ModuleFile,
    place: &'a Place,
    room: &'a mut dyn Room,
) -> Result<Session<'a>, Error> {
    let name = next(journal);
    let path = module.path().display().to_string();
    room.say(&format!("loading {path}"));
    let module = module.load().map_err(Error::token("loading the module"))?;
    journal.observe(&name, "module", || {
        Ok(Loaded {
            path,
            digest: module.digest(),
            mapped: module.mapped().to_vec(),
        })
    })?;
    Ok(Session {
        journal,
        approved,
        name,
        module,
        place,
        room,
    })
}

/// `session-1` and so on: one for each start.
fn next(journal: &Journal) -> String {
    let mut number = 1_u32;
    while journal.has(&format!("session-{number}"), "module") {
        number = number.saturating_add(1);
    }
    format!("session-{number}")
}

impl Session<'_> {
    fn run(&mut self, plan: &Plan) -> Result<BTreeMap<Name, Officer>, Error> {
        let used: Vec<_> = plan
            .tokens
            .iter()
            .filter(|token| preconditions::uses(plan, token))
            .collect();
        let mut fresh = Vec::new();
        for token in &used {
            if self.is_to_be_made(token) {
                self.absent(plan, token)?;
                fresh.push(*token);
            } else {
                self.see(plan, token)?;
            }
        }
        let mut officers = BTreeMap::new();
        for token in used.iter().filter(|token| !fresh.contains(token)) {
            let officer = self.log_in(token)?;
            self.stage_2(plan, token, &officer)?;
            officers.insert(token.name.clone(), officer);
        }
        // All three stages have passed for what is there: from here on things are made.
        for token in fresh {
            self.initialize(token)?;
            self.see(plan, token)?;
            let officer = self.log_in(token)?;
            self.stage_2(plan, token, &officer)?;
            officers.insert(token.name.clone(), officer);
        }
        for token in used {
            if let Some(officer) = officers.get(&token.name) {
                self.attest_making(token)?;
                self.mark(token, officer)?;
            }
        }
        Ok(officers)
    }

    fn is_to_be_made(&self, token: &TokenPlan) -> bool {
        token.initialize && !self.journal.is_answered(&step(token), "C_InitPIN")
    }

    /// Stage 1 for a token that is to be made: there is none of its label yet, and a slot is free that can do what the
    /// plan asks for.
    fn absent(&mut self, plan: &Plan, token: &TokenPlan) -> Result<(), Error> {
        if self.journal.has(&step(token), "C_InitToken") {
            return Ok(());
        }
        let module = &self.module;
        let free = self
            .journal
            .observe(&self.name, &format!("free/{}", token.name), || {
                let selector = TokenSelector::Label(token.label.clone());
                if module.find(&selector).map_err(looking)?.is_some() {
                    return Err(stage(
                        1,
                        format!("there is a token with the label {:?} already", token.label),
                    ));
                }
                module
                    .free_token()
                    .map_err(looking)?
                    .ok_or_else(|| stage(1, "the module has no free slot for a new token"))
            })?;
        hands::entry(token, &free)?;
        if free.mechanisms.is_empty() {
            self.room
                .say("the free slot tells its mechanisms only when it is a token: they are looked at then");
        }
        preconditions::can_become(plan, token, &free)
    }

    /// Stage 1 for a token that is there.
    fn see(&mut self, plan: &Plan, token: &TokenPlan) -> Result<(), Error> {
        let module = &self.module;
        let facts: TokenFacts = self
            .journal
            .observe(&self.name, &format!("token/{}", token.name), || {
                let seen = module.find(&selector(token)).map_err(looking)?;
                seen.map(|seen| seen.facts().clone())
                    .ok_or_else(|| stage(1, format!("the token {} is not there", token.name)))
            })?;
        preconditions::stage_1(plan, token, &facts)?;
        identify(self.journal, token, &facts)?;
        preconditions::space(plan, token, &facts)
    }

    /// No ceremony is under way on the token, and nothing has the name of a key to come.
    fn stage_2(&mut self, plan: &Plan, token: &TokenPlan, officer: &Officer) -> Result<(), Error> {
        let marks: Vec<(String, Hex)> =
            self.journal
                .observe(&self.name, &format!("marks/{}", token.name), || {
                    let marks = officer.marks().map_err(looking)?;
                    Ok(marks
                        .into_iter()
                        .map(|(label, value)| (label, Hex(value)))
                        .collect())
                })?;
        judge_marks(self.journal, self.approved, token, &marks, u64::MAX)?;
        for step in older::on(plan, token) {
            older::look(self.journal, &self.name, step, Some(officer))?;
        }
        for key in plan.keys().filter(|key| key.token == token.name) {
            if self.journal.has(key.name.as_str(), "C_GenerateKeyPair") {
                continue;
            }
            let call = format!("clash/{}", key.name);
            let found: PairCount = self.journal.observe(&self.name, &call, || {
                officer.count(Some(&key.label), None).map_err(looking)
            })?;
            if !found.is_none() {
                return Err(stage(
                    2,
                    format!(
                        "the token {} has a key with the label {:?} already",
                        token.name, key.label
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The first thing that is written on a token.
    fn mark(&mut self, token: &TokenPlan, officer: &Officer) -> Result<(), Error> {
        let mark = Mark::of(self.approved, MarkState::Open);
        write_mark(self.journal, &step(token), officer, &mark)
    }
}

fn identify(journal: &mut Journal, token: &TokenPlan, facts: &TokenFacts) -> Result<(), Error> {
    journal.fact(
        &step(token),
        "identity",
        &Identity {
            label: &facts.label,
            serial: &facts.serial,
            manufacturer: &facts.manufacturer,
            model: &facts.model,
        },
    )
}

/// Whether what was written on a token, when it was looked at in the event `at`, allows this ceremony.
fn judge_marks(
    journal: &Journal,
    approved: &ApprovedPlan,
    token: &TokenPlan,
    marks: &[(String, Hex)],
    at: u64,
) -> Result<(), Error> {
    let mut found = Vec::new();
    for (label, Hex(value)) in marks {
        let mark: Mark = serde_json::from_slice(value).map_err(|_| {
            Error::State(format!(
                "the token {} has the object {label:?} of a ceremony, which cannot be read",
                token.name
            ))
        })?;
        found.push(mark);
    }
    let begun = |state| {
        let first = journal.first(&step(token), Mark::of(approved, state).call());
        first.is_some_and(|first| first < at)
    };
    let begun = Begun {
        opened: begun(MarkState::Open),
        closed: begun(MarkState::Finished),
        given_up: begun(MarkState::GivenUp),
    };
    preconditions::marks(token, &Mark::of(approved, MarkState::Open), &found, begun)
}

/// Writes a mark, unless it is there from a call whose answer was lost.
pub(super) fn write_mark(
    journal: &mut Journal,
    step: &str,
    officer: &Officer,
    mark: &Mark,
) -> Result<(), Error> {
    let writing = Error::token("writing the ceremony's mark");
    let value = serde_json_canonicalizer::to_vec(mark).map_err(|error| Error::Internal(error.to_string()))?;
    journal.perform(step, mark.call(), mark, |attempt| {
        let label = mark.label();
        let there = attempt == Attempt::Again
            && officer
                .marks()
                .map_err(looking)?
                .iter()
                .any(|(found, _)| *found == label);
        if !there {
            officer.mark(&label, &value).map_err(writing)?;
        }
        Ok(Done {})
    })?;
    Ok(())
}

impl Mark {
    pub(super) const fn call(&self) -> &'static str {
        match self.state {
            MarkState::Open => "C_CreateObject/open",
            MarkState::Finished => "C_CreateObject/finished",
            MarkState::GivenUp => "C_CreateObject/given-up",
        }
    }
}

/// The step's name of what is done to a token as a whole.
pub(super) fn step(token: &TokenPlan) -> String {
    format!("token-{}", token.name)
}

fn selector(token: &TokenPlan) -> TokenSelector {
    match &token.serial {
        Some(serial) => TokenSelector::Serial(serial.clone()),
        None => TokenSelector::Label(token.label.clone()),
    }
}

fn looking(source: sealwright_hsm::Error) -> Error {
    Error::token("looking at the token")(source)
}
