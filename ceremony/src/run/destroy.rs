//! Half of a key pair that a crash left: destroyed only where somebody asked for it by the step's name.
//!
//! What is destroyed has the id that the token drew in this very ceremony for a pair whose making has no answer: so no
//! ceremony that is over explains it. It is listed, asked for, and the intent is on the disk before the call.

use std::collections::BTreeMap;

use sealwright_hsm::ceremony::{Officer, PairCount};
use sealwright_statement::policy::Name;
use serde::Serialize;

use super::session::Done;
use super::{Hex, Run, officer};
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
            let found = self
                .journal
                .observe(name, &look, || half(name, count(officers, step, id)?))?;
            half(name, found)?;
            if !self.journal.has(name, &call) && !asked {
                // It was looked at, and nobody said yes.
                return Ok(());
            }
            // Since then the pair may have been made.
            self.is_open(name, &call)?;
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
            self.is_there(step, id, &call, found)?;
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
                if !left.is_none() {
                    return Err(Error::State(format!(
                        "keys with the id of {name} are still there"
                    )));
                }
                Ok(Done {})
            })?;
            number = number.saturating_add(1);
        }
    }

    /// The token has what was seen, which may be long ago; where it was begun to destroy that, no more than that.
    fn is_there(&self, step: &KeyStep, id: &Hex, call: &str, seen: PairCount) -> Result<(), Error> {
        let name = step.name.as_str();
        if self.officers.is_empty() || self.journal.is_answered(name, call) {
            return Ok(());
        }
        let now = count(&self.officers, step, id)?;
        let less = now.private <= seen.private && now.public <= seen.public;
        if now == seen || (less && self.journal.has(name, call)) {
            return Ok(());
        }
        Err(Error::State(format!(
            "the token {} has {} private and {} public keys with the id of {name} now, which is not what was seen: \
             nothing was destroyed; go on without --destroy, or clear it away with the token's own tool",
            step.token, now.private, now.public
        )))
    }

    /// The pair was asked for, and the token did not say that it made it.
    fn is_open(&self, name: &str, until: &str) -> Result<(), Error> {
        let at = self.journal.first(name, until).unwrap_or(u64::MAX);
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

/// What has the id of a key; that all of it has the key's label, too.
fn count(officers: &BTreeMap<Name, Officer>, step: &KeyStep, id: &Hex) -> Result<PairCount, Error> {
    let officer = officer(officers, &step.token)?;
    let of = |label| {
        let counted = officer.count(label, Some(&id.0));
        counted.map_err(Error::token("looking for what is half-made"))
    };
    let found = of(Some(&step.label))?;
    if of(None)? == found {
        return Ok(found);
    }
    Err(Error::State(format!(
        "a key with the id of {} has another label: nothing was destroyed",
        step.name
    )))
}

/// One kind of half, and nothing of the other: where both are there, a whole pair is.
fn half(name: &str, found: PairCount) -> Result<PairCount, Error> {
    if (found.private == 0) != (found.public == 0) {
        return Ok(found);
    }
    Err(Error::State(format!(
        "the key {name} is not half-made: nothing was destroyed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_both_halves_are_there_nothing_is_half_made() {
        for (private, public, halved) in [
            (1, 0, true),
            (0, 1, true),
            (2, 0, true),
            (0, 0, false),
            (1, 1, false),
            (1, 2, false),
            (2, 2, false),
        ] {
            assert_eq!(half("key", PairCount { private, public }).is_ok(), halved);
        }
    }
}
