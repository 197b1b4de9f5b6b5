//! `policy propose`: the set in force with changes.

use std::process::ExitCode;

use sealwright_identity::{Clock as _, Digest, SystemClock};
use sealwright_proto::policy::{GetRequest, ListResponse, ProposeRequest, get_response::Part};
use sealwright_statement::{
    Signed,
    policy::{Canary, Entry, Mode, Revision, Revisions, Roster, Set},
};
use serde::Serialize;

use super::{
    ahead::{self, Ahead},
    bounds,
    wire::{self, Client},
};
use crate::{
    args::ProposeArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

const SALT_BYTES: usize = 16;

/// What came of a proposal.
#[derive(Serialize)]
pub(super) struct Proposed {
    pub(super) set: String,
    pub(super) number: u64,
    pub(super) needed: u64,
    pub(super) counted: Vec<String>,
    pub(super) trouble: Option<String>,
    /// What was made to undo it, ahead of need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollback: Option<Ahead>,
}

pub(super) async fn run(args: &ProposeArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let known = wire::list(&mut client).await?;
    let mut set = follow(&known, args.valid.get())?;
    let mut revisions = Revisions::new();
    for entry in &set.entries {
        let revision: Signed<Revision> = fetch(&mut client, entry.revision).await?;
        revisions.insert(entry.revision, revision.statement);
    }
    for retired in &args.retire {
        let before = set.entries.len();
        set.entries.retain(|entry| entry.revision != *retired);
        if set.entries.len() == before {
            return Err(Failure::text(
                Class::Usage,
                format!("{retired} is not in the set in force"),
            ));
        }
    }
    let mut changes: Vec<(Digest, Mode)> = Vec::new();
    changes.extend(args.enforce.iter().map(|revision| (*revision, Mode::Enforce)));
    changes.extend(args.shadow.iter().map(|revision| (*revision, Mode::Shadow)));
    for canary in &args.canary {
        changes.push(canary_of(canary)?);
    }
    for (digest, mode) in changes {
        let revision: Signed<Revision> = fetch(&mut client, digest).await?;
        revisions.insert(digest, revision.statement);
        put(&mut set.entries, digest, mode, &revisions);
    }
    for report in &args.report {
        let (revision, report) = pair(report)?;
        let (revision, report): (Digest, Digest) = (
            revision.parse().or_fail(Class::Usage)?,
            report.parse().or_fail(Class::Usage)?,
        );
        for entry in set.entries.iter_mut().filter(|entry| entry.revision == revision) {
            entry.report = Some(report);
        }
    }
    set.stop = bounds::asked(args)?.unwrap_or(set.stop);
    let roster: Option<Signed<Roster>> = args.roster.as_deref().map(wire::file).transpose()?;
    if let Some(roster) = &roster {
        set.roster = roster.statement.digest();
    }
    let set = wire::seal(set)?;
    // All of it is made before any of it is proposed: what cannot be made leaves nothing behind.
    let back = args.with_rollback.map(|valid| {
        let earlier = ahead::active(&known)?;
        ahead::over(&known, &set.statement, &earlier, valid.get())
    });
    let back = back.transpose()?;
    if let Some(roster) = &roster {
        propose(&mut client, roster.to_string()).await?;
    }
    let proposed = propose(&mut client, set.to_string()).await?;
    if let Some(back) = &back {
        propose(&mut client, back.to_string()).await?;
    }
    let proposed = Proposed {
        number: set.statement.number,
        rollback: back.map(|back| Ahead::of(&back.statement)),
        ..proposed
    };
    told(&proposed, output)
}

/// A set after the one in force, with the same entries.
pub(super) fn follow(known: &ListResponse, valid: std::time::Duration) -> Result<Set, Failure> {
    let roster: Signed<Roster> = wire::statement(&known.roster)?;
    let before: Option<Signed<Set>> = match &*known.active {
        "" => None,
        active => Some(wire::statement(active)?),
    };
    let now = SystemClock.now().truncated_to_seconds();
    let before = before.map(|before| before.statement);
    Ok(Set {
        deployment: wire::digest(&known.deployment)?,
        number: before
            .as_ref()
            .map_or(1, |before| before.number.saturating_add(1)),
        previous: before.as_ref().map(|before| before.digest()),
        not_before: now,
        not_after: now.saturating_add(valid),
        roster: roster.statement.digest(),
        entries: before
            .as_ref()
            .map(|before| before.entries.clone())
            .unwrap_or_default(),
        stop: before.and_then(|before| before.stop),
        restores: None,
    })
}

pub(super) async fn propose(client: &mut Client, statement: String) -> Result<Proposed, Failure> {
    let request = ProposeRequest { statement };
    let proposed = client.propose(request).await.map_err(wire::refused)?.into_inner();
    Ok(Proposed {
        set: proposed.digest,
        number: 0,
        needed: proposed.needed,
        counted: proposed.counted,
        trouble: Some(proposed.trouble).filter(|trouble| !trouble.is_empty()),
        rollback: None,
    })
}

pub(super) fn told(proposed: &Proposed, output: Output) -> Result<ExitCode, Failure> {
    match output {
        Output::Json => output::json(proposed)?,
        Output::Table => {
            let mut rows = vec![
                vec!["set".to_owned(), proposed.set.clone()],
                vec!["number".to_owned(), proposed.number.to_string()],
                vec!["must agree".to_owned(), proposed.needed.to_string()],
                vec!["agreed".to_owned(), proposed.counted.join(", ")],
                vec![
                    "against it".to_owned(),
                    proposed.trouble.clone().unwrap_or_default(),
                ],
            ];
            if let Some(back) = &proposed.rollback {
                let text = format!(
                    "{}\nnumber {}, brings back set {}, until {}",
                    back.set, back.number, back.restores, back.not_after
                );
                rows.push(vec!["rollback ahead".to_owned(), text]);
            }
            output::table(&[], rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A statement of the signer by its digest, which is compared.
pub(super) async fn fetch<T: sealwright_statement::Statement>(
    client: &mut Client,
    digest: Digest,
) -> Result<Signed<T>, Failure> {
    let request = GetRequest {
        digest: digest.to_string(),
    };
    let mut parts = client.get(request).await.map_err(wire::refused)?.into_inner();
    let part = parts
        .message()
        .await
        .map_err(wire::refused)?
        .and_then(|answer| answer.part);
    let Some(Part::Statement(text)) = part else {
        return Err(Failure::text(Class::Input, format!("{digest} is no statement")));
    };
    let statement: Signed<T> = wire::statement(&text)?;
    if statement.statement.digest() != digest {
        return Err(Failure::text(
            Class::Input,
            format!("the signer gave another statement for {digest}"),
        ));
    }
    Ok(statement)
}

/// Puts a revision where it belongs: an enforcing one in the place of the one of its name, else behind.
fn put(entries: &mut Vec<Entry>, revision: Digest, mode: Mode, revisions: &Revisions) {
    let policy = revisions.get(&revision).map(|revision| &revision.policy);
    let same_role = |entry: &Entry| {
        let other = revisions.get(&entry.revision).map(|revision| &revision.policy);
        other == policy
            && matches!(
                (&entry.mode, &mode),
                (Mode::Enforce, Mode::Enforce) | (Mode::Canary(_), Mode::Canary(_))
            )
    };
    let report = entries
        .iter()
        .find(|entry| entry.revision == revision)
        .and_then(|entry| entry.report);
    let place = entries
        .iter()
        .position(same_role)
        .or_else(|| entries.iter().position(|entry| entry.revision == revision));
    let entry = Entry {
        revision,
        mode,
        report,
    };
    match place.and_then(|place| entries.get_mut(place)) {
        Some(old) => *old = entry.clone(),
        None => entries.push(entry.clone()),
    }
    // It is there once: not at its former place too.
    let mut seen = false;
    entries.retain(|other| {
        let again = other.revision == revision && (seen || *other != entry);
        seen |= other.revision == revision && !again;
        !again
    });
}

fn canary_of(text: &str) -> Result<(Digest, Mode), Failure> {
    let (revision, percent) = pair(text)?;
    let hundredths = bounds::hundredths(percent)?;
    let mut salt = vec![0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt)
        .map_err(|_| Failure::text(Class::Internal, "the system has no random bytes"))?;
    let mode = Mode::Canary(Canary { hundredths, salt });
    Ok((revision.parse().or_fail(Class::Usage)?, mode))
}

fn pair(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('=')
        .ok_or_else(|| Failure::text(Class::Usage, format!("{text:?} is not REVISION=VALUE")))
}

#[cfg(test)]
mod tests {
    use sealwright_statement::{
        Sealed,
        policy::{Limits, Scope},
    };

    use super::*;

    fn revision(policy: &str, module: &[u8]) -> Sealed<Revision> {
        Sealed::new(Revision {
            policy: policy.parse().unwrap(),
            module: Digest::of(module),
            source: None,
            settings: "{}".to_owned(),
            scope: Scope::all_of("cluster.local".parse().unwrap()),
            wit: "sealwright:policy@1.0.0".to_owned(),
            limits: Limits { fuel: 1, memory: 0 },
        })
        .unwrap()
    }

    #[test]
    fn an_enforcing_revision_takes_the_place_of_the_one_of_its_name() {
        let all = [revision("a", b"1"), revision("b", b"2"), revision("a", b"3")];
        let known: Revisions = all.iter().map(|one| (one.digest(), one.clone())).collect();
        let [a1, b, a3] = all.map(|one| one.digest());
        let mut entries = Vec::new();
        let told = |entries: &[Entry]| -> Vec<(Digest, Mode)> {
            entries
                .iter()
                .map(|entry| (entry.revision, entry.mode.clone()))
                .collect()
        };
        put(&mut entries, a1, Mode::Enforce, &known);
        put(&mut entries, b, Mode::Enforce, &known);
        put(&mut entries, a3, Mode::Shadow, &known);
        assert_eq!(
            told(&entries),
            [(a1, Mode::Enforce), (b, Mode::Enforce), (a3, Mode::Shadow)]
        );
        put(&mut entries, a3, Mode::Enforce, &known);
        assert_eq!(told(&entries), [(a3, Mode::Enforce), (b, Mode::Enforce)]);
        put(&mut entries, b, Mode::Shadow, &known);
        assert_eq!(told(&entries), [(a3, Mode::Enforce), (b, Mode::Shadow)]);
    }

    #[test]
    fn shares_are_percent_with_two_places() {
        let digest = Digest::of(b"");
        for (text, expected) in [
            ("5", Some(500)),
            ("0.25", Some(25)),
            ("0.5", Some(50)),
            ("x", None),
            ("1.234", None),
        ] {
            let share = canary_of(&format!("{digest}={text}")).ok();
            let hundredths = share.map(|(_, mode)| match mode {
                Mode::Canary(canary) => canary.hundredths,
                other => panic!("{other:?}"),
            });
            assert_eq!(hundredths, expected, "{text}");
        }
    }
}
