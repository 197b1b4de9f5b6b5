//! `policy review`: what a person reads before signing.
//!
//! The words are made here, from statements whose digests were compared: a signer that was taken over can
//! withhold them, and neither hide a change nor make one up.

use std::{collections::BTreeMap, process::ExitCode};

use sealwright_identity::Digest;
use sealwright_proto::policy::ReviewRequest;
use sealwright_signer::policies::words::{changes, people};
use sealwright_statement::{
    PublicKey, Sealed, Signed,
    policy::{Revision, Revisions, Roster, Set},
    words::words,
};
use serde::Serialize;

use super::wire::{self, Client};
use crate::{
    args::ReviewArgs,
    failure::{Class, Failure},
    files,
    output::{self, Output},
};

/// A proposal with all that it takes to judge it.
pub(super) struct Review {
    pub(super) set: Signed<Set>,
    before: Option<Signed<Set>>,
    /// The proposed set that a rollback follows which is signed ahead.
    between: Option<Signed<Set>>,
    roster: Signed<Roster>,
    /// The one that takes effect with the set, if it is another.
    next_roster: Option<Signed<Roster>>,
    revisions: BTreeMap<Digest, Signed<Revision>>,
    /// By their digest, which was computed here.
    reports: BTreeMap<Digest, String>,
}

#[derive(Serialize)]
struct Reviewed {
    set: String,
    words: String,
    number: u64,
    not_after: String,
    changes: Vec<String>,
    pushed_by: BTreeMap<String, Vec<String>>,
    signed_by: Vec<String>,
    must_agree: u64,
    reports: Vec<String>,
}

pub(super) async fn run(args: &ReviewArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let review = fetch(&mut client, args.set).await?;
    if let Some(path) = &args.out {
        files::write(path, review.set.to_string().as_bytes(), 0o644)?;
    }
    let reviewed = review.in_words();
    match output {
        Output::Json => output::json(&reviewed)?,
        Output::Table => reviewed.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn fetch(client: &mut Client, set: Option<Digest>) -> Result<Review, Failure> {
    let request = ReviewRequest {
        set: set.map(|set| set.to_string()).unwrap_or_default(),
    };
    let answer = client.review(request).await.map_err(wire::refused)?.into_inner();
    let proposal: Signed<Set> = wire::statement(&answer.set)?;
    if let Some(wanted) = set.filter(|wanted| *wanted != proposal.statement.digest()) {
        return Err(Failure::text(
            Class::Input,
            format!("the signer gave another set than {wanted}"),
        ));
    }
    // The signer asks for the name, too. But a signature under a rollback is all that a rollback needs, and the signer
    // may be somebody else's by now.
    if set.is_none() && proposal.statement.restores.is_some() {
        return Err(Failure::text(
            Class::Input,
            format!(
                "the signer gave a rollback unasked: name {} if that is meant",
                proposal.statement.digest()
            ),
        ));
    }
    let mut revisions = BTreeMap::new();
    for text in answer.revisions.iter().chain(&answer.retired) {
        let revision: Signed<Revision> = wire::statement(text)?;
        revisions.insert(revision.statement.digest(), revision);
    }
    if let Some(entry) = proposal
        .statement
        .entries
        .iter()
        .find(|entry| !revisions.contains_key(&entry.revision))
    {
        return Err(Failure::text(
            Class::Input,
            format!("the signer did not give the revision {}", entry.revision),
        ));
    }
    let reports = answer.reports.into_iter();
    let review = Review {
        set: proposal,
        before: optional(&answer.active)?,
        between: optional(&answer.between)?,
        roster: wire::statement(&answer.roster)?,
        next_roster: optional(&answer.next_roster)?,
        revisions,
        reports: reports
            .map(|report| (Digest::of(report.as_bytes()), report))
            .collect(),
    };
    review.belongs_together()?;
    Ok(review)
}

fn optional<T: sealwright_statement::Statement>(armoured: &str) -> Result<Option<Signed<T>>, Failure> {
    match armoured {
        "" => Ok(None),
        armoured => wire::statement(armoured).map(Some),
    }
}

/// To standard error, for whoever is about to sign.
pub(super) fn explain(review: &Review) -> Result<(), Failure> {
    let reviewed = review.in_words();
    for line in &reviewed.changes {
        output::notice(line);
    }
    for report in &reviewed.reports {
        output::notice(report);
    }
    Ok(())
}

impl Review {
    /// What the words are made of is what the proposal names: else a change could be kept from who reads them.
    fn belongs_together(&self) -> Result<(), Failure> {
        let set = &self.set.statement;
        let before = self.before.as_ref().map(|before| &before.statement);
        let between = self.between.as_ref().map(|between| &between.statement);
        let in_turn = match between {
            None => set.previous == before.map(Sealed::digest),
            Some(between) => {
                set.restores.is_some()
                    && set.previous == Some(between.digest())
                    && set.number.checked_sub(1) == Some(between.number)
                    && between.previous == before.map(Sealed::digest)
            }
        };
        if !in_turn {
            return Err(Failure::text(
                Class::Input,
                "the set does not follow the one that the signer says is in force: it can take effect no more, or \
                 the signer lies; propose it again",
            ));
        }
        let roster = self.roster.statement.digest();
        if before.is_some_and(|before| before.roster != roster) {
            return Err(Failure::text(
                Class::Input,
                "the roster that the signer gave is not the one of the set in force",
            ));
        }
        if between.is_some_and(|between| between.roster != roster)
            || (between.is_some() && set.roster != roster)
        {
            return Err(Failure::text(
                Class::Input,
                "the set that the rollback follows changes the roster; make the rollback once that set is in force",
            ));
        }
        // What is in force now can be compared; the gate compares what was before.
        let restored = before.filter(|before| set.restores == Some(before.number));
        if restored.is_some_and(|old| old.entries != set.entries || old.stop != set.stop) {
            return Err(Failure::text(
                Class::Input,
                "it says that it brings back the set in force, and has other entries or bounds",
            ));
        }
        let next = self.next_roster.as_ref();
        if next.map_or(roster, |next| next.statement.digest()) != set.roster {
            return Err(Failure::text(
                Class::Input,
                format!(
                    "the signer did not give the roster {} that the set names",
                    set.roster
                ),
            ));
        }
        Ok(())
    }

    /// Revisions that were in no set that is in force now, with the reports that the set names.
    pub(super) fn brought_in(&self) -> Vec<(&Sealed<Revision>, Option<Digest>)> {
        if self.set.statement.restores.is_some() {
            return Vec::new();
        }
        let old = |digest: Digest| {
            let mut old = self.before.iter().flat_map(|before| &before.statement.entries);
            old.any(|old| old.revision == digest)
        };
        let new = self
            .set
            .statement
            .entries
            .iter()
            .filter(|entry| !old(entry.revision));
        new.filter_map(|entry| Some((&self.revisions.get(&entry.revision)?.statement, entry.report)))
            .collect()
    }

    fn in_words(&self) -> Reviewed {
        let set = &self.set.statement;
        let known: Revisions = self
            .revisions
            .iter()
            .map(|(digest, revision)| (*digest, revision.statement.clone()))
            .collect();
        let before = self.between.as_ref().or(self.before.as_ref());
        let before = before.map(|before| &*before.statement);
        let person = |key: &PublicKey| {
            let owner = self.roster.statement.owner(key);
            owner.map_or_else(
                || format!("nobody of the roster ({})", key.id()),
                |person| person.name.to_string(),
            )
        };
        let signers = |signatures: &[sealwright_statement::Signature]| -> Vec<String> {
            signatures
                .iter()
                .map(|signature| person(&signature.key))
                .collect()
        };
        let pushed_by = set.entries.iter().filter_map(|entry| {
            let revision = self.revisions.get(&entry.revision)?;
            Some((
                revision.statement.policy.to_string(),
                signers(&revision.signatures),
            ))
        });
        let reports = set.entries.iter().map(|entry| match entry.report {
            None => format!("{}: no report", entry.revision),
            Some(report) => match self.reports.get(&report) {
                Some(text) => format!("{}: {}", entry.revision, verdict(text)),
                None => format!("{}: the report {report} is not here", entry.revision),
            },
        });
        let mut changes = changes(before, set, &known);
        if let Some(between) = &self.between {
            changes.insert(0, break_glass(between.statement.number, set));
        }
        if let Some(next) = &self.next_roster {
            changes.extend(people(&self.roster.statement, &next.statement));
        }
        Reviewed {
            set: set.digest().to_string(),
            words: words(&set.digest()).collect::<Vec<_>>().join(" "),
            number: set.number,
            not_after: set.not_after.to_string(),
            changes,
            pushed_by: pushed_by.collect(),
            signed_by: signers(&self.set.signatures),
            must_agree: self.roster.statement.threshold,
            reports: reports.collect(),
        }
    }
}

/// What somebody must know who signs a rollback ahead of need.
fn break_glass(follows: u64, set: &Set) -> String {
    let restores = set.restores.unwrap_or_default();
    format!(
        "a break-glass rollback, signed ahead: while set {follows} is in force, which is only proposed now, any operator may \
         bring back set {restores} with it, until {}, without further signatures; below is what it changes of set {follows}",
        set.not_after
    )
}

/// What a report comes to. Its bytes are what is signed; this is for the eye.
fn verdict(report: &str) -> &'static str {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(report);
    match parsed.ok().and_then(|report| report.get("admitted")?.as_bool()) {
        Some(true) => "admitted",
        Some(false) => "REFUSED by its admission",
        None => "a report that says neither admitted nor refused",
    }
}

impl Reviewed {
    fn print(&self) -> Result<(), Failure> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("set", self.set.clone()),
            row("words", wire::lines_of_words(&self.words)),
            row("number", self.number.to_string()),
            row("until", self.not_after.clone()),
            row("changes", self.changes.join("\n")),
            row("reports", self.reports.join("\n")),
            row("must agree", self.must_agree.to_string()),
            row("signed by", self.signed_by.join(", ")),
        ];
        for (policy, people) in &self.pushed_by {
            rows.push(row(&format!("{policy} pushed by"), people.join(", ")));
        }
        output::table(&[], rows)
    }
}

#[cfg(test)]
mod tests {
    use sealwright_identity::Timestamp;
    use sealwright_statement::policy::Role;

    use super::*;

    fn roster(number: u64) -> Signed<Roster> {
        let person = sealwright_statement::policy::Person {
            name: "ann".parse().unwrap(),
            roles: vec![Role::Approver],
            keys: vec![key()],
        };
        let roster = Roster {
            number,
            previous: None,
            threshold: 1,
            people: vec![person],
        };
        wire::seal(roster).unwrap()
    }

    fn key() -> PublicKey {
        let made = sealwright_statement::FileSigner::generate(sealwright_statement::KeyKind::Ed25519);
        sealwright_statement::Signer::public_key(&made.unwrap().0).clone()
    }

    fn set(previous: Option<&Signed<Set>>, roster: &Signed<Roster>) -> Signed<Set> {
        let set = Set {
            deployment: Digest::of(b"deployment"),
            number: previous.map_or(1, |previous| previous.statement.number + 1),
            previous: previous.map(|previous| previous.statement.digest()),
            not_before: Timestamp::from_unix_seconds(0),
            not_after: Timestamp::from_unix_seconds(1),
            roster: roster.statement.digest(),
            entries: Vec::new(),
            stop: None,
            restores: None,
        };
        wire::seal(set).unwrap()
    }

    #[test]
    fn a_signer_cannot_show_another_past() {
        let (people, others) = (roster(1), roster(2));
        let first = set(None, &people);
        let second = set(Some(&first), &people);
        let third = set(Some(&second), &others);
        let review = |set: &Signed<Set>, before: Option<&Signed<Set>>, now: &Signed<Roster>, next| Review {
            set: set.clone(),
            before: before.cloned(),
            between: None,
            roster: now.clone(),
            next_roster: next,
            revisions: BTreeMap::new(),
            reports: BTreeMap::new(),
        };
        review(&first, None, &people, None).belongs_together().unwrap();
        let honest = review(&third, Some(&second), &people, Some(others.clone()));
        honest.belongs_together().unwrap();
        let told = honest.in_words().changes.join("\n");
        assert!(told.contains("the roster becomes"), "{told}");
        assert!(told.contains("ann: a key is new"), "{told}");
        for lie in [
            review(&third, Some(&first), &people, Some(others.clone())),
            review(&third, None, &people, Some(others.clone())),
            review(&third, Some(&second), &people, None),
            review(&third, Some(&second), &others, None),
            review(&third, Some(&second), &people, Some(roster(2))),
            review(&first, Some(&second), &people, None),
        ] {
            assert_eq!(lie.belongs_together().unwrap_err().class(), Class::Input);
        }
    }
}
