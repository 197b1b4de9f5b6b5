//! What only people do at a token: they type its PINs at a pad of its own, or open it by a quorum of its own.
//!
//! None of it passes through this program, and no token proves it. It is waited for, and what stands in the transcript is
//! what people said: each text here says so.

use std::collections::BTreeSet;

use sealwright_hsm::ceremony::TokenFacts;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::journal::{Event, Journal, Kind};
use crate::plan::{HsmQuorum, PinEntry, TokenPlan};
use crate::preconditions::stage;

/// The event that tells of a pad, by itself or before the token's name.
pub(crate) const PAD: &str = "pad";

/// The events that tell of a token's own quorum, before the token's name.
pub(crate) const QUORUM: &str = "quorum";

/// What people said that was done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attested {
    what: String,
    /// How somebody said so.
    attested: String,
}

/// Stage 1: the token takes its PINs where the plan says that they are given.
pub(crate) fn entry(token: &TokenPlan, facts: &TokenFacts) -> Result<(), Error> {
    let name = &token.name;
    match (token.pin, facts.protected_path) {
        (PinEntry::Typed, false) | (PinEntry::Pad, true) => Ok(()),
        (PinEntry::Typed, true) => Err(stage(
            1,
            format!(
                "the token {name} takes its PIN at a pad of its own, of which the plan says nothing: a plan with \
                 `pin = \"pad\"` waits for it"
            ),
        )),
        (PinEntry::Pad, false) => Err(stage(
            1,
            format!(
                "by the plan the PINs of the token {name} are given at its pad, and it says that it has none \
                 (CKF_PROTECTED_AUTHENTICATION_PATH)"
            ),
        )),
    }
}

/// Writes down what people say was done, or reads again what they said.
pub(crate) fn attest(
    journal: &mut Journal,
    step: &str,
    call: &str,
    what: &str,
    ask: impl FnOnce() -> Result<String, Error>,
) -> Result<(), Error> {
    let said: Attested = journal.observe(step, call, || {
        Ok(Attested {
            what: what.to_owned(),
            attested: ask()?,
        })
    })?;
    if said.what == what {
        return Ok(());
    }
    Err(Error::check(
        step,
        format!("{call} says {:?}, and it is about this: {what}", said.what),
    ))
}

/// What is attested of a login.
pub(crate) fn typed_at_pad(token: &TokenPlan) -> String {
    format!("the user PIN of the token {} was typed at its pad", token.name)
}

/// What is attested of a token that was made.
pub(crate) fn made_at_pad(token: &TokenPlan) -> String {
    format!(
        "the new PINs of the token {}, the security officer's and the user's, were typed at its pad",
        token.name
    )
}

/// What is attested of a token's own quorum.
pub(crate) fn opened(token: &TokenPlan, quorum: &HsmQuorum) -> String {
    format!(
        "the token {} was opened by {} people of its own quorum ({})",
        token.name, quorum.threshold, quorum.instruction
    )
}

/// What a script and a report say of a token, where there is something to say.
pub(crate) fn told(token: &TokenPlan) -> Option<String> {
    let mut told = Vec::new();
    if let Some(HsmQuorum {
        threshold,
        instruction,
    }) = &token.hsm_quorum
    {
        told.push(format!(
            "{threshold} people of its own quorum open it before the login: {instruction}"
        ));
    }
    if token.pin == PinEntry::Pad {
        let who = match token.pin_parts {
            1 => "one person".to_owned(),
            parts => format!("{parts} people, a part each"),
        };
        told.push(format!("its PINs are typed at its own pad, by {who}"));
    }
    if told.is_empty() {
        return None;
    }
    Some(format!("{}; people say so, nothing verifies it", told.join("; ")))
}

/// What a reader of a transcript has to believe people for.
pub(crate) fn remarks(events: &[Event]) -> BTreeSet<String> {
    let about = |call: &str| call == PAD || call.starts_with("pad/") || call.starts_with("quorum/");
    let said = events
        .iter()
        .filter(|event| event.kind == Kind::Observation && about(&event.call));
    let said = said.filter_map(|event| event.data.get("what")?.as_str());
    said.map(|what| format!("{what}: people said so, and nothing verifies it"))
        .collect()
}
