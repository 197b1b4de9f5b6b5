//! Stage 2: the key of a CA from before is in its token, and it is the one that the plan's certificate is of.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::journal::Journal;
use crate::older::Older;
pub(super) use crate::older::on;
use crate::plan::CrossStep;
use crate::preconditions::stage;
use crate::run::{Hex, nobody};
use crate::transcript::chain;
use sealwright_hsm::ceremony::Officer;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    spki: Hex,
}

pub(super) fn call(step: &CrossStep) -> String {
    format!("older/{}", step.name)
}

/// Looks for the key, or at what was found.
pub(super) fn look(
    journal: &mut Journal,
    session: &str,
    step: &CrossStep,
    officer: Option<&Officer>,
) -> Result<(), Error> {
    let older = Older::read(step).map_err(|error| Error::check(step.name.as_str(), chain(&error)))?;
    let judge = |spki: &[u8]| {
        if spki == older.key.spki {
            return Ok(());
        }
        Err(stage(
            2,
            format!(
                "the key {:?} in the token {} is not the one of the older certificate of {}",
                step.label, step.token, step.name
            ),
        ))
    };
    let call = call(step);
    let found: Found = journal.observe(session, &call, || {
        let officer = officer.ok_or_else(|| nobody(session, &call))?;
        let key = officer.key(&step.label, &older.key.id);
        let key = key.map_err(Error::token(format!("finding the older key {:?}", step.label)))?;
        // What is not as planned is not written down: the next start looks again.
        judge(key.spki_der())?;
        Ok(Found {
            spki: Hex(key.spki_der().to_vec()),
        })
    })?;
    judge(&found.spki.0)
}
