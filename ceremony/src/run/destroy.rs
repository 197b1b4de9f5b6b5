//! Half of a key pair that a crash left: destroyed only where somebody asked for it by the step's name.
//!
//! What is destroyed has the id that the token drew in this very ceremony for a pair whose making has no answer: so no
//! ceremony that is over explains it. It is listed, asked for, and the intent is on the disk before the call.

use sealwright_hsm::ceremony::PairCount;
use sealwright_statement::policy::Name;
use serde::Serialize;

use super::session::Done;
use super::{Hex, Run, nobody, officer};
use crate::error::Error;
use crate::journal::Kind;
use crate::plan::KeyStep;

/// What is about to be destroyed.
#[derive(Serialize)]
struct ToDestroy<'a> {
    token: &'a Name,
    label: &'a str,
    id: &'a Hex,
    private: usize,
    public: usize,
}

impl Run<'_> {
    /// Destroys what is half-made if that was asked for, and follows what was destroyed before.
    pub(super) fn destroy_half_made(&mut self, step: &KeyStep, id: &Hex) -> Result<(), Error> {
        let name = step.name.as_str();
        let mut number = 1_u32;
        loop {
            let (look, call) = (format!("half-made/{number}"), format!("C_DestroyObject/{number}"));
            let asked = self.destroy.as_ref() == Some(&step.name);
            if !self.journal.has(name, &look) && !asked {
                return Ok(());
            }
            if !self.journal.is_answered(name, &call) {
                // One request is good for one pair; what was begun before is brought to its end.
                self.destroy = None;
            }
            self.is_open(name, &look)?;
            let officers = &self.officers;
            let found: PairCount = self.journal.observe(name, &look, || {
                if officers.is_empty() {
                    return Err(nobody(name, &look));
                }
                let officer = officer(officers, &step.token)?;
                let looking = "looking for what is half-made";
                let found = officer
                    .count(Some(&step.label), Some(&id.0))
                    .map_err(Error::token(looking))?;
                let all = officer.count(None, Some(&id.0)).map_err(Error::token(looking))?;
                if all != found {
                    return Err(Error::State(format!(
                        "a key with the id of {name} has another label: nothing was destroyed"
                    )));
                }
                half(name, found)
            })?;
            half(name, found)?;
            if !self.journal.has(name, &call) && !asked {
                // It was looked at, and nobody said yes.
                return Ok(());
            }
            let what = format!(
                "destroy {} private and {} public keys {:?} with the id {} in the token {}",
                found.private,
                found.public,
                step.label,
                hex::encode(&id.0),
                step.token
            );
            self.say(&what);
            self.go(name, &call, &what)?;
            let intent = ToDestroy {
                token: &step.token,
                label: &step.label,
                id,
                private: found.private,
                public: found.public,
            };
            let officers = &self.officers;
            let _: Done = self.journal.perform(name, &call, &intent, |_| {
                let destroying = "destroying what is half-made";
                let officer = officer(officers, &step.token)?;
                officer
                    .destroy_pair(&step.label, &id.0)
                    .map_err(Error::token(destroying))?;
                let left = officer
                    .count(None, Some(&id.0))
                    .map_err(Error::token(destroying))?;
                if left
                    != (PairCount {
                        private: 0,
                        public: 0,
                    })
                {
                    return Err(Error::State(format!(
                        "keys with the id of {name} are still there"
                    )));
                }
                Ok(Done {})
            })?;
            number = number.saturating_add(1);
        }
    }

    /// The pair was asked for, and the token did not say that it made it.
    fn is_open(&self, name: &str, look: &str) -> Result<(), Error> {
        let at = self.journal.first(name, look).unwrap_or(u64::MAX);
        let mut before = self.journal.events().iter().filter(|event| {
            event.sequence < at && event.step == name && event.call.starts_with("C_GenerateKeyPair")
        });
        let begun = before.clone().any(|event| event.kind == Kind::Intent);
        let made = before.any(|event| event.kind == Kind::Result && event.data == "made");
        if begun && !made {
            return Ok(());
        }
        Err(Error::State(format!(
            "the key {name} is not half-made: nothing was destroyed"
        )))
    }
}

/// Neither nothing nor a whole pair.
fn half(name: &str, found: PairCount) -> Result<PairCount, Error> {
    match found {
        PairCount {
            private: 0,
            public: 0,
        }
        | PairCount {
            private: 1,
            public: 1,
        } => Err(Error::State(format!(
            "the key {name} is not half-made: nothing was destroyed"
        ))),
        found => Ok(found),
    }
}
