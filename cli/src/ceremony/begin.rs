//! `sealwright ceremony new-roster` and `new-plan`: files to begin with, which people then read and change.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use sealwright_ceremony::{CeremonyId, LintedPlan, Person, Role, Roster};
use sealwright_hsm::ceremony::hash_file;
use sealwright_identity::{Clock as _, Digest, SystemClock, Timestamp};
use sealwright_statement::{Sealed, policy::Name};
use serde::Serialize;

use super::{about, spoken, text};
use crate::{
    args::{NewPlanArgs, NewRosterArgs},
    failure::{Class, Failure, OrFail},
    files::{self, quoted},
    output::{self, Output},
    signing,
};

const PLAN: &str = include_str!("begin/plan.toml");

const DAY: Duration = Duration::from_secs(86_400);
/// The ceremony may run from today on for so long.
const WINDOW: Duration = DAY.saturating_mul(14);
const ROOT: Duration = DAY.saturating_mul(3652);
const ISSUING: Duration = DAY.saturating_mul(1826);

#[derive(Serialize)]
struct Made {
    file: String,
    digest: Digest,
    words: String,
}

pub(super) fn roster(args: &NewRosterArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut people: BTreeMap<Name, Person> = BTreeMap::new();
    let all = [
        (Role::Operator, &args.operator),
        (Role::Witness, &args.witness),
        (Role::Auditor, &args.auditor),
    ];
    for (role, entries) in all {
        for entry in entries {
            let (name, key) = signing::named_key(entry)?;
            let person = people.entry(name.clone()).or_insert_with(|| Person {
                name,
                roles: Vec::new(),
                keys: Vec::new(),
            });
            if !person.roles.contains(&role) {
                person.roles.push(role);
            }
            if !person.keys.contains(&key) {
                person.keys.push(key);
            }
        }
    }
    let roster = Roster {
        version: 1,
        number: 1,
        previous: None,
        threshold: args.threshold,
        people: people.into_values().collect(),
    };
    let roster = Sealed::new(roster).or_fail(Class::Usage)?;
    put(
        &args.out,
        &roster.to_toml().or_fail(Class::Internal)?,
        roster.digest(),
        output,
    )
}

pub(super) fn plan(args: &NewPlanArgs, output: Output) -> Result<ExitCode, Failure> {
    let roster = Roster::read(&text(&args.roster)?).or_fail_doing(Class::Input, about(&args.roster))?;
    let module = args
        .module
        .canonicalize()
        .and_then(|path| Ok((hash_file(&path)?, path)));
    let (digest, module) =
        module.or_fail_doing(Class::Usage, format!("cannot read {}", args.module.display()))?;
    let id = CeremonyId::random().or_fail_doing(Class::Internal, "the system has no random bytes")?;
    let today = midnight(SystemClock.now());
    let at = |after: Duration| today.saturating_add(after).to_string();
    let organization = |before: &str, after: &str| quoted(&format!("{before}{}{after}", args.organization));
    let values = BTreeMap::from([
        ("ID", id.to_string()),
        ("REHEARSAL", args.rehearsal.to_string()),
        ("TODAY", today.to_string()),
        ("WINDOW", at(WINDOW)),
        ("ROOT_END", at(ROOT)),
        ("ISSUING_END", at(ISSUING)),
        ("ROSTER", roster.digest().to_string()),
        ("MODULE_DIGEST", digest.to_string()),
        ("TITLE", organization("The root and the first issuing CA of ", "")),
        ("ORGANIZATION", organization("", "")),
        ("ROOT", organization("", " Root")),
        ("ROOT_CA", organization("", " Root CA")),
        ("ISSUING", organization("", " Issuing")),
        ("ISSUING_CA", organization("", " Issuing CA")),
        ("MODULE", quoted(&module.display().to_string())),
    ]);
    // Every second piece is a mark. In one pass: what people wrote may look like one.
    let pieces = PLAN.split('@').enumerate().map(|(at, piece)| match at % 2 {
        0 => piece,
        _ => values.get(piece).map_or("", String::as_str),
    });
    let written: String = pieces.collect();
    let plan = LintedPlan::read(&written).or_fail(Class::Usage)?;
    for warning in plan.warnings() {
        output::notice(&format!("{}: {}", warning.code, warning.detail));
    }
    put(&args.out, &written, plan.digest(), output)
}

fn midnight(at: Timestamp) -> Timestamp {
    let epoch = Timestamp::from_micros(0);
    let days = at.saturating_since(epoch).as_secs() / DAY.as_secs();
    epoch.saturating_add(Duration::from_secs(days.saturating_mul(DAY.as_secs())))
}

/// Writes a new file, and names it.
fn put(path: &Path, text: &str, digest: Digest, output: Output) -> Result<ExitCode, Failure> {
    files::create(path, text.as_bytes(), 0o644)?;
    let made = Made {
        file: path.display().to_string(),
        digest,
        words: spoken(&digest),
    };
    match output {
        Output::Json => output::json(&made)?,
        Output::Table => output::table(
            &[],
            [
                vec!["file".to_owned(), made.file],
                vec!["digest".to_owned(), made.digest.to_string()],
                vec!["words".to_owned(), made.words],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
