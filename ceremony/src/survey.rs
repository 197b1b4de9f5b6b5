//! What is on a token, and which transcript explains it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealwright_hsm::ceremony::ObjectSummary;
use sealwright_identity::{Digest, ManualClock, Timestamp};
use sealwright_statement::policy::Name;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files::Files;
use crate::journal::{Event, Journal, Kind};
use crate::outputs::PLAN;
use crate::plan::{LintedPlan, Plan, Step};
use crate::preconditions::stage;
use crate::run::EVENTS;
use crate::verify::verify_files;

/// An object, and the ceremony that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Surveyed {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectSummary,
    /// The ceremony; none when no transcript explains it.
    pub ceremony: Option<String>,
}

/// A transcript that is over and holds, for what it explains.
#[derive(Debug)]
pub(crate) struct Earlier {
    digest: Digest,
    ceremony: String,
    plan: LintedPlan,
    journal: Journal,
}

impl Earlier {
    /// Reads a transcript, which must verify.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let files = Files::read(folder)?;
        let verified = verify_files(&files)?;
        let plan = LintedPlan::read(files.text(PLAN)?)?;
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let journal = Journal::replay_text(files.text(EVENTS)?, plan.digest(), clock)?;
        Ok(Self {
            digest: verified.digest,
            ceremony: verified.ceremony.to_string(),
            plan,
            journal,
        })
    }

    /// The transcripts that the inventories of a plan name, each of which must be in one of the folders.
    pub(crate) fn named<'a>(
        plan: &Plan,
        folders: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Vec<Self>, Error> {
        let inventories = plan.steps.iter().filter_map(|step| match step {
            Step::Inventory(step) => Some(&step.transcripts),
            _ => None,
        });
        let named: BTreeSet<Digest> = inventories.flatten().copied().collect();
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let found = folders
            .map(|folder| Self::read(folder))
            .collect::<Result<Vec<_>, _>>()?;
        match named
            .iter()
            .find(|named| found.iter().all(|one| one.digest != **named))
        {
            None => Ok(found),
            Some(missing) => Err(stage(
                0,
                format!("an inventory names the transcript {missing}: name its folder with --transcript"),
            )),
        }
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// What it explains on a token of the plan in hand.
    pub(crate) fn on(&self, token: &Name, serial: &str) -> Explanation {
        Explanation {
            transcript: self.digest,
            token: token.clone(),
            objects: self.objects(serial),
        }
    }

    fn objects(&self, serial: &str) -> Vec<ObjectSummary> {
        let (events, plan) = (self.journal.events(), self.plan.plan());
        let here = plan
            .tokens
            .iter()
            .filter(|token| serial_of(events, &token.name) == Some(serial));
        here.flat_map(|token| made_on(events, plan, &token.name))
            .collect()
    }
}

/// What an earlier transcript explains on a token, as an inventory writes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explanation {
    pub(crate) transcript: Digest,
    pub(crate) token: Name,
    pub(crate) objects: Vec<ObjectSummary>,
}

/// Holds what a transcript's inventories say of an earlier transcript against that one.
///
/// # Errors
/// When one of them does not verify, no inventory names the earlier one, or it explains something else.
pub fn hold_against(folder: &Path, earlier: &Path) -> Result<(), Error> {
    let (this, earlier) = (Earlier::read(folder)?, Earlier::read(earlier)?);
    let events = this.journal.events();
    let mut named = false;
    for step in &this.plan.plan().steps {
        let Step::Inventory(step) = step else {
            continue;
        };
        let is_it = |event: &&Event| event.step == step.name.as_str() && event.call == "explained";
        let Some(event) = events.iter().find(is_it) else {
            continue;
        };
        let explained: Vec<Explanation> = serde_json::from_value(event.data.clone())
            .map_err(|error| Error::check(step.name.as_str(), error))?;
        for said in explained.iter().filter(|one| one.transcript == earlier.digest) {
            named = true;
            let serial = serial_of(events, &said.token);
            if serial.map(|serial| earlier.on(&said.token, serial)).as_ref() != Some(said) {
                return Err(Error::check(
                    step.name.as_str(),
                    format!(
                        "the transcript {} does not explain what the inventory of {} says",
                        earlier.digest, said.token
                    ),
                ));
            }
        }
    }
    if named {
        return Ok(());
    }
    Err(Error::State(format!(
        "no inventory of the transcript names {}",
        earlier.digest
    )))
}

/// Objects that ceremonies made on the token of a serial number.
#[derive(Clone, Debug, Default)]
pub struct Explained(Vec<(ObjectSummary, String)>);

impl Explained {
    /// Reads transcripts, each of which must verify.
    ///
    /// # Errors
    /// When one does not.
    pub fn by(transcripts: &[impl AsRef<Path>], serial: &str) -> Result<Self, Error> {
        let mut all = Vec::new();
        for folder in transcripts {
            let earlier = Earlier::read(folder.as_ref())?;
            let objects = earlier.objects(serial).into_iter();
            all.extend(objects.map(|object| (object, earlier.ceremony.clone())));
        }
        Ok(Self(all))
    }

    /// Each object with the ceremony that explains it. One explanation is good for one object.
    #[must_use]
    pub fn survey(mut self, objects: Vec<ObjectSummary>) -> Vec<Surveyed> {
        let surveyed = objects.into_iter().map(|object| {
            let at = self.0.iter().position(|(explained, _)| *explained == object);
            let ceremony = at.map(|at| self.0.swap_remove(at).1);
            Surveyed { object, ceremony }
        });
        surveyed.collect()
    }
}

/// The objects that no explanation is left for. One explanation is good for one object.
pub(crate) fn unexplained(objects: &[ObjectSummary], explained: &[ObjectSummary]) -> Vec<ObjectSummary> {
    let mut left = explained.to_vec();
    let odd = objects.iter().filter(|object| {
        let at = left.iter().position(|explained| explained == *object);
        at.map(|at| left.swap_remove(at)).is_none()
    });
    odd.cloned().collect()
}

/// The serial number that a token of the plan had.
pub(crate) fn serial_of<'a>(events: &'a [Event], token: &Name) -> Option<&'a str> {
    let step = format!("token-{token}");
    let is_it = |event: &&Event| event.step == step && event.call == "identity";
    events.iter().find(is_it)?.data.get("serial")?.as_str()
}

/// What events made on a token of their plan.
pub(crate) fn made_on(events: &[Event], plan: &Plan, token: &Name) -> Vec<ObjectSummary> {
    let mut found = Vec::new();
    let step = format!("token-{token}");
    for event in events.iter().filter(|event| event.kind == Kind::Result) {
        if event.step == step
            && let Some(state) = event.call.strip_prefix("C_CreateObject/")
        {
            let label = format!("ceremony {} {}", plan.ceremony, state.replace('-', " "));
            found.push(summary("CKO_DATA", label, None));
        }
    }
    for key in plan.keys().filter(|key| key.token == *token) {
        let asked = |event: &&Event| {
            event.kind == Kind::Intent
                && event.step == key.name.as_str()
                && event.call.starts_with("C_GenerateKeyPair")
        };
        let Some(asked) = events.iter().find(asked) else {
            continue;
        };
        let id = asked.data.get("id").and_then(|id| id.as_str()).map(str::to_owned);
        for class in ["CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY"] {
            found.push(summary(class, key.label.clone(), id.clone()));
        }
    }
    found
}

fn summary(class: &str, label: String, id: Option<String>) -> ObjectSummary {
    ObjectSummary {
        class: class.to_owned(),
        label: Some(label),
        id,
    }
}
