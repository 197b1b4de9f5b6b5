//! What must hold before anything is made: stage 0 before the module is loaded, stage 1 before anybody logs in,
//! stage 2 after it. Each stage is made by the one before alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sealwright_hsm::ceremony::{ModuleFile, TokenFacts, mechanism_name};
use sealwright_identity::SharedClock;
use serde::{Deserialize, Serialize};

use crate::approval::ApprovedPlan;
use crate::error::Error;
use crate::hands;
use crate::id::CeremonyId;
use crate::journal::Crash;
use crate::older::{self, Older};
use crate::outputs::ROSTER;
use crate::plan::{Plan, Step, TokenPlan};
use crate::roster::{Role, Roster};
use crate::survey::Earlier;
use crate::transcript::text;

/// Where a ceremony leaves things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The transcript: all of it is public.
    pub transcript: PathBuf,
    /// What must outlive a restart and is not public: the PIN marker.
    pub state: PathBuf,
}

/// What a ceremony has around it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where it leaves things.
    pub place: Place,
    /// The transcript before, where the plan names one.
    pub previous: Option<PathBuf>,
    /// The transcripts that the plan's inventories name.
    pub transcripts: Vec<PathBuf>,
    /// Whether it goes on where it was cut off.
    pub resume: bool,
    /// The time of day.
    pub clock: SharedClock,
    /// Where a rehearsal is cut off, for its tests.
    pub crash: Crash,
}

/// Stage 0 passed: the module's file is open, hashed and as the plan says.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) approved: ApprovedPlan,
    pub(crate) module: ModuleFile,
    /// What earlier ceremonies explain, for the plan's inventories.
    pub(crate) earlier: Vec<Earlier>,
}

impl Prepared {
    pub(crate) fn stage_0(approved: ApprovedPlan, surroundings: &Surroundings) -> Result<Self, Error> {
        let plan = approved.plan().plan();
        if surroundings.crash != Crash::default() && !plan.rehearsal {
            return Err(stage(0, "only a rehearsal is cut off on purpose"));
        }
        in_line(&approved, surroundings.previous.as_deref())?;
        let folders = surroundings.transcripts.iter().chain(&surroundings.previous);
        let earlier = Earlier::named(plan, folders)?;
        let transcript = &surroundings.place.transcript;
        let used = std::fs::read_dir(transcript).is_ok_and(|mut entries| entries.next().is_some());
        if used != surroundings.resume {
            let path = transcript.display();
            return Err(stage(
                0,
                if used {
                    format!("{path} is not empty: name another folder, or go on there with --resume")
                } else {
                    format!("{path} has no transcript to go on with: leave out --resume")
                },
            ));
        }
        let path = Path::new(&plan.module.path);
        let module = ModuleFile::open(path).map_err(Error::token("opening the module's file"))?;
        if let Some(planned) = plan.module.digest.filter(|planned| *planned != module.digest()) {
            return Err(stage(
                0,
                format!(
                    "{} is {}, by the plan it is {planned}",
                    path.display(),
                    module.digest()
                ),
            ));
        }
        Ok(Self {
            approved,
            module,
            earlier,
        })
    }
}

/// The ceremony follows the one that its plan names: that transcript holds, and where the roster changed since, enough
/// operators of the roster before agreed to this plan.
fn in_line(approved: &ApprovedPlan, previous: Option<&Path>) -> Result<(), Error> {
    let (planned, folder) = match (approved.plan().plan().previous_transcript, previous) {
        (None, None) if approved.roster().previous.is_none() => return Ok(()),
        (Some(planned), Some(folder)) => (planned, folder),
        (None, _) => {
            return Err(stage(
                0,
                "the plan names no `previous_transcript`: only the first ceremony, by the first roster, has none",
            ));
        }
        (Some(planned), None) => {
            return Err(stage(
                0,
                format!("the plan follows the transcript {planned}: name its folder with --previous"),
            ));
        }
    };
    let before = crate::verify::verify(folder)?;
    if before.digest != planned {
        return Err(stage(
            0,
            format!(
                "{} is {}, the plan follows {planned}",
                folder.display(),
                before.digest
            ),
        ));
    }
    let roster = Roster::read(&text(folder, ROSTER)?)?;
    if approved.roster().digest() == roster.digest() {
        return Ok(());
    }
    if approved.roster().previous != Some(roster.digest()) {
        return Err(stage(
            0,
            "the roster does not follow that of the transcript before",
        ));
    }
    let mut agreed = BTreeSet::new();
    for approval in approved
        .approvals()
        .iter()
        .filter(|approval| approval.statement.role == Role::Operator)
    {
        // The signatures were judged; here it only counts whose they were before.
        let people = approval
            .signatures
            .iter()
            .filter_map(|signature| roster.owner(&signature.key));
        agreed.extend(
            people
                .filter(|person| person.roles.contains(&Role::Operator))
                .map(|person| &person.name),
        );
    }
    if u64::try_from(agreed.len()).unwrap_or(u64::MAX) < roster.threshold {
        return Err(stage(
            0,
            format!(
                "the roster changed, and {} of {} operators of the one before agreed to it",
                agreed.len(),
                roster.threshold
            ),
        ));
    }
    Ok(())
}

/// Stage 1, for one token: it is the planned one, writable, ready for a login, and can do what the plan asks for.
pub(crate) fn stage_1(plan: &Plan, token: &TokenPlan, facts: &TokenFacts) -> Result<(), Error> {
    let name = &token.name;
    if facts.label != token.label {
        return Err(stage(
            1,
            format!(
                "the token {name} has the label {:?}, by the plan {:?}",
                facts.label, token.label
            ),
        ));
    }
    if let Some(serial) = token.serial.as_ref().filter(|serial| **serial != facts.serial) {
        return Err(stage(
            1,
            format!(
                "the token {name} has the serial number {}, by the plan {serial}",
                facts.serial
            ),
        ));
    }
    if facts.write_protected {
        return Err(stage(1, format!("the token {name} is write-protected")));
    }
    hands::entry(token, facts)?;
    can(plan, token, facts)
}

/// The same for a slot that is free, where it tells. One that does not is judged by [`can`] once it is a token, and before
/// anything else is made there.
pub(crate) fn can_become(plan: &Plan, token: &TokenPlan, free: &TokenFacts) -> Result<(), Error> {
    if free.mechanisms.is_empty() {
        return Ok(());
    }
    can(plan, token, free)
}

/// Whether a token has the mechanisms that the plan's keys on it need.
pub(crate) fn can(plan: &Plan, token: &TokenPlan, facts: &TokenFacts) -> Result<(), Error> {
    for key in plan.keys().filter(|key| key.token == token.name) {
        let (generation, signature) = mechanism_name(key.algorithm)
            .ok_or_else(|| stage(1, format!("keys of the type {} are not made", key.algorithm)))?;
        for mechanism in [generation, signature] {
            if !facts.mechanisms.contains(&mechanism) {
                return Err(stage(
                    1,
                    format!(
                        "the token {} has no {mechanism}, which the key {} needs",
                        token.name, key.name
                    ),
                ));
            }
        }
    }
    for step in older::on(plan, token) {
        let older = Older::read(step).ok();
        let needed = older.and_then(|older| mechanism_name(older.key.key_type));
        if let Some((_, mechanism)) = needed.filter(|(_, one)| !facts.mechanisms.contains(one)) {
            return Err(stage(
                1,
                format!(
                    "the token {} has no {mechanism}, which the older key of {} needs",
                    token.name, step.name
                ),
            ));
        }
    }
    Ok(())
}

/// Room that a key pair and a mark take at the most, in bytes.
const ROOM: u64 = 8 * 1024;

/// Stage 2: whether there is room for what the plan makes on the token.
pub(crate) fn space(plan: &Plan, token: &TokenPlan, facts: &TokenFacts) -> Result<(), Error> {
    let objects = plan.keys().filter(|key| key.token == token.name).count() + 1;
    let needed = ROOM.saturating_mul(u64::try_from(objects).unwrap_or(u64::MAX));
    match facts.free_private_bytes {
        Some(free) if free < needed => Err(stage(
            2,
            format!(
                "the token {} has room for {free} bytes, {needed} may be needed",
                token.name
            ),
        )),
        _ => Ok(()),
    }
}

/// What a ceremony wrote on a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    /// Which ceremony.
    pub(crate) ceremony: CeremonyId,
    /// Its plan.
    pub(crate) plan: sealwright_identity::Digest,
    /// Begun, or over.
    pub(crate) state: MarkState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MarkState {
    Open,
    Finished,
    #[serde(rename = "given-up")]
    GivenUp,
}

impl Mark {
    pub(crate) fn of(approved: &ApprovedPlan, state: MarkState) -> Self {
        Self {
            ceremony: approved.plan().plan().ceremony,
            plan: approved.plan().digest(),
            state,
        }
    }

    pub(crate) fn label(&self) -> String {
        let state = match self.state {
            MarkState::Open => "open",
            MarkState::Finished => "finished",
            MarkState::GivenUp => "given up",
        };
        format!("ceremony {} {state}", self.ceremony)
    }
}

/// What the transcript in hand knows of the marks on a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// It was about to write the first.
    pub(crate) opened: bool,
    /// It was about to write the last.
    pub(crate) closed: bool,
    /// It was about to write that it is given up.
    pub(crate) given_up: bool,
}

/// Stage 2: no other ceremony is under way on the token, and this one has not been there without this transcript.
pub(crate) fn marks(token: &TokenPlan, plan: &Mark, found: &[Mark], begun: Begun) -> Result<(), Error> {
    let name = &token.name;
    let over: BTreeSet<_> = found
        .iter()
        .filter(|mark| mark.state != MarkState::Open)
        .map(|mark| mark.ceremony)
        .collect();
    for mark in found {
        let own = mark.ceremony == plan.ceremony;
        match mark.state {
            _ if own && mark.plan != plan.plan => {
                return Err(Error::State(format!(
                    "the token {name} knows the ceremony {} with another plan",
                    mark.ceremony
                )));
            }
            MarkState::Finished if own && !begun.closed => {
                return Err(Error::State(format!(
                    "this plan has run on the token {name} already; a plan runs once"
                )));
            }
            MarkState::Open if own && !begun.opened => {
                return Err(Error::State(format!(
                    "this plan was begun on the token {name}, and its transcript is not here: go on where it is"
                )));
            }
            MarkState::Open if !own && !over.contains(&mark.ceremony) => {
                return Err(Error::State(format!(
                    "the ceremony {} is not over on the token {name}: finish it, or declare it failed",
                    mark.ceremony
                )));
            }
            MarkState::GivenUp if own && !begun.given_up => {
                return Err(Error::State(format!(
                    "this plan was given up on the token {name}: draw a new ceremony id for another try"
                )));
            }
            MarkState::Open | MarkState::Finished | MarkState::GivenUp => {}
        }
    }
    Ok(())
}

/// Whether the plan makes anything on a token.
pub(crate) fn uses(plan: &Plan, token: &TokenPlan) -> bool {
    plan.keys().any(|key| key.token == token.name)
        || plan.steps.iter().any(|step| match step {
            Step::ImportCertificate(step) => step.token == token.name,
            Step::CrossCertificate(step) => step.token == token.name,
            Step::Inventory(step) => step.covers(&token.name),
            _ => false,
        })
}

pub(crate) fn stage(stage: u8, problem: impl Into<String>) -> Error {
    Error::Precondition {
        stage,
        problem: problem.into(),
    }
}
