//! What a report says, from a transcript that verifies.

use sealwright_identity::{Digest, ManualClock, Timestamp};
use sealwright_statement::words::words;
use serde_json::Value;
use std::sync::Arc;

use super::{Block, Report};
use crate::error::Error;
use crate::files::Files;
use crate::hands;
use crate::journal::{Event, Journal, Kind};
use crate::outputs::{PLAN, ROSTER, SUMS};
use crate::plan::{LintedPlan, Plan};
use crate::roster::Roster;
use crate::run::EVENTS;
use crate::script::told;
use crate::verify::{Verified, verify_files};

pub(super) fn report(files: &Files) -> Result<Report, Error> {
    let verified = verify_files(files)?;
    let plan = LintedPlan::read(files.text(PLAN)?)?;
    let roster = Roster::read(files.text(ROSTER)?)?;
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let journal = Journal::replay_text(files.text(EVENTS)?, plan.digest(), clock)?;
    let (events, body) = (journal.events(), plan.plan());
    let mut blocks = vec![Block::Text(opening(&verified))];
    blocks.push(summary(&verified));
    if !verified.remarks.is_empty() {
        let remarks = verified.remarks.iter().map(|remark| vec![remark.clone()]);
        blocks.extend([
            Block::Heading("Remarks of the verification"),
            Block::Table(&["remark"], remarks.collect()),
        ]);
    }
    blocks.extend([Block::Heading("People"), people(&verified, &roster)]);
    blocks.extend([Block::Heading("Tokens"), tokens(body, events)]);
    blocks.extend([Block::Heading("What the plan asked for"), steps(body)]);
    blocks.extend([Block::Heading("Keys"), keys(body, events)]);
    blocks.extend([Block::Heading("Certificates"), certificates(body, events)]);
    let notes = notes(events);
    if !notes.is_empty() {
        blocks.extend([
            Block::Heading("What people said"),
            Block::Table(&["time", "about", "text", "file"], notes),
        ]);
    }
    blocks.extend([Block::Heading("Files"), sums(files)]);
    blocks.extend([Block::Heading("Every event"), all(events)]);
    Ok(Report {
        title: format!("Key ceremony: {}", verified.title),
        foot: format!("ceremony {}, transcript {}", verified.ceremony, verified.digest),
        blocks,
    })
}

fn opening(verified: &Verified) -> String {
    let kind = if verified.rehearsal {
        "It was a rehearsal: nothing it made is for use."
    } else {
        "It was in earnest."
    };
    format!(
        "The transcript verified when this page was made. {kind} This page is for reading; the transcript is the \
         evidence: `sealwright ceremony verify` needs nothing but it, and the roster's digest from elsewhere."
    )
}

fn summary(verified: &Verified) -> Block {
    let spoken = |digest: &Digest| words(digest).collect::<Vec<_>>().join(" ");
    Block::Pairs(vec![
        ("ceremony", verified.ceremony.to_string()),
        ("outcome", verified.outcome.as_str().to_owned()),
        (
            "rehearsal",
            if verified.rehearsal { "yes" } else { "no" }.to_owned(),
        ),
        ("from", verified.from.to_string()),
        ("to", verified.to.to_string()),
        ("starts", verified.sessions.to_string()),
        ("events", verified.events.to_string()),
        ("plan", verified.plan.to_string()),
        ("in words", spoken(&verified.plan)),
        ("roster", verified.roster.to_string()),
        ("in words", spoken(&verified.roster)),
        ("head", verified.head.to_string()),
        ("transcript", verified.digest.to_string()),
        ("in words", spoken(&verified.digest)),
    ])
}

fn people(verified: &Verified, roster: &Roster) -> Block {
    let rows = roster.people.iter().map(|person| {
        let name = person.name.to_string();
        let roles: Vec<_> = person.roles.iter().map(|role| role.as_str()).collect();
        let agreed = verified
            .approved_by
            .iter()
            .filter(|by| by.person.to_string() == name);
        let agreed: Vec<_> = agreed.map(|by| by.role.as_str()).collect();
        let signed = verified.signed_by.get(&name);
        let signed = signed.map(|keys| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        vec![
            name,
            roles.join(", "),
            agreed.join(", "),
            signed.unwrap_or_default(),
        ]
    });
    Block::Table(
        &["name", "may be", "agreed to the plan as", "signed the end with"],
        rows.collect(),
    )
}

fn tokens(plan: &Plan, events: &[Event]) -> Block {
    let rows = plan.tokens.iter().map(|token| {
        let identity = fact(events, &format!("token-{}", token.name), "identity");
        vec![
            token.name.to_string(),
            token.label.clone(),
            field(identity, "serial"),
            field(identity, "manufacturer"),
            field(identity, "model"),
            if token.initialize { "yes" } else { "no" }.to_owned(),
            hands::told(token).unwrap_or_else(|| "PINs typed here".to_owned()),
        ]
    });
    Block::Table(
        &[
            "name",
            "label",
            "serial number",
            "manufacturer",
            "model",
            "new",
            "by people",
        ],
        rows.collect(),
    )
}

fn steps(plan: &Plan) -> Block {
    let rows = plan.steps.iter().zip(1..).map(|(step, number)| {
        vec![
            number.to_string(),
            step.kind().to_owned(),
            step.name().to_string(),
            told(step),
        ]
    });
    Block::Table(&["", "kind", "name", "what"], rows.collect())
}

fn keys(plan: &Plan, events: &[Event]) -> Block {
    let rows = plan.keys().filter_map(|key| {
        let fact = fact(events, key.name.as_str(), "key")?;
        let mut intents = events.iter().filter(|event| event.kind == Kind::Intent);
        let asked = intents
            .find(|event| event.step == key.name.as_str() && event.call.starts_with("C_GenerateKeyPair"));
        Some(vec![
            key.name.to_string(),
            format!("{} in {}", key.label, key.token),
            field(asked.map(|event| &event.data), "id"),
            field(Some(fact), "algorithm"),
            field(Some(fact), "purpose"),
            field(Some(fact), "custody"),
            field(Some(fact), "spki"),
            field(Some(fact), "not_reported"),
            attestation(fact),
        ])
    });
    Block::Table(
        &[
            "name",
            "label",
            "id",
            "kind",
            "for",
            "custody",
            "SHA-256 of the public key",
            "not reported",
            "attestation",
        ],
        rows.collect(),
    )
}

/// What is known of the device, and what was kept of it.
fn attestation(fact: &Value) -> String {
    let said = field(Some(fact), "attestation");
    match fact.get("attested") {
        Some(kept) => format!(
            "{said}: {}, {}",
            field(Some(kept), "file"),
            field(Some(kept), "digest")
        ),
        None => said,
    }
}

fn certificates(plan: &Plan, events: &[Event]) -> Block {
    let rows = plan.steps.iter().filter_map(|step| {
        let fact = Some(fact(events, step.name().as_str(), "certificate")?);
        Some(vec![
            step.name().to_string(),
            step.kind().to_owned(),
            field(fact, "serial"),
            field(fact, "not_before"),
            field(fact, "not_after"),
            field(fact, "spki"),
            field(fact, "certificate"),
        ])
    });
    Block::Table(
        &[
            "name",
            "kind",
            "serial number",
            "from",
            "to",
            "SHA-256 of the public key",
            "SHA-256 of the certificate",
        ],
        rows.collect(),
    )
}

fn notes(events: &[Event]) -> Vec<Vec<String>> {
    let notes = events.iter().filter(|event| event.kind == Kind::Note);
    let rows = notes.map(|event| {
        vec![
            event.time.to_string(),
            field(Some(&event.data), "subject"),
            field(Some(&event.data), "text"),
            field(Some(&event.data), "file"),
        ]
    });
    rows.collect()
}

fn sums(files: &Files) -> Block {
    let rows = files.names().filter(|name| *name != SUMS).map(|name| {
        let digest = files
            .bytes(name)
            .map(|bytes| hex::encode(Digest::of(bytes).as_bytes()));
        vec![name.to_owned(), digest.unwrap_or_default()]
    });
    Block::Table(&["file", "SHA-256"], rows.collect())
}

fn all(events: &[Event]) -> Block {
    let rows = events.iter().map(|event| {
        let kind = serde_json::to_value(event.kind).unwrap_or_default();
        vec![
            event.sequence.to_string(),
            event.time.to_string(),
            plain(&kind),
            event.step.clone(),
            event.call.clone(),
            plain(&event.data),
        ]
    });
    Block::Table(&["", "time", "kind", "step", "call", "data"], rows.collect())
}

fn fact<'a>(events: &'a [Event], step: &str, call: &str) -> Option<&'a Value> {
    let mut facts = events.iter().filter(|event| event.kind == Kind::Fact);
    let found = facts.find(|event| event.step == step && event.call == call)?;
    Some(&found.data)
}

fn field(data: Option<&Value>, name: &str) -> String {
    data.and_then(|data| data.get(name))
        .map(plain)
        .unwrap_or_default()
}

/// A value in words: texts as they are, lists by commas, anything else as JSON, whose members are sorted.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
