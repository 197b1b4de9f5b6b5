//! A rehearsal beside the ceremony that it was for.
//!
//! Both transcripts are verified, then their plans and their events are compared. They may differ in what a plan says is
//! different: which ceremony, when, by whom, on which tokens, and whether it is practice; and in what a token draws.
//! Everything else must be the same: the same steps in the same order, the same calls, the same answers about attributes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sealwright_identity::{ManualClock, Timestamp};
use serde::Serialize;

use crate::error::Error;
use crate::files::Files;
use crate::journal::{Event, Journal, Kind};
use crate::outputs::PLAN;
use crate::plan::{Difference, LintedPlan, Plan, diff};
use crate::run::EVENTS;
use crate::verify::verify_files;

/// What two transcripts have in common, and not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Differences that the plans declare.
    pub declared: Vec<Difference>,
    /// Differences that nothing explains.
    pub unexplained: Vec<Difference>,
}

/// Compares the transcript of a rehearsal with that of the ceremony in earnest.
///
/// # Errors
/// When one of them does not verify, the first was no rehearsal, or the second was one.
pub fn compare(rehearsal: &Path, production: &Path) -> Result<Comparison, Error> {
    // Read once: what is compared is what was verified.
    let (rehearsal, production) = (Files::read(rehearsal)?, Files::read(production)?);
    let (first, second) = (verify_files(&rehearsal)?, verify_files(&production)?);
    if !first.rehearsal || second.rehearsal {
        return Err(Error::State(
            "the first transcript is to be a rehearsal's, the second of a ceremony in earnest".to_owned(),
        ));
    }
    let plan = |files: &Files| -> Result<LintedPlan, Error> { Ok(LintedPlan::read(files.text(PLAN)?)?) };
    let (first, second) = (plan(&rehearsal)?, plan(&production)?);
    let (declared, mut unexplained): (Vec<_>, Vec<_>) = first
        .plan()
        .differences(second.plan())
        .into_iter()
        .partition(|difference| may_differ(&difference.place) || attested(&difference.place, second.plan()));
    let shape = |files: &Files, plan: &LintedPlan| -> Result<_, Error> {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let journal = Journal::replay_text(files.text(EVENTS)?, plan.digest(), clock)?;
        Ok(shape(journal.events()))
    };
    unexplained.extend(diff::between(
        &shape(&rehearsal, &first)?,
        &shape(&production, &second)?,
    ));
    Ok(Comparison {
        declared,
        unexplained,
    })
}

/// What a plan is free to say otherwise in earnest.
fn may_differ(place: &str) -> bool {
    const FREE: [&str; 8] = [
        "ceremony",
        "title",
        "rehearsal",
        "not_before",
        "not_after",
        "roster",
        "previous_transcript",
        "module",
    ];
    let mut parts = place.split('.');
    let (first, last) = (
        parts.next().unwrap_or_default(),
        parts.next_back().unwrap_or_default(),
    );
    let above = parts.next_back();
    let numbered = last.parse::<usize>().is_ok() && above == Some("transcripts");
    let quorum = ["threshold", "instruction"].contains(&last) && above == Some("hsm_quorum");
    match first {
        "tokens" if quorum => true,
        "tokens" => ["label", "serial", "initialize", "pin_parts", "pin"].contains(&last),
        // And other ceremonies before it. A step's name may hold any of these words, and dots.
        "steps" if numbered => true,
        // A rehearsal has an older CA of its own.
        "steps" => ["not_before", "not_after", "older", "older_parents", "id"].contains(&last),
        "issuer" => place.starts_with("issuer.policies"),
        first => FREE.contains(&first),
    }
}

/// Whether it is about the attestation of a key that has one in earnest. Where practice had one and the real key has
/// none, that is nothing that a plan may do in passing.
fn attested(place: &str, earnest: &Plan) -> bool {
    let mut keys = earnest.keys().filter(|key| !key.attestation.is_none());
    keys.any(|key| {
        let here = format!("steps.{}.attestation", key.name);
        place == here || place.starts_with(&format!("{here}."))
    })
}

/// What was done in the steps, in order, and what was said of attributes. How a start found its tokens, and what people
/// typed, is not in it.
fn shape(events: &[Event]) -> BTreeMap<String, String> {
    let mut shape = BTreeMap::new();
    let mut order = Vec::new();
    for event in events {
        let outside = ["session-", "token-", "notes"];
        if outside.iter().any(|step| event.step.starts_with(step)) || event.kind == Kind::Failure {
            continue;
        }
        // By which ceremonies before it: they may differ, and be none. Or what a vendor says: the plans say of which
        // key, and each transcript was held against its plan.
        if event.kind == Kind::Observation && ["explained", "attestation"].contains(&event.call.as_str()) {
            continue;
        }
        let name = format!("{}.{}", event.step, event.call);
        // A call that was asked for again after a crash is the same call.
        if !order.contains(&name) {
            order.push(name.clone());
        }
        let tells = ["C_GetAttributeValue", "key"].contains(&event.call.as_str());
        if tells && event.kind != Kind::Intent {
            let mut said = BTreeMap::new();
            diff::leaves(&event.data, name, &mut said);
            const DRAWN: [&str; 6] = [
                "CKA_ID",
                "CKA_EC_POINT",
                "CKA_MODULUS",
                "CKA_VALUE",
                "spki",
                "CKA_UNIQUE_ID",
            ];
            said.retain(|place, _| !place.contains(".key.attest"));
            said.retain(|place, _| !DRAWN.iter().any(|drawn| place.ends_with(drawn)));
            shape.extend(said);
        }
    }
    shape.insert("events".to_owned(), order.join("\n"));
    shape
}

#[cfg(test)]
mod tests {
    use sealwright_identity::Digest;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_the_transcripts_of_an_inventory_may_differ_in_a_step() {
        for place in ["steps.look.transcripts.0", "steps.a.b.transcripts.12"] {
            assert!(may_differ(place), "{place}");
        }
        // A step may be called so.
        for place in [
            "steps.transcripts.algorithm",
            "steps.a.transcripts.algorithm",
            "steps.transcripts.profile.crl_urls.0",
            "steps.transcripts.tokens.0",
            "steps.look.transcripts",
            "steps.look.unexplained",
        ] {
            assert!(!may_differ(place), "{place}");
        }
    }

    /// Where no earlier transcript is named, none is said to explain anything.
    #[test]
    fn what_earlier_transcripts_explain_is_not_of_the_shape() {
        let event = |kind, call: &str| Event {
            sequence: 0,
            previous: Digest::of(b""),
            time: Timestamp::default(),
            kind,
            step: "look".to_owned(),
            call: call.to_owned(),
            data: Value::Null,
        };
        let (explained, found) = (
            event(Kind::Observation, "explained"),
            event(Kind::Result, "C_FindObjects/root"),
        );
        let with = shape(&[explained, found.clone()]);
        assert_eq!(with, shape(std::slice::from_ref(&found)));
        assert_ne!(with, shape(&[]));
    }
}
