//! Verifying a transcript with nothing but the transcript.
//!
//! The sums are computed again, the quorum is judged again, and the program is run again on the answers that were
//! written down: every intent, every check of an attribute, every certificate must come out the same, and no event
//! may be left over. Then the operators' signatures are held against the head that comes out. Who trusts the roster's
//! digest, from elsewhere, need trust nobody else; that the answers are the token's is what the signatories say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sealwright_identity::{Digest, ManualClock, Timestamp};
use sealwright_statement::policy::{Name, Roster as ApproverRoster};
use sealwright_statement::{Envelope, Signed};
use serde::Serialize;
use std::sync::Arc;

use crate::approval::{Approval, ApprovedPlan, Signatory};
use crate::error::Error;
use crate::files::Files;
use crate::hands;
use crate::head::{Head, Outcome};
use crate::id::CeremonyId;
use crate::journal::{Event, Journal, Kind};
use crate::outputs::{APPROVALS, PLAN, ROSTER, SIGNATURES, SUMS};
use crate::plan::{LintedPlan, Step};
use crate::roster::{Role, Roster};
use crate::run::{self, EVENTS};
use crate::transcript::chain;

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
    pub outcome: Outcome,
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
    /// The CA certificates that it made or imported.
    #[serde(skip)]
    pub certificates: Vec<VerifiedCertificate>,
    /// The first roster of those who approve policies, if the plan has one.
    #[serde(skip)]
    pub approvers: Option<Signed<ApproverRoster>>,
}

/// A CA certificate that a ceremony made or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// The step.
    pub name: Name,
    /// SHA-256 of its key (SPKI).
    pub key: Digest,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The certificates above it, its issuer first, the root last; none for a root.
    pub parents: Vec<Vec<u8>>,
}

/// Verifies a transcript's folder.
///
/// # Errors
/// With the first thing that does not hold.
pub fn verify(folder: &Path) -> Result<Verified, Error> {
    verify_files(&Files::read(folder)?)
}

/// Verifies a transcript by its files. No program and no token is asked.
///
/// # Errors
/// As [`verify`].
pub fn verify_files(files: &Files) -> Result<Verified, Error> {
    let parts = Parts::read(files)?;
    let approvers = parts.approvers()?;
    let Parts {
        approved,
        digest,
        head: signed,
        journal,
        approvals: mut expected,
        from,
        to,
    } = parts;
    let mut remarks = remarks(journal.events());
    let attestations = attestations(journal.events());
    let attested = hands::remarks(journal.events());
    let sessions = journal
        .events()
        .iter()
        .filter(|event| event.step.starts_with("session-") && event.call == "module")
        .count();
    let followed = run::follow(&approved, journal)?;
    for file in &followed.files {
        let found = files
            .bytes(&file.path)
            .ok_or_else(|| Error::check(&file.path, "the file is not there"))?;
        if found != file.bytes {
            return Err(Error::check(&file.path, "the file is not what the ceremony made"));
        }
        expected.insert(file.path.clone());
    }
    expected.extend([PLAN, ROSTER, EVENTS, SIGNATURES, SUMS].map(str::to_owned));
    if let Some(name) = files.names().find(|name| !expected.contains(*name)) {
        return Err(Error::check(name, "no event explains this file"));
    }
    let head = followed.head;
    if *signed.statement != head {
        return Err(Error::check(
            SIGNATURES,
            "what was signed is not the end that the events lead to",
        ));
    }
    let signed_by = signatures(&signed, &approved)?;
    remarks.extend(attested);
    remarks.extend(followed.stops);
    if approved.plan().plan().rehearsal {
        remarks.push("it was a rehearsal: nothing it made is for use".to_owned());
    }
    remarks.extend(attestations);
    let certificates = followed.certificates.into_iter().map(|made| VerifiedCertificate {
        name: made.name,
        key: Digest::of(&made.key.spki),
        der: made.der,
        parents: made.parents,
    });
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
        digest,
        remarks,
        certificates: certificates.collect(),
        approvers,
    })
}

/// What a transcript says that was verified before, when it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// The plan's digest.
    pub plan: Digest,
    /// The roster's digest.
    pub roster: Digest,
    /// Who signed the head.
    pub signed_by: Vec<String>,
    /// The digest of the sums, which names the transcript.
    pub digest: Digest,
    /// The keys (SHA-256 of the SPKI) that were made, or that a certificate was imported for.
    pub keys: BTreeSet<Digest>,
    /// The release whose program ran, as it says.
    pub release: Option<String>,
    /// The first roster of those who approve policies, if the plan has one.
    pub approvers: Option<Signed<ApproverRoster>>,
}

/// Looks again at a transcript that was verified when it was kept: the sums, the quorum, the chain of events, the people's
/// signatures over its end. The program is not run again, so that a transcript outlives the release that made it.
///
/// # Errors
/// With the first thing that does not hold; also when the ceremony was given up.
pub fn recall(files: &Files) -> Result<Recalled, Error> {
    let parts = Parts::read(files)?;
    let plan = parts.approved.plan();
    let due = Head {
        ceremony: plan.plan().ceremony,
        rehearsal: plan.plan().rehearsal,
        plan: plan.digest(),
        roster: parts.approved.roster().digest(),
        outcome: Outcome::Finished,
        events: u64::try_from(parts.journal.events().len()).unwrap_or(u64::MAX),
        head: parts.journal.head(),
    };
    if *parts.head.statement != due {
        return Err(Error::check(
            SIGNATURES,
            "what was signed is not the end of these events",
        ));
    }
    let signed_by = signatures(&parts.head, &parts.approved)?;
    let facts = parts
        .journal
        .events()
        .iter()
        .filter(|event| event.kind == Kind::Fact && matches!(event.call.as_str(), "key" | "certificate"));
    let keys = facts.filter_map(|event| event.data.get("spki")?.as_str()?.parse().ok());
    Ok(Recalled {
        ceremony: due.ceremony,
        rehearsal: due.rehearsal,
        plan: due.plan,
        roster: due.roster,
        signed_by: signed_by.into_keys().collect(),
        digest: parts.digest,
        keys: keys.collect(),
        release: run::release(&parts.journal),
        approvers: parts.approvers()?,
    })
}

/// What a transcript consists of, each part judged for itself.
struct Parts {
    approved: ApprovedPlan,
    /// That of the sums.
    digest: Digest,
    head: Signed<Head>,
    journal: Journal,
    /// The names of the approvals' files.
    approvals: BTreeSet<String>,
    /// When the first and the last event were written.
    from: Timestamp,
    to: Timestamp,
}

impl Parts {
    fn read(files: &Files) -> Result<Self, Error> {
        let sums = files.text(SUMS)?;
        if sums != files.sums() {
            return Err(Error::check(SUMS, "the sums are not those of the files"));
        }
        let plan = LintedPlan::read(files.text(PLAN)?)?;
        let roster = Roster::read(files.text(ROSTER)?)?;
        let head = Envelope::parse(files.text(SIGNATURES)?)
            .and_then(Envelope::open)
            .map_err(|error| Error::check(SIGNATURES, chain(&error)))?;
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let journal = Journal::replay_text(files.text(EVENTS)?, plan.digest(), clock)?;
        let (Some(first), Some(last)) = (journal.events().first(), journal.events().last()) else {
            return Err(Error::check(EVENTS, "there are no events"));
        };
        let (from, to) = (first.time, last.time);
        let (approvals, names) = approvals(files)?;
        let approved = ApprovedPlan::judge(plan, roster, approvals, from)?;
        Ok(Self {
            approved,
            digest: Digest::of(sums.as_bytes()),
            head,
            journal,
            approvals: names,
            from,
            to,
        })
    }

    /// The roster of approvers that the plan has.
    fn approvers(&self) -> Result<Option<Signed<ApproverRoster>>, Error> {
        let steps = self.approved.plan().plan().steps.iter().rev();
        let mut rosters = steps.filter_map(|step| match step {
            Step::ApproverRoster(step) => Some(step.read()),
            _ => None,
        });
        let roster = rosters.next().transpose();
        roster.map_err(|error| Error::check(PLAN, chain(&error)))
    }
}

/// The approvals, and the names of their files.
fn approvals(files: &Files) -> Result<(Vec<Signed<Approval>>, BTreeSet<String>), Error> {
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    let folder = format!("{APPROVALS}/");
    for name in files.names().filter(|name| name.starts_with(&folder)) {
        let approval = Envelope::parse(files.text(name)?)
            .and_then(Envelope::open)
            .map_err(|error| Error::check(name, chain(&error)))?;
        found.push(approval);
        names.insert(name.to_owned());
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

/// What is known of the devices that hold the keys: nothing, or what nobody verified.
fn attestations(events: &[Event]) -> Vec<String> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let facts = events
        .iter()
        .filter(|event| event.kind == Kind::Fact && event.call == "key");
    for event in facts {
        let said = event.data.get("attestation").and_then(serde_json::Value::as_str);
        let said = said.unwrap_or_default();
        match found.iter_mut().find(|(other, _)| *other == said) {
            Some((_, keys)) => keys.push(&event.step),
            None => found.push((said, vec![&event.step])),
        }
    }
    let remark = |(said, keys): (&str, Vec<&str>)| format!("attestation of {}: {said}", keys.join(", "));
    found.into_iter().map(remark).collect()
}

/// What is not wrong, and yet worth a thought.
fn remarks(events: &[Event]) -> Vec<String> {
    let mut remarks = Vec::new();
    let alone = |too_old: bool| {
        events.iter().any(|event| {
            event.data.get("one_verifier").is_some() && event.data.get("program").is_some() == too_old
        })
    };
    if alone(false) {
        remarks.push("one verifier: there was no openssl to look at what was made".to_owned());
    }
    if alone(true) {
        remarks.push(
            "one verifier: openssl was older than 3.5 and could not look at what has to do with ML-DSA; its \
             signatures were verified by aws-lc-rs and by ml-dsa, its paths by this program alone"
                .to_owned(),
        );
    }
    for (one, next) in events.iter().zip(events.iter().skip(1)) {
        if next.time < one.time {
            remarks.push(format!(
                "the machine's clock went back before event {}",
                next.sequence
            ));
        }
    }
    for event in events {
        let step = &event.step;
        if let Some(token) = event.call.strip_prefix("unexplained/")
            && let Some(odd @ 1..) = event.data.as_array().map(Vec::len)
        {
            remarks.push(format!(
                "{step}: nothing explains {odd} objects of the token {token}; the plan takes them as exceptions"
            ));
        }
        if event.kind == Kind::Observation && event.call == "explained" {
            remarks.push(format!(
                "{step}: what earlier transcripts explain is as it was read then; `--transcript` holds it against them"
            ));
        }
    }
    remarks
}
