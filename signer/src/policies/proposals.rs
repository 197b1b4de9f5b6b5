//! Proposed sets: which one is meant, and putting it in force.

use sealwright_identity::Digest;
use sealwright_proto::gate::{PolicyState, PolicyTaken};
use sealwright_statement::policy::Set;
use sealwright_statement::{Signed, Statement as _};

use super::error::Refusal;
use super::{PolicyAdministration, deadline, digest};

impl PolicyAdministration {
    /// The proposal of that digest, or the only one. A rollback is named: nobody brings one about by leaving a
    /// name out.
    pub(super) async fn proposal(&self, state: &PolicyState, wanted: &str) -> Result<Digest, Refusal> {
        if !wanted.is_empty() {
            return digest(wanted);
        }
        let (mut proposals, mut rollbacks) = (Vec::new(), 0_usize);
        for staged in state.staged.iter().filter(|staged| staged.r#type == Set::TYPE) {
            let named = digest(&staged.digest)?;
            let set: Signed<Set> = self.statement(named).await?;
            match set.statement.restores {
                Some(_) => rollbacks += 1,
                None => proposals.push(named),
            }
        }
        match &proposals[..] {
            [only] => Ok(*only),
            [] if rollbacks > 0 => Err(Refusal::Missing(
                "only rollbacks are proposed: name the one that is meant".to_owned(),
            )),
            [] => Err(Refusal::Missing("nothing is proposed".to_owned())),
            several => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                let several = several.join(", ");
                Err(Refusal::Missing(format!(
                    "several sets are proposed, name one: {several}"
                )))
            }
        }
    }

    /// Compiles every module of a set, has the gate put it in force, and waits until it is here too.
    pub(super) async fn put_in_force(&self, set: &Signed<Set>) -> Result<PolicyTaken, Refusal> {
        // Before the switch, so that it costs no request.
        self.sets.prepare(&set.statement, deadline()).await?;
        let taken = self.enact(&set.statement.digest().to_string()).await?;
        let number = set.statement.number;
        if !self.sets.reached(number, deadline()).await {
            return Err(Refusal::NotHere(number));
        }
        Ok(taken)
    }
}
