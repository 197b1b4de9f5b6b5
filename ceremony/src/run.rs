//! The ceremony itself: one straight program over the journal.

mod attestation;
mod certificate;
mod closing;
mod cross;
mod destroy;
mod inventory;
mod key;
mod request;
mod session;
mod sign;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use sealwright_hsm::ceremony::Officer;
use sealwright_statement::policy::Name;
use serde::{Deserialize, Serialize};

pub(crate) use self::closing::{CLOSING, DECLARED, ENDED};
pub use self::closing::{Declared, Finished};
use crate::approval::{ApprovedPlan, Signatory};
use crate::chain::{MadeCertificate, MadeKey};
use crate::error::Error;
use crate::head::{Head, Outcome};
use crate::id::CeremonyId;
use crate::journal::{Journal, JournalError, Note, Subject};
use crate::openssl::{Question, Second};
use crate::outputs::{self, OutputFile};
use crate::plan::{ApproverRosterStep, Plan, Step};
use crate::preconditions::{Place, Prepared, Surroundings};
use crate::room::Room;
use crate::survey::Earlier;

/// The release that this program is of. Another one may lead to other events.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The journal's name in the transcript.
pub(crate) const EVENTS: &str = "events.jsonl";

/// A ceremony behind stage 0: its transcript is begun, nothing of the module has run.
#[derive(Debug)]
pub struct Ceremony {
    prepared: Prepared,
    journal: Journal,
    place: Place,
    destroy: Option<Name>,
}

impl Ceremony {
    /// Passes stage 0, and begins the transcript or opens it again.
    ///
    /// # Errors
    /// When a precondition does not hold, or the folders cannot be used.
    pub fn begin(approved: ApprovedPlan, surroundings: &Surroundings) -> Result<Self, Error> {
        let prepared = Prepared::stage_0(approved, surroundings)?;
        let place = surroundings.place.clone();
        make_folder(&place.transcript, 0o755)?;
        make_folder(&place.state, 0o700)?;
        outputs::write_inputs(&place.transcript, &prepared.approved)?;
        let (path, plan) = (place.transcript.join(EVENTS), prepared.approved.plan().digest());
        let (clock, crash) = (surroundings.clock.clone(), surroundings.crash);
        let journal = if path.exists() {
            Journal::reopen(&path, plan, clock, crash)?
        } else {
            Journal::create(&path, plan, clock, crash)?
        };
        Ok(Self {
            prepared,
            journal,
            place,
            destroy: None,
        })
    }

    /// Destroys first what a crash left of the key pair of a step, after asking; and nothing else.
    #[must_use]
    pub fn destroying(mut self, step: Name) -> Self {
        self.destroy = Some(step);
        self
    }

    /// Does what the plan says, from where the transcript ends.
    ///
    /// # Errors
    /// With the first thing that does not go well. What was done is in the transcript, and the same call goes on.
    pub fn run(self, room: &mut dyn Room) -> Result<Finished, Error> {
        let Self {
            prepared:
                Prepared {
                    approved,
                    module,
                    earlier,
                },
            mut journal,
            place,
            destroy,
        } = self;
        if let Some(step) = &destroy
            && approved.plan().plan().key(step).is_none()
        {
            return Err(Error::State(format!("{step} is no step that makes a key")));
        }
        begin(&mut journal, &approved)?;
        if journal.has(CLOSING, DECLARED) {
            return Err(Error::State(
                "this ceremony was given up: it cannot go on".to_owned(),
            ));
        }
        let officers = session::open(&mut journal, &approved, module, &place, room)?;
        let mut run = Run::new(&approved, journal);
        run.officers = officers;
        run.room = Some(room);
        run.earlier = earlier;
        run.destroy = destroy;
        run.steps()?;
        run.close()?;
        let head = run.head(Outcome::Finished);
        let files = outputs::files(&run)?;
        Ok(Finished::new(place, head, files))
    }

    /// Gives the ceremony up: nothing more is made, and its tokens are told, if they can be reached. What was made
    /// stays where it is, and is for no use.
    ///
    /// # Errors
    /// When it is over already, or a token does not answer.
    pub fn give_up(self, declared: &Declared, room: &mut dyn Room) -> Result<Finished, Error> {
        let Self {
            prepared: Prepared { approved, module, .. },
            mut journal,
            place,
            ..
        } = self;
        if journal.has(CLOSING, ENDED) {
            return Err(Error::State("this ceremony is over".to_owned()));
        }
        begin(&mut journal, &approved)?;
        journal.fact(CLOSING, DECLARED, declared)?;
        let officers = if declared.tokens_told {
            session::reopen(&mut journal, &approved, module, &place, room)?
        } else {
            BTreeMap::new()
        };
        let mut run = Run::new(&approved, journal);
        run.officers = officers;
        run.end(declared)?;
        let head = run.head(declared.outcome);
        Ok(Finished::new(place, head, Vec::new()))
    }
}

/// What a journal led to.
pub(crate) struct Followed {
    pub(crate) head: Head,
    pub(crate) files: Vec<OutputFile>,
    pub(crate) certificates: Vec<MadeCertificate>,
    /// Where it stopped on its way, or for good.
    pub(crate) stops: Vec<String>,
}

/// Runs the program over a journal that is whole, without a token: whatever it holds must be what the plan leads to.
pub(crate) fn follow(approved: &ApprovedPlan, mut journal: Journal) -> Result<Followed, Error> {
    begin(&mut journal, approved)?;
    journal.follow_notes()?;
    let declared: Option<Declared> = journal.follow_fact(CLOSING, DECLARED)?;
    let mut stops = session::follow(&mut journal, approved, declared.is_some())?;
    let mut run = Run::new(approved, journal);
    let (outcome, files) = match &declared {
        None => {
            run.steps()?;
            run.close()?;
            (Outcome::Finished, outputs::files(&run)?)
        }
        Some(declared) => {
            match run.steps().and_then(|()| run.confirm_all()) {
                // Here it was given up.
                Ok(()) | Err(Error::Journal(JournalError::Missing { .. })) => {}
                // Here a check failed, and whoever ran it had to give it up. What comes after it is unexplained.
                Err(
                    error @ (Error::Attributes { .. }
                    | Error::Lint { .. }
                    | Error::Check { .. }
                    | Error::State(_)),
                ) => stops.push(format!(
                    "it stopped where a check failed: {}",
                    crate::transcript::chain(&error)
                )),
                Err(error) => return Err(error),
            }
            run.end(declared)?;
            (declared.outcome, Vec::new())
        }
    };
    let head = run.head(outcome);
    if let Some(event) = run.journal.unexplained() {
        return Err(Error::check(
            &event.step,
            format!(
                "event {} ({}) is not one that the plan leads to",
                event.sequence, event.call
            ),
        ));
    }
    // Also by the paths over cross-certificates.
    let mut certificates: Vec<_> = run.crossed().into_iter().map(|crossed| crossed.made).collect();
    certificates.extend(run.certificates.into_values());
    Ok(Followed {
        head,
        files,
        certificates,
        stops,
    })
}

/// The first fact: what this transcript is of.
fn begin(journal: &mut Journal, approved: &ApprovedPlan) -> Result<(), Error> {
    let plan = approved.plan().plan();
    journal.fact(
        "begin",
        "plan",
        &Beginning {
            ceremony: plan.ceremony,
            title: plan.title.clone(),
            rehearsal: plan.rehearsal,
            plan: approved.plan().digest(),
            roster: approved.roster().digest(),
            previous_transcript: plan.previous_transcript,
            signatories: approved.signatories().to_vec(),
        },
    )?;
    journal.observe("begin", "program", || {
        let path = Path::new("/proc/self/exe");
        Ok(Program {
            version: RELEASE.to_owned(),
            digest: sealwright_hsm::ceremony::hash_file(path).map_err(Error::files(path))?,
        })
    })?;
    Ok(())
}

/// The release of the program that ran first, as a journal says.
pub(crate) fn release(journal: &Journal) -> Option<String> {
    let mut events = journal.events().iter();
    let program = events.find(|event| event.step == "begin" && event.call == "program")?;
    Some(program.data.get("version")?.as_str()?.to_owned())
}

#[derive(Serialize)]
struct Beginning {
    ceremony: CeremonyId,
    title: String,
    rehearsal: bool,
    plan: sealwright_identity::Digest,
    roster: sealwright_identity::Digest,
    previous_transcript: Option<sealwright_identity::Digest>,
    signatories: Vec<Signatory>,
}

#[derive(Serialize)]
struct ApproverRosterFact {
    roster: sealwright_identity::Digest,
    threshold: u64,
}

/// The program that ran.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    version: String,
    digest: sealwright_identity::Digest,
}

/// The program's state. Without officers and room it can only follow a journal.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) approved: &'a ApprovedPlan,
    pub(crate) journal: Journal,
    officers: BTreeMap<Name, Officer>,
    room: Option<&'a mut dyn Room>,
    earlier: Vec<Earlier>,
    /// The key whose half-made pair is to be destroyed.
    destroy: Option<Name>,
    pub(crate) keys: BTreeMap<Name, MadeKey>,
    pub(crate) certificates: BTreeMap<Name, MadeCertificate>,
    pub(crate) requests: BTreeMap<Name, Vec<u8>>,
    pub(crate) possession: BTreeMap<Name, Vec<u8>>,
    pub(crate) confirmations: BTreeMap<Name, Vec<u8>>,
    /// What vendors say of keys: the file in the transcript, and what is in it.
    pub(crate) attestations: BTreeMap<Name, (String, Vec<u8>)>,
    /// The armoured roster of those who approve policies.
    pub(crate) approvers: Option<(Name, String)>,
}

impl<'a> Run<'a> {
    fn new(approved: &'a ApprovedPlan, journal: Journal) -> Self {
        Self {
            plan: approved.plan().plan(),
            approved,
            journal,
            officers: BTreeMap::new(),
            room: None,
            earlier: Vec::new(),
            destroy: None,
            keys: BTreeMap::new(),
            certificates: BTreeMap::new(),
            requests: BTreeMap::new(),
            possession: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            attestations: BTreeMap::new(),
            approvers: None,
        }
    }
}

impl Run<'_> {
    fn steps(&mut self) -> Result<(), Error> {
        let plan = self.plan;
        let all = plan.steps.len();
        for (step, number) in plan.steps.iter().zip(1..) {
            self.say(&format!(
                "step {number} of {all}: {} {}",
                step.kind(),
                step.name()
            ));
            match step {
                Step::Key(step) => self.key(step)?,
                Step::Root(step) => self.root(step)?,
                Step::Intermediate(step) => self.intermediate(step)?,
                Step::CrossCertificate(step) => self.cross(step)?,
                Step::Csr(step) => self.csr(step)?,
                Step::ImportCertificate(step) => self.import(step)?,
                Step::ApproverRoster(step) => self.approver_roster(step)?,
                Step::Inventory(step) => self.inventory(step)?,
                Step::Checkpoint(step) => self.checkpoint(step.name.as_str())?,
            }
            if let Step::Root(_)
            | Step::Intermediate(_)
            | Step::CrossCertificate(_)
            | Step::ImportCertificate(_) = step
            {
                self.validate_crossed()?;
            }
        }
        Ok(())
    }

    /// The plan holds it, so whoever agreed to the plan agreed to it.
    fn approver_roster(&mut self, step: &ApproverRosterStep) -> Result<(), Error> {
        let name = step.name.as_str();
        let roster = step
            .read()
            .map_err(|error| Error::check(name, crate::transcript::chain(&error)))?;
        let fact = ApproverRosterFact {
            roster: roster.statement.digest(),
            threshold: roster.statement.threshold,
        };
        self.journal.fact(name, "roster", &fact)?;
        self.say(&format!("the approvers of policies: {}", fact.roster));
        self.approvers = Some((step.name.clone(), roster.to_string()));
        Ok(())
    }

    /// The head is read aloud, and confirmed.
    fn checkpoint(&mut self, step: &str) -> Result<(), Error> {
        if let Some(room) = &mut self.room
            && !self.journal.is_answered(step, "head")
        {
            for text in room.remarks()? {
                self.journal.note(&Note {
                    subject: Subject::Remark,
                    text,
                    file: None,
                })?;
            }
        }
        let head = self.journal.checkpoint(step)?;
        let room = &mut self.room;
        self.journal.observe(step, "confirmed", || {
            let room = room.as_mut().ok_or_else(|| nobody(step, "confirmed"))?;
            room.confirm("the transcript's head", &head)
        })?;
        Ok(())
    }

    fn head(&self, outcome: Outcome) -> Head {
        Head {
            ceremony: self.plan.ceremony,
            rehearsal: self.plan.rehearsal,
            plan: self.approved.plan().digest(),
            roster: self.approved.roster().digest(),
            outcome,
            events: u64::try_from(self.journal.events().len()).unwrap_or(u64::MAX),
            head: self.journal.head(),
        }
    }

    fn say(&mut self, line: &str) {
        if let Some(room) = &mut self.room {
            room.say(line);
        }
    }

    /// The second verifier. A rehearsal goes on without it, and says so; so does a ceremony in earnest where the
    /// program is too old for ML-DSA, as another implementation has verified the signature.
    fn second(&mut self, step: &str, call: &str, question: &Question<'_>) -> Result<(), Error> {
        let rehearsal = self.plan.rehearsal;
        let second = self
            .journal
            .observe(step, call, || Second::of(rehearsal, question))?;
        match second {
            Second::Witnessed(_) => Ok(()),
            Second::One(why) if rehearsal || (question.knows_ml_dsa() && why.is_too_old()) => {
                self.say(&format!("one verifier: {}", why.one_verifier));
                Ok(())
            }
            Second::One(_) => Err(Error::check(step, "one verifier is enough for a rehearsal only")),
        }
    }

    /// Asks before something that cannot be undone, unless it is done.
    fn go(&mut self, step: &str, call: &str, what: &str) -> Result<(), Error> {
        match &mut self.room {
            Some(room) if !self.journal.is_answered(step, call) => room.go(what),
            _ => Ok(()),
        }
    }

    fn made_key(&self, name: &Name) -> Result<MadeKey, Error> {
        let key = self.keys.get(name).cloned();
        key.ok_or_else(|| Error::Internal(format!("the key {name} is not made yet")))
    }
}

fn officer<'o>(officers: &'o BTreeMap<Name, Officer>, token: &Name) -> Result<&'o Officer, Error> {
    officers
        .get(token)
        .ok_or_else(|| Error::Internal(format!("nobody is logged in to the token {token}")))
}

fn nobody(step: &str, call: &str) -> Error {
    JournalError::Missing {
        step: step.to_owned(),
        call: call.to_owned(),
    }
    .into()
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(Error::files(path))
}

/// Bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Random bytes that the token is asked for.
#[derive(Serialize)]
struct Draw<'a> {
    token: &'a Name,
    octets: u32,
    of: &'static str,
}
