//! `sealwright ceremony new-roster` and `new-plan`: files to begin with, which people then read and change.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use sealwright_ceremony::{CeremonyId, LintedPlan, Role, Roster};
use sealwright_hsm::ceremony::hash_file;
use sealwright_identity::{Clock as _, Digest, SystemClock, Timestamp};
use serde::Serialize;

use super::{about, spoken, text};
use crate::{
    args::{NewPlanArgs, NewRosterArgs},
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
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
    let mut people: BTreeMap<&str, (Vec<Role>, Vec<String>)> = BTreeMap::new();
    let all = [
        (Role::Operator, &args.operator),
        (Role::Witness, &args.witness),
        (Role::Auditor, &args.auditor),
    ];
    for (role, entries) in all {
        for entry in entries {
            let (name, file) = entry
                .split_once('=')
                .ok_or_else(|| Failure::text(Class::Usage, format!("{entry:?} is not NAME=FILE")))?;
            let key = text(Path::new(file))?;
            let (roles, keys) = people.entry(name).or_default();
            if !roles.contains(&role) {
                roles.push(role);
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let mut written = format!("version = 1\nnumber = 1\nthreshold = {}\n", args.threshold);
    for (name, (roles, keys)) in people {
        let roles: Vec<_> = roles.iter().map(|role| format!("{:?}", role.as_str())).collect();
        let keys: Vec<_> = keys.iter().map(|key| format!("\"\"\"{key}\"\"\"")).collect();
        let (roles, keys) = (roles.join(", "), keys.join(", "));
        written += &format!("\n[[people]]\nname = {name:?}\nroles = [{roles}]\nkeys = [{keys}]\n");
    }
    let roster = Roster::read(&written).or_fail(Class::Usage)?;
    put(&args.out, &written, roster.digest(), output)
}

pub(super) fn plan(args: &NewPlanArgs, output: Output) -> Result<ExitCode, Failure> {
    if args.organization.contains(['"', '\\']) || args.organization.chars().any(char::is_control) {
        let problem =
            "the organization stands in the plan as it is: no quotes, backslashes or control characters";
        return Err(Failure::text(Class::Usage, problem));
    }
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
    let written = [
        ("@ID@", id.to_string()),
        ("@ORGANIZATION@", args.organization.clone()),
        ("@REHEARSAL@", args.rehearsal.to_string()),
        ("@TODAY@", today.to_string()),
        ("@WINDOW@", at(WINDOW)),
        ("@ROOT_END@", at(ROOT)),
        ("@ISSUING_END@", at(ISSUING)),
        ("@ROSTER@", roster.digest().to_string()),
        ("@MODULE@", module.display().to_string()),
        ("@MODULE_DIGEST@", digest.to_string()),
    ]
    .into_iter()
    .fold(PLAN.to_owned(), |plan, (mark, value)| plan.replace(mark, &value));
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
