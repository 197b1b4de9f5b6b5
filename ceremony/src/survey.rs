//! What is on a token, and which transcript explains it.

use std::path::Path;
use std::sync::Arc;

use sealwright_hsm::ceremony::ObjectSummary;
use sealwright_identity::{ManualClock, Timestamp};
use serde::Serialize;

use crate::error::Error;
use crate::journal::{Event, Journal, Kind};
use crate::outputs::PLAN;
use crate::plan::LintedPlan;
use crate::run::EVENTS;
use crate::transcript::text;
use crate::verify::verify;

/// An object, and the ceremony that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Surveyed {
    /// The object.
    #[serde(flatten)]
    pub object: ObjectSummary,
    /// The ceremony; none when no transcript explains it.
    pub ceremony: Option<String>,
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
            let folder = folder.as_ref();
            let verified = verify(folder)?;
            let plan = LintedPlan::read(&text(folder, PLAN)?)?;
            let clock = Arc::new(ManualClock::at(Timestamp::default()));
            let journal = Journal::replay(&folder.join(EVENTS), plan.digest(), clock)?;
            let id = verified.ceremony.to_string();
            for object in objects(&journal, &plan, serial) {
                all.push((object, id.clone()));
            }
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

fn objects(journal: &Journal, plan: &LintedPlan, serial: &str) -> Vec<ObjectSummary> {
    let mut found = Vec::new();
    for token in &plan.plan().tokens {
        let step = format!("token-{}", token.name);
        let is_it = |event: &&Event| event.step == step && event.call == "identity";
        let identity = journal.events().iter().find(is_it);
        let here = identity.is_some_and(|event| event.data.get("serial").is_some_and(|told| told == serial));
        if !here {
            continue;
        }
        for event in journal.events().iter().filter(|event| event.kind == Kind::Intent) {
            if event.step == step
                && let Some(state) = event.call.strip_prefix("C_CreateObject/")
                && journal.is_answered(&step, &event.call)
            {
                let label = format!("ceremony {} {}", plan.plan().ceremony, state.replace('-', " "));
                let mark = summary("CKO_DATA", label, None);
                // Asked for again after a crash: there is one all the same.
                if !found.contains(&mark) {
                    found.push(mark);
                }
            }
        }
        for key in plan.plan().keys().filter(|key| key.token == token.name) {
            let made = |event: &&Event| {
                event.step == key.name.as_str() && event.call.starts_with("C_GenerateKeyPair")
            };
            let id = journal
                .events()
                .iter()
                .find(made)
                .and_then(|event| event.data.get("id"));
            let id = id.and_then(|id| id.as_str()).map(str::to_owned);
            for class in ["CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY"] {
                found.push(summary(class, key.label.clone(), id.clone()));
            }
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
