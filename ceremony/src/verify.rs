//! Verifying a transcript with nothing but the transcript.
//!
//! The sums are computed again, the quorum is judged again, and the program is run again on the answers that were
//! written down: every intent, every check of an attribute, every certificate must come out the same, and no event
//! may be left over. Then the operators' signatures are held against the head that comes out. Who trusts the roster's
//! digest, from elsewhere, need trust nobody else; that the answers are the token's is what the signatories say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sealwright_identity::{Digest, ManualClock, Timestamp};
use sealwright_statement::{Envelope, Signed};
use serde::Serialize;
use std::sync::Arc;

use crate::approval::{Approval, ApprovedPlan, Signatory};
use crate::error::Error;
use crate::head::Head;
use crate::id::CeremonyId;
use crate::journal::{Event, Journal};
use crate::outputs::{self, APPROVALS, PLAN, ROSTER, SIGNATURES, SUMS};
use crate::plan::LintedPlan;
use crate::roster::{Role, Roster};
use crate::run::{self, EVENTS};
use crate::transcript::{Transcript, chain, text};

/// What a transcript was seen to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// What it was for.
    pub title: String,
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// The plan's digest.
    pub plan: Digest,
    /// The roster's digest: what must be known from elsewhere.
    pub roster: Digest,
    /// How it ended.
    pub outcome: crate::head::Outcome,
    /// How many events there are.
    pub events: u64,
    /// The digest of the last one.
    pub head: Digest,
    /// When the first and the last event were written, by the machine's clock.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// How often it was begun: once, and once for each resumption.
    pub sessions: usize,
    /// Who agreed to the plan.
    pub approved_by: Vec<Signatory>,
    /// Who signed the head, and with which key.
    pub signed_by: BTreeMap<String, Vec<Digest>>,
    /// The digest of the sums, which names the transcript.
    pub digest: Digest,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

/// Verifies a transcript's folder.
///
/// # Errors
/// With the first thing that does not hold.
pub fn verify(folder: &Path) -> Result<Verified, Error> {
    let sums = outputs::sums(folder)?;
    if text(folder, SUMS)? != sums {
        return Err(Error::check(SUMS, "the sums are not those of the files"));
    }
    let plan = LintedPlan::read(&text(folder, PLAN)?)?;
    let roster = Roster::read(&text(folder, ROSTER)?)?;
    let transcript = Transcript::open(folder)?;

    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let journal = Journal::replay(&folder.join(EVENTS), plan.digest(), clock)?;
    let (Some(first), Some(last)) = (journal.events().first(), journal.events().last()) else {
        return Err(Error::check(EVENTS, "there are no events"));
    };
    let (from, to) = (first.time, last.time);
    let mut remarks = remarks(journal.events());
    let sessions = journal
        .events()
        .iter()
        .filter(|event| event.step.starts_with("session-") && event.call == "module")
        .count();
    let (approvals, mut expected) = approvals(folder)?;
    let approved = ApprovedPlan::judge(plan, roster, approvals, from)?;
    let (head, files, _) = run::follow(&approved, journal)?;

    for file in &files {
        let path = folder.join(&file.path);
        let bytes = std::fs::read(&path).map_err(Error::files(&path))?;
        if bytes != file.bytes {
            return Err(Error::check(&file.path, "the file is not what the ceremony made"));
        }
        expected.insert(file.path.clone());
    }
    expected.extend([PLAN, ROSTER, EVENTS, SIGNATURES, SUMS].map(str::to_owned));
    for path in outputs::walk(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        if !expected.contains(&name) {
            return Err(Error::check(&name, "no event explains this file"));
        }
    }
    if *transcript.head() != head {
        return Err(Error::check(
            SIGNATURES,
            "what was signed is not the end that the events lead to",
        ));
    }
    let signed_by = signatures(transcript.signed(), &approved)?;
    if approved.plan().plan().rehearsal {
        remarks.push("it was a rehearsal: nothing it made is for use".to_owned());
    }
    Ok(Verified {
        ceremony: head.ceremony,
        title: approved.plan().plan().title.clone(),
        rehearsal: head.rehearsal,
        plan: head.plan,
        roster: head.roster,
        outcome: head.outcome,
        events: head.events,
        head: head.head,
        from,
        to,
        sessions,
        approved_by: approved.signatories().to_vec(),
        signed_by,
        digest: Digest::of(sums.as_bytes()),
        remarks,
    })
}

/// The approvals in the folder, and the names of their files.
fn approvals(folder: &Path) -> Result<(Vec<Signed<Approval>>, BTreeSet<String>), Error> {
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    let place = folder.join(APPROVALS);
    if !place.exists() {
        return Ok((found, names));
    }
    for path in outputs::walk(&place)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let approval = Envelope::parse(&text(folder, &name)?)
            .and_then(Envelope::open)
            .map_err(|error| Error::check(&name, chain(&error)))?;
        found.push(approval);
        names.insert(name);
    }
    Ok((found, names))
}

/// Every signature holds and is of somebody in the roster; enough operators signed.
fn signatures(head: &Signed<Head>, approved: &ApprovedPlan) -> Result<BTreeMap<String, Vec<Digest>>, Error> {
    let mut signed: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    let mut operators = BTreeSet::new();
    for signature in &head.signatures {
        let id = signature.key.id();
        let person = approved
            .roster()
            .owner(&signature.key)
            .ok_or_else(|| Error::check(SIGNATURES, format!("nobody in the roster has the key {id}")))?;
        signature
            .verify(&head.statement.preimage())
            .map_err(|error| Error::check(SIGNATURES, chain(&error)))?;
        if person.roles.contains(&Role::Operator) {
            operators.insert(person.name.clone());
        }
        signed.entry(person.name.to_string()).or_default().push(id);
    }
    let (count, needed) = (operators.len(), approved.roster().threshold);
    if u64::try_from(count).unwrap_or(u64::MAX) < needed {
        return Err(Error::check(
            SIGNATURES,
            format!(
                "{count} of {needed} operators signed the end: collect more with `sealwright ceremony sign`"
            ),
        ));
    }
    Ok(signed)
}

/// What is not wrong, and yet worth a thought.
fn remarks(events: &[Event]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (one, next) in events.iter().zip(events.iter().skip(1)) {
        if next.time < one.time {
            remarks.push(format!(
                "the machine's clock went back before event {}",
                next.sequence
            ));
        }
    }
    remarks
}
