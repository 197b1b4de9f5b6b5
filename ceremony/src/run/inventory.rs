//! Every object of tokens, and what explains it.

use sealwright_hsm::ceremony::ObjectSummary;
use sealwright_statement::policy::Name;
use serde::{Deserialize, Serialize};

use super::{Run, officer};
use crate::error::Error;
use crate::plan::{InventoryStep, Unexplained};
use crate::survey::{Explanation, made_on, serial_of, unexplained};

#[derive(Serialize)]
struct ToFind<'a> {
    token: &'a Name,
    unexplained: Unexplained,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    objects: Vec<ObjectSummary>,
}

impl Run<'_> {
    pub(super) fn inventory(&mut self, step: &InventoryStep) -> Result<(), Error> {
        let explanations = self.explanations(step)?;
        for token in &self.plan.tokens {
            if step.covers(&token.name) {
                self.inventory_of(step, &token.name, &explanations)?;
            }
        }
        Ok(())
    }

    /// What the named transcripts explain, as it was read from them while the ceremony ran.
    fn explanations(&mut self, step: &InventoryStep) -> Result<Vec<Explanation>, Error> {
        let name = step.name.as_str();
        let mut wanted = Vec::new();
        for transcript in &step.transcripts {
            let tokens = self.plan.tokens.iter().filter(|token| step.covers(&token.name));
            wanted.extend(tokens.map(|token| (*transcript, token.name.clone())));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut explained = Vec::new();
        for (transcript, token) in &wanted {
            let earlier = self.earlier.iter().find(|one| one.digest() == *transcript);
            let serial = serial_of(self.journal.events(), token);
            if let (Some(earlier), Some(serial)) = (earlier, serial) {
                explained.push(earlier.on(token, serial));
            }
        }
        let explained: Vec<Explanation> = self.journal.observe(name, "explained", || Ok(explained))?;
        let named = explained.iter().map(|one| (one.transcript, one.token.clone()));
        if !named.eq(wanted) {
            return Err(Error::check(
                name,
                "what is explained is not by the transcripts that the plan names",
            ));
        }
        Ok(explained)
    }

    fn inventory_of(
        &mut self,
        step: &InventoryStep,
        token: &Name,
        explanations: &[Explanation],
    ) -> Result<(), Error> {
        let name = step.name.as_str();
        let call = format!("C_FindObjects/{token}");
        // What this ceremony made until it looked for the first time.
        let events = self.journal.events();
        let until = self.journal.first(name, &call);
        let until = until
            .and_then(|at| usize::try_from(at).ok())
            .unwrap_or(events.len());
        let mut explained = made_on(events.get(..until).unwrap_or_default(), self.plan, token);
        let earlier = explanations.iter().filter(|one| one.token == *token);
        explained.extend(earlier.flat_map(|one| one.objects.iter().cloned()));
        let odd = |objects: &[ObjectSummary]| -> Result<Vec<ObjectSummary>, Error> {
            let odd = unexplained(objects, &explained);
            if odd.is_empty() || step.unexplained == Unexplained::Record {
                return Ok(odd);
            }
            let list: Vec<_> = odd.iter().map(told).collect();
            Err(Error::State(format!(
                "nothing explains these objects of the token {token}: {}",
                list.join("; ")
            )))
        };
        let intent = ToFind {
            token,
            unexplained: step.unexplained,
        };
        let officers = &self.officers;
        let found: Found = self.journal.perform(name, &call, &intent, |_| {
            let objects = officer(officers, token)?
                .inventory()
                .map_err(Error::token("listing the objects"))?;
            odd(&objects)?;
            Ok(Found { objects })
        })?;
        let exceptions = odd(&found.objects)?;
        self.journal
            .fact(name, &format!("unexplained/{token}"), &exceptions)?;
        self.say(&format!(
            "{} objects in the token {token}, {} of them explained by nothing",
            found.objects.len(),
            exceptions.len()
        ));
        for object in &exceptions {
            self.say(&format!("explained by nothing: {}", told(object)));
        }
        Ok(())
    }
}

fn told(object: &ObjectSummary) -> String {
    format!(
        "{} {:?} with the id {}",
        object.class,
        object.label.as_deref().unwrap_or_default(),
        object.id.as_deref().unwrap_or("none")
    )
}
